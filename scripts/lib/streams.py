"""What a configuration declares, as far as somebody who looks at the stores wants to know it."""

import os
from pathlib import Path


def declared(path):
    """Of a file that `gateway check` has found to be right."""
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib

    config = tomllib.loads(Path(path).read_text("utf-8"))
    return {
        "database": mongodb(config, "database", "aguacero"),
        "group": config.get("consumer", {}).get("group", "aguacero-archive"),
        "dead_letters": mongodb(config, "dead_letters", "dead_letters"),
        "streams": [
            {
                "name": name,
                "paths": [route["path"] for route in stream["routes"]],
                "topic": stream["topic"],
                "collection": stream.get("archive", name),
                "counters": [counter["name"] for counter in stream.get("counters", [])],
            }
            for name, stream in config["streams"].items()
        ],
    }


def mongodb(config, key, default):
    return os.environ.get(f"AGUACERO_MONGODB_{key.upper()}") or config.get("mongodb", {}).get(key, default)

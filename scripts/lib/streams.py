"""What a configuration declares, as far as somebody who starts it, or looks at the stores, wants to know it."""

import os
from pathlib import Path


# By what a route goes, and whose work that is.
PRODUCERS = {"grpc": "kafka-producer", "wasm": "wasm-producer"}
MISTAKES = (OSError, ValueError, LookupError, AttributeError, TypeError)  # what reading a wrong file raises
LISTEN = "127.0.0.1:8080"


def declared(path):
    """Of a file that `gateway check` has found to be right."""
    config = read(path)
    return {
        "scheme": "https" if setting(config, "gateway", "tls_certificate") else "http",
        "database": setting(config, "mongodb", "database", "aguacero"),
        "group": config.get("consumer", {}).get("group", "aguacero-archive"),
        "dead_letters": setting(config, "mongodb", "dead_letters", "dead_letters"),
        "streams": [
            {
                "name": name,
                "routes": {route["path"]: route.get("via", "grpc") for route in stream["routes"]},
                "topic": stream["topic"],
                "collection": stream.get("archive", name),
                "fields": {field["name"]: [field["name"], *field.get("aliases", [])] for field in stream.get("fields", [])},
                "counters": {counter["name"]: counter["by"] for counter in stream.get("counters", [])},
            }
            for name, stream in config["streams"].items()
        ],
    }


def stream(declared, name):
    """The one of that name, or None."""
    return next((stream for stream in declared["streams"] if stream["name"] == name), None)


def processes(declared):
    """Those that a configuration needs, in the order of starting; they are stopped the other way round, so that the gateway
    ends first and what it accepted still finds its way."""
    vias = {via for stream in declared["streams"] for via in stream["routes"].values()}
    return [*(process for via, process in PRODUCERS.items() if via in vias), "redis-writer", "consumer",
            "gateway", "console"]


def processes_of_file(path):
    """The same of a file that may be wrong: `gateway check` tells that better, and later."""
    try:
        return processes(declared(path))
    except MISTAKES:
        return processes({"streams": [{"routes": {"/": "grpc"}}]})


def listen(path, port=None):
    """Where the gateway of a file listens, or on another port of that address. The file may be wrong: `gateway check`
    tells that better, and later."""
    try:
        address = setting(read(path), "gateway", "listen", LISTEN)
        host, _, own = address.rpartition(":")
        return f"{host}:{port or int(own)}"
    except (OSError, ValueError, AttributeError):
        return f"127.0.0.1:{port}" if port else LISTEN


def read(path):
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib

    return tomllib.loads(Path(path).read_text("utf-8"))


def setting(config, table, key, default=None):
    """A key of a process table, as the environment or the file says."""
    return os.environ.get(f"AGUACERO_{table}_{key}".upper()) or config.get(table, {}).get(key, default)

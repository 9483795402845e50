"""What a configuration declares, as far as somebody who starts it, or looks at the stores, wants to know it."""

import os
from pathlib import Path


# By what a route goes, and whose work that is.
PRODUCERS = {"grpc": "kafka-producer", "wasm": "wasm-producer"}
# A process that is a command of another one's program, and that command.
COMMANDS = {"tables": ("consumer", ["tables", "run"])}
MISTAKES = (OSError, ValueError, LookupError, AttributeError, TypeError)  # what reading a wrong file raises
LISTEN = "127.0.0.1:8080"


def declared(path):
    """Of a file that `gateway check` has found to be right."""
    config = read(path)
    return {
        "scheme": "https" if setting(config, "gateway", "tls_certificate") else "http",
        "database": setting(config, "mongodb", "database", "aguacero"),
        "group": config.get("consumer", {}).get("group", "aguacero-archive"),
        "postgres_database": setting(config, "postgres", "url", "").partition("://")[2].partition("/")[2].partition("?")[0] or "aguacero",
        "tables_group": setting(config, "tables", "group", "aguacero-tables"),
        "dead_letters": setting(config, "mongodb", "dead_letters", "dead_letters"),
        "streams": [
            {
                "name": name,
                "routes": {route["path"]: route.get("via", "grpc") for route in stream["routes"]},
                "topic": stream["topic"],
                "collection": stream.get("archive", name),
                "table": table_of(name, stream),
                "fields": {field["name"]: [field["name"], *field.get("aliases", [])] for field in stream.get("fields", [])},
                "counters": {counter["name"]: counter["by"] for counter in stream.get("counters", [])},
                "reserved": config.get("topics", {}).get(stream["topic"], {}).get("reserved", {}),
                **row(stream),
            }
            for name, stream in config["streams"].items()
        ],
    }


def table_of(name, stream):
    """Its table in PostgreSQL with its schema, or None."""
    if "table" not in stream:
        return None
    table = stream["table"].get("name", name)
    return table if "." in table else f"public.{table}"


# Of a column whose type is not declared, by what it holds.
COLUMN_TYPES = {"id": "uuid", "arrival": "timestamptz", "topic": "text", "partition": "integer", "offset": "bigint",
                "string": "text", "integer": "bigint", "number": "double precision", "boolean": "boolean", "coordinates": "point"}


def row(stream):
    """What an event's row has, where the stream has a table."""
    if "table" not in stream:
        return {}
    found, fields = stream["table"], {field["name"]: field.get("type") for field in stream.get("fields", [])}
    columns = [{**column, "type": column.get("type") or column_type(column, fields)} for column in found.get("columns", [])]
    return {"row": {"on_conflict": found.get("on_conflict", "insert"), "primary_key": found.get("primary_key", []),
                    "columns": columns}}


def column_type(column, fields):
    held = column.get("value") or fields[column["field"]]
    if isinstance(held, list):
        return "text" if len(held) > 1 else COLUMN_TYPES.get(held[0], "jsonb")
    return COLUMN_TYPES.get(held, "jsonb")


def tables(declared):
    """Those of all streams, each once."""
    return list(dict.fromkeys(stream["table"] for stream in declared["streams"] if stream.get("table")))


def stream(declared, name):
    """The one of that name, or None."""
    return next((stream for stream in declared["streams"] if stream["name"] == name), None)


def topics(declared):
    return sorted({stream["topic"] for stream in declared["streams"]})


def topics_of_tables(declared):
    """Those whose events become rows."""
    return sorted({stream["topic"] for stream in declared["streams"] if stream.get("table")})


def processes(declared):
    """Those that a configuration needs, in the order of starting; they are stopped the other way round, so that the gateway
    ends first and what it accepted still finds its way."""
    vias = {via for stream in declared["streams"] for via in stream["routes"].values()}
    return [*(process for via, process in PRODUCERS.items() if via in vias), "redis-writer", "consumer",
            *(["tables"] if tables(declared) else []), "gateway", "console"]


def command(process):
    """The program that it is, and what that is told to do."""
    return COMMANDS.get(process, (process, ["run"]))


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

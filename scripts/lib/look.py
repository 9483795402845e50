"""What is stored and counted, on one screen: for each declared stream its counters, its newest documents and its table."""

import contextlib
import json
import shutil
import textwrap

import psycopg
import pymongo
import redis
import streams
from pipeline import Failure
from psycopg import sql

TOP_KEYS = 10
NEWEST = 3
KEY_LENGTH_MAX = 24
SECONDS_MAX = 10


def look(declared, env):
    width = shutil.get_terminal_size((100, 24)).columns
    mongodb = pymongo.MongoClient(env["AGUACERO_MONGODB_URI"], serverSelectionTimeoutMS=SECONDS_MAX * 1000)
    counters = redis.Redis.from_url(env["AGUACERO_REDIS_URL"], decode_responses=True, socket_timeout=SECONDS_MAX)
    with mongodb, counters, contextlib.ExitStack() as stack:
        try:
            has_tables = bool(streams.tables(declared))
            tables = stack.enter_context(connected(env)) if has_tables else None
            database = mongodb[declared["database"]]
            for stream in declared["streams"]:
                lines = [*counted(stream, counters, width), *newest(stream, database, width), *rows(stream, tables)]
                print("\n".join(lines), end="\n\n")
            print(letters(database[declared["dead_letters"]]), flush=True)
            if has_tables:
                print(table_letters(tables, declared["tables_group"]), flush=True)
        except (pymongo.errors.PyMongoError, redis.RedisError, psycopg.Error) as error:
            raise Failure(f"{'MongoDB, Redis or PostgreSQL' if has_tables else 'MongoDB or Redis'} did not answer: {error}") from None


def connected(env):
    """To PostgreSQL, where each statement is a transaction of its own, as what does not exist yet ends one."""
    return psycopg.connect(env["AGUACERO_POSTGRES_URL"], user=env["AGUACERO_POSTGRES_USERNAME"], connect_timeout=SECONDS_MAX,
                           autocommit=True)


def counted(stream, counters, width):
    key = f"{{{stream['name']}}}:"
    yield f"{stream['name']}: {int(counters.hget(key + 'total', 'events') or 0):,}"
    overflow = counters.hgetall(key + "overflow")
    for name in stream["counters"]:
        yield from wrapped(f"  {name}  ", top(counters.hgetall(key + name), int(overflow.get(name, 0))), width)


def top(counts, overflow=0):
    """The greatest, and how much is not among them."""
    counts = sorted(((int(count), key) for key, count in counts.items()), key=lambda pair: (-pair[0], pair[1]))
    words = [f"{shown(key, KEY_LENGTH_MAX)}: {count:,}" for count, key in counts[:TOP_KEYS]]
    if counts[TOP_KEYS:]:
        words.append(f"… {len(counts) - TOP_KEYS:,} more")
    if overflow:
        words.append(f"overflow {overflow:,}")
    return " · ".join(words) or "none yet"


def newest(stream, database, width):
    found = database[stream["collection"]].find({"_aguacero.stream": stream["name"]}).sort("_aguacero.at", -1)
    documents = list(found.limit(NEWEST))
    yield f"  newest documents in {stream['collection']}{'' if documents else ': none yet'}"
    for document in documents:
        at = document.pop("_aguacero")["at"]
        document.pop("_id")
        text = json.dumps(document, ensure_ascii=False, default=str)
        yield shown(f"    {at:%Y-%m-%d %H:%M:%S} UTC  {text}", width)


def rows(stream, tables):
    if stream["table"]:
        count = queried(tables, sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(*stream["table"].split("."))))
        yield f"  rows in table {stream['table']}: {count[0][0]:,}" if count else f"  table {stream['table']}: not made yet"


def letters(collection):
    """Not each has a stream: some records do not say whose they are."""
    return told("dead letters", {group["_id"]: group["n"] for group in collection.aggregate([{"$group": {"_id": "$stream", "n": {"$sum": 1}}}])})


def table_letters(tables, group):
    """The same of what PostgreSQL has refused."""
    count = "SELECT stream, count(*) FROM aguacero.dead_letters WHERE consumer_group = %s GROUP BY stream ORDER BY stream"
    return told("dead letters of tables", dict(queried(tables, count, [group])))


def queried(tables, statement, values=None):
    """All rows; none of what does not exist."""
    with contextlib.suppress(psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        return tables.execute(statement, values).fetchall()
    return []


def told(what, counts):
    words = [f"{stream or 'of no stream'} {count:,}" for stream, count in counts.items()]
    return f"{what}: {sum(counts.values()):,}" + (f" ({', '.join(words)})" if words else "")


def wrapped(label, text, width):
    return textwrap.wrap(text, width, initial_indent=label, subsequent_indent=" " * len(label))


def shown(text, length_max):
    text = "".join(c if c.isprintable() else "·" for c in text)
    return text if len(text) <= length_max else text[:length_max - 1] + "…"

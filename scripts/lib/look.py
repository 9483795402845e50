"""What is stored and counted, on one screen: for each declared stream its counters and its newest documents."""

import json
import shutil
import textwrap

import pymongo
import redis

from pipeline import Failure

TOP_KEYS = 10
NEWEST = 3
KEY_LENGTH_MAX = 24
SECONDS_MAX = 10


def look(declared, env):
    width = shutil.get_terminal_size((100, 24)).columns
    mongodb = pymongo.MongoClient(env["AGUACERO_MONGODB_URI"], serverSelectionTimeoutMS=SECONDS_MAX * 1000)
    counters = redis.Redis.from_url(env["AGUACERO_REDIS_URL"], decode_responses=True, socket_timeout=SECONDS_MAX)
    with mongodb, counters:
        try:
            database = mongodb[declared["database"]]
            for stream in declared["streams"]:
                print("\n".join([*counted(stream, counters, width), *newest(stream, database, width)]), end="\n\n")
            print(letters(database[declared["dead_letters"]]), flush=True)
        except (pymongo.errors.PyMongoError, redis.RedisError) as error:
            raise Failure(f"MongoDB or Redis did not answer: {error}") from None


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


def letters(collection):
    """Not each has a stream: some records do not say whose they are."""
    counts = {group["_id"]: group["n"] for group in collection.aggregate([{"$group": {"_id": "$stream", "n": {"$sum": 1}}}])}
    words = [f"{stream or 'of no stream'} {count:,}" for stream, count in counts.items()]
    return f"dead letters: {sum(counts.values()):,}" + (f" ({', '.join(words)})" if words else "")


def wrapped(label, text, width):
    return textwrap.wrap(text, width, initial_indent=label, subsequent_indent=" " * len(label))


def shown(text, length_max):
    text = "".join(c if c.isprintable() else "·" for c in text)
    return text if len(text) <= length_max else text[:length_max - 1] + "…"

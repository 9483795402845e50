"""What each process may do in Kafka, Redis and MongoDB, and no more: users go by the programs' names. The wasm-producer does what the
kafka-producer does, and is the same user; the console only reads, unless an operator may act through it.

`scripts/rights` prints it for a configuration; `scripts/services --secure` gives just this to the processes
that the suite `secure` runs, so that a right that is missing fails there."""

PRODUCER, WRITER, CONSUMER = "kafka-producer", "redis-writer", "consumer"
CONSOLE = "console"
PROCESSES = [PRODUCER, WRITER, CONSUMER, CONSOLE]
GRAFANA = "grafana"  # no process of ours: shows what Redis has
TESTED = "stores"  # what topics and groups of the suite begin with

# What the ledger's scripts (core/src/ledger/*.lua) call on behalf of their caller, and the calls of the scripts.
# `select` is for a database other than 0, `info` for what endangers the counters (core/src/redis_check.rs).
LIVE = ("info evalsha script|load select get set hget hset hgetall hlen hexists hincrby hdel exists sismember "
        "zadd zcard zrem zrevrange")
SETTLE = ("ping info evalsha script|load select hget hset hsetnx hkeys hgetall hlen hexists hincrby hdel hscan scard "
          "sismember sadd exists zcard zrange zrangebyscore zremrangebyscore scan unlink")
# What a dashboard asks for, and its data source when it connects.
SHOW = "ping select info client|setname get hget hmget hgetall hkeys hvals hlen exists type ttl zcard zrange zrevrange"

# Of every collection in the database. `update` is for `consumer dead-letters replay`, `discard`
# and `pass-over`, and to note whose an archive is; `listCollections` for the same; `collMod` for indices that
# somebody has hidden.
MONGODB_ACTIONS = ["find", "insert", "update", "createIndex", "listIndexes", "collMod", "listCollections"]
READ = ["find"]
# To note of a dead letter that it was sent again, or is not needed.
MARK = ["find", "update"]


def kafka_rules(topics, groups, operator=False):
    """Who may do what with what: user, kind of resource, names, operations. `Create` only lets a process make the
    topics that are declared and missing: leave it out if somebody else makes them. With an operator the console sends
    dead letters into their topic again; without, it has no user in Kafka."""
    return [
        (PRODUCER, "topic", topics, ["Write", "Describe", "DescribeConfigs", "Create"]),
        (CONSUMER, "topic", topics, ["Read", "Describe", "DescribeConfigs", "Create"]),
        (CONSUMER, "group", groups, ["Read", "Describe"]),
        *([(CONSOLE, "topic", topics, ["Write", "Describe"])] if operator else []),
    ]


def kafka(topics, groups, pattern="literal", operator=False):
    """For each call of kafka-acls its arguments behind --add."""
    def allow(user, resource, names, operations):
        names = [part for name in names for part in (f"--{resource}", name)]
        operations = [part for operation in operations for part in ("--operation", operation)]
        return ["--allow-principal", f"User:{user}", *operations, "--resource-pattern-type", pattern, *names]

    return [allow(*rule) for rule in kafka_rules(topics, groups, operator)]


def redis(streams):
    """For each process the rules of ACL SETUSER."""
    return {WRITER: allow_redis(streams, "", LIVE), CONSUMER: allow_redis(streams, "", SETTLE)}


def redis_readers(streams):
    """The same for who only shows the counters: `%R` lets it read, whatever the command."""
    return {GRAFANA: allow_redis(streams, "%R", SHOW), CONSOLE: allow_redis(streams, "%R", f"{SHOW} hscan")}


def allow_redis(streams, how, commands):
    keys = [part for stream in streams for part in (f"{how}~{{{stream}}}", f"{how}~{{{stream}}}:*")]
    return ["resetkeys", "resetchannels", *keys, "-@all", *(f"+{command}" for command in commands.split())]


def mongodb(database, archives, dead_letters, operator=False):
    """For each process that talks to MongoDB its role."""
    def may(collection, actions):
        return {"resource": {"db": database, "collection": collection}, "actions": actions}

    reads = [may(archive, READ) for archive in sorted({*archives} - {dead_letters})]
    return {
        CONSUMER: {"role": "aguacero-consumer", "privileges": [may("", MONGODB_ACTIONS)]},
        CONSOLE: {"role": "aguacero-console", "privileges": [*reads, may(dead_letters, MARK if operator else READ)]},
    }

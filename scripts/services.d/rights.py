"""What each process may do in Kafka, Redis and MongoDB, and no more: users go by the programs' names.

`scripts/rights` prints it for a configuration; `scripts/services --secure` gives just this to the processes
that the suite `secure` runs, so that a right that is missing fails there."""

PRODUCER, WRITER, CONSUMER = "kafka-producer", "redis-writer", "consumer"
PROCESSES = [PRODUCER, WRITER, CONSUMER]
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


def kafka_rules(topics, groups):
    """Who may do what with what: user, kind of resource, names, operations. `Create` only lets a process make the
    topics that are declared and missing: leave it out if somebody else makes them."""
    return [
        (PRODUCER, "topic", topics, ["Write", "Describe", "DescribeConfigs", "Create"]),
        (CONSUMER, "topic", topics, ["Read", "Describe", "DescribeConfigs", "Create"]),
        (CONSUMER, "group", groups, ["Read", "Describe"]),
    ]


def kafka(topics, groups, pattern="literal"):
    """For each call of kafka-acls its arguments behind --add."""
    def allow(user, resource, names, operations):
        names = [part for name in names for part in (f"--{resource}", name)]
        operations = [part for operation in operations for part in ("--operation", operation)]
        return ["--allow-principal", f"User:{user}", *operations, "--resource-pattern-type", pattern, *names]

    return [allow(*rule) for rule in kafka_rules(topics, groups)]


def redis(streams):
    """For each process the rules of ACL SETUSER."""
    return {WRITER: allow_redis(streams, "", LIVE), CONSUMER: allow_redis(streams, "", SETTLE)}


def redis_readers(streams):
    """The same for who only shows the counters: `%R` lets it read, whatever the command."""
    return {GRAFANA: allow_redis(streams, "%R", SHOW)}


def allow_redis(streams, how, commands):
    keys = [part for stream in streams for part in (f"{how}~{{{stream}}}", f"{how}~{{{stream}}}:*")]
    return ["resetkeys", "resetchannels", *keys, "-@all", *(f"+{command}" for command in commands.split())]


def mongodb(database):
    """The role of the consumer, the only process that talks to MongoDB."""
    resource = {"db": database, "collection": ""}
    return {"role": "aguacero-consumer", "privileges": [{"resource": resource, "actions": MONGODB_ACTIONS}]}

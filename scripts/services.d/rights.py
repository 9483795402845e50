"""What each process may do in Kafka, Redis, MongoDB and PostgreSQL, and no more: users go by the programs' names. The wasm-producer does what the
kafka-producer does, and is the same user; the console only reads, unless an operator may act through it.

`scripts/rights` prints it for a configuration; `scripts/services --secure` gives just this to the processes
that the suite `secure` runs, so that a right that is missing fails there."""

import re

PRODUCER, WRITER, CONSUMER = "kafka-producer", "redis-writer", "consumer"
CONSOLE = "console"
TABLES = "tables"  # `consumer tables run`
PROCESSES = [PRODUCER, WRITER, CONSUMER, CONSOLE, TABLES]
OWNER = "aguacero"  # no process: of the database in PostgreSQL, as whom somebody runs `consumer tables apply`
GUILD = "guild"  # the processors of apps/guild: one program, and a group for each of its commands
GUILD_GROUPS = [f"aguacero-{processor}" for processor in ("daily-sales", "stock", "locations")]
GRAFANA = "grafana"  # no process of ours: shows what Redis has
TESTED = "stores"  # what topics and groups of the suite begin with

# In PostgreSQL, beside the tables that are declared: what was taken, and from where.
SCHEMA = "aguacero"
BOOKS = [f"{SCHEMA}.{table}" for table in ("offsets", "streams", "events", "dead_letters")]
# `update` is for an event that replaces the one before it, and for the offsets.
POSTGRES_RIGHTS = "SELECT, INSERT, UPDATE"
# The id of an event that was refused is let go: it may come again once the cause is mended.
EVENTS = f"{SCHEMA}.events"

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


def kafka_rules(topics, groups, operator=False, table_topics=(), table_groups=(), guild=False):
    """Who may do what with what: user, kind of resource, names, operations. `Create` only lets a process make the
    topics that are declared and missing: leave it out if somebody else makes them. With an operator the console sends
    dead letters into their topic again; without, it has no user in Kafka. `table_topics` are those of streams with
    a table, which the guild's processors read too."""
    return [
        (PRODUCER, "topic", topics, ["Write", "Describe", "DescribeConfigs", "Create"]),
        (CONSUMER, "topic", topics, ["Read", "Describe", "DescribeConfigs", "Create"]),
        (CONSUMER, "group", groups, ["Read", "Describe"]),
        *([(CONSOLE, "topic", topics, ["Write", "Describe"])] if operator else []),
        *([(TABLES, "topic", table_topics, ["Read", "Describe", "DescribeConfigs", "Create"]),
           (TABLES, "group", table_groups, ["Read", "Describe"])] if table_topics else []),
        *([(GUILD, "topic", table_topics, ["Read", "Describe", "DescribeConfigs", "Create"]),
           (GUILD, "group", GUILD_GROUPS, ["Read", "Describe"])] if guild else []),
    ]


def kafka(topics, groups, pattern="literal", operator=False, **tables):
    """For each call of kafka-acls its arguments behind --add."""
    def allow(user, resource, names, operations):
        names = [part for name in names for part in (f"--{resource}", name)]
        operations = [part for operation in operations for part in ("--operation", operation)]
        return ["--allow-principal", f"User:{user}", *operations, "--resource-pattern-type", pattern, *names]

    return [allow(*rule) for rule in kafka_rules(topics, groups, operator, **tables)]


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


def postgres_connect(database):
    """What lets the process in, and nobody else, who is not the owner."""
    name = quoted(database)
    return [f"REVOKE ALL ON DATABASE {name} FROM PUBLIC", f"GRANT CONNECT ON DATABASE {name} TO {TABLES}"]


def postgres(tables):
    """What it may do with `tables`, whose names have their schema, and with its books."""
    every = sorted({*BOOKS, *tables})
    schemas = sorted({name.partition(".")[0] for name in every})
    return [f"GRANT USAGE ON SCHEMA {', '.join(map(quoted, schemas))} TO {TABLES}",
            f"GRANT {POSTGRES_RIGHTS} ON TABLE {', '.join(map(quoted, every))} TO {TABLES}",
            f"GRANT DELETE ON TABLE {EVENTS} TO {TABLES}"]


def quoted(name):
    """As SQL has the name of something, where its parts are not plain words."""
    return ".".join(part if re.fullmatch(r"[a-z_][a-z0-9_]*", part) else '"{}"'.format(part.replace('"', '""'))
                    for part in name.split("."))


def postgres_ahead(schema):
    """The same for tables that the owner is still to make in a schema."""
    rights = POSTGRES_RIGHTS + (", DELETE" if schema == SCHEMA else "")
    return [f"CREATE SCHEMA IF NOT EXISTS {schema} AUTHORIZATION {OWNER}", f"GRANT USAGE ON SCHEMA {schema} TO {TABLES}",
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} IN SCHEMA {schema} GRANT {rights} ON TABLES TO {TABLES}"]


def postgres_guild(database):
    """The guild's processors use the books, and tables in a schema of their own that the owner makes (`guild migrate`)."""
    may = {SCHEMA: f"{POSTGRES_RIGHTS}, DELETE", GUILD: f"{POSTGRES_RIGHTS}, DELETE"}
    return [f"GRANT CONNECT ON DATABASE {quoted(database)} TO {GUILD}", f"CREATE SCHEMA IF NOT EXISTS {GUILD} AUTHORIZATION {OWNER}",
            *(line for schema, words in may.items() for line in (
                f"GRANT USAGE ON SCHEMA {schema} TO {GUILD}", f"GRANT {words} ON ALL TABLES IN SCHEMA {schema} TO {GUILD}",
                f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} IN SCHEMA {schema} GRANT {words} ON TABLES TO {GUILD}"))]

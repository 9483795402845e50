"""What the guild's day has left in the cluster, asked in the pods: what guild_reckoning.py holds against what was sent."""

import base64
import json
import time
from dataclasses import replace

import guild_day
import rights
import routes
import streams
from cache import Failure, last_lines, say
from guild_reckoning import Found, GuildReckoning, Map, report_lines
from kubectl import attempt, kubectl
from progress import Waiting
from settings import NAMESPACE, ROOT
from stores import Stores

SETTLE_SECONDS_MAX = 180
GONE_SECONDS_MAX = 150  # a cart leaves the map a minute after its last word
POLL_SECONDS = 2
# Consumer groups that keep their offsets in PostgreSQL, and the streams that each reads; None: all.
GROUPS = {"aguacero-daily-sales": None, "aguacero-stock": {"ventas"}}

PSQL = """\
read -r PGPASSWORD; export PGPASSWORD
exec psql --no-psqlrc --quiet --tuples-only --no-align --host=/run/postgres --username=admin --dbname=aguacero --command="$0"
"""

# What separates the parts of a record occurs in none: values are JSON, a header is an id and a name.
PART, RECORD = "\x1e-guild-part-\x1e", "\x1e-guild-record-\x1e"
RECORDS = """\
java $JVM_OPTIONS -Dkafka.level=off -cp "/opt/kafka/libs/*" org.apache.kafka.tools.consumer.ConsoleConsumer \
    --bootstrap-server aguacero-kafka-bootstrap:9093 --command-config /etc/kafka/admin.properties \
    --topic "$0" --from-beginning --max-messages "$1" --timeout-ms 30000 \
    --formatter-property print.timestamp=true --formatter-property print.partition=true --formatter-property print.offset=true \
    --formatter-property print.headers=true --formatter-property headers.separator="$2" \
    --formatter-property key.separator="$2" --formatter-property line.separator="$3" | base64 --wrap=0
"""
HEADER = b"aguacero:"


def documents(target, app):
    """How many events of its streams are archived."""
    return sum(stores.documents() for stores in of_streams(target, app).values())


def reckon(target, app, sent, requests, summary):
    """Whether all that was sent is where it should be."""
    declared, of = streams.declared(ROOT / app.config), of_streams(target, app)
    stores = of["ventas"]  # for what is not of one stream
    settle(of, stores, declared, summary)
    arrivals = [guild_day.arrival(topic, *record, declared["streams"])
                for topic in streams.topics(declared) for record in records(stores, topic)]
    days = guild_day.days(guild_day.each_once(arrivals))[:1]
    found = Found(
        counts={name: each.counts(with_kafka=False) for name, each in of.items()},
        values={name: each.values() for name, each in of.items()},
        arrivals=arrivals,
        rows={stream["table"]: rows(stores, stream["table"], stream["row"]["columns"]) for stream in declared["streams"] if stream["table"]},
        reports={day.isoformat(): report(target, day.isoformat()) for day in days},
        groups=list(map(tuple, ask(stores, "SELECT json_build_array(group_number, place, id) FROM guild.stock_sales"))),
        deliveries=list(map(tuple, ask(stores, "SELECT json_build_array(plate, stock) FROM guild.deliveries ORDER BY id"))),
        is_auto=True, map=map_at_its_end(target))
    return GuildReckoning(app, declared["streams"], routes.addressed(sent), requests, summary, found).show()


def of_streams(target, app):
    """For each stream, the stores of just this; all of its fields are compared."""
    declared = streams.declared(ROOT / app.config)
    return {stream["name"]: Stores(target, replace(app, stream=stream["name"], fields=tuple(stream["fields"])))
            for stream in declared["streams"]}


# ---------------------------------------------------------------- when all of it has come

def settle(of, stores, declared, summary):
    """Until what was accepted is archived and counted, and who keeps offsets in PostgreSQL has read all; or until the deadline."""
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    accepted = {stream["name"]: sum(route["accepted"] for route in summary["routes"] if route["path"] in stream["routes"])
                for stream in declared["streams"]}
    with Waiting("waiting for the archive, the counters and the tables") as waiting:
        while missing := [*behind(of, accepted), *unread(stores, declared)]:
            if time.monotonic() > deadline:
                say(f"after {SETTLE_SECONDS_MAX} s still waiting for: {', '.join(missing)}")
                return
            waiting.tick(missing[0])
            time.sleep(POLL_SECONDS)


def behind(of, accepted):
    """A request that was not answered in time may be stored all the same, so there may be more."""
    for name, stores in of.items():
        counts = stores.counts(with_kafka=False)
        if counts.mongodb != counts.total or counts.total < accepted[name]:
            yield f"{name}: MongoDB {counts.mongodb:,}, Redis {counts.total:,} of {accepted[name]:,}"


def unread(stores, declared):
    """Of each group that keeps its offsets beside its rows, the partitions whose end it has not reached."""
    found = ask(stores, "SELECT json_build_array(consumer_group, topic, partition, next) FROM aguacero.offsets")
    read = {(group, topic, partition): offset for group, topic, partition, offset in found}
    for group, names in {declared["tables_group"]: None, **GROUPS}.items():
        for topic in sorted({stream["topic"] for stream in declared["streams"] if names is None or stream["name"] in names}):
            for partition, end in stores.offsets(topic, "latest").items():
                if end > read.get((group, topic, partition), 0):
                    yield f"{group} has read {read.get((group, topic, partition), 0):,} of {end:,} in {topic}/{partition}"


def map_at_its_end(target):
    """When every cart has left it, or as it is at the deadline."""
    deadline = time.monotonic() + GONE_SECONDS_MAX
    with Waiting("waiting until every cart has left the map") as waiting:
        while True:
            found = Map(kubectl(target, "logs", f"--namespace={NAMESPACE}", "deployment/locations", "--tail=-1"))
            if found.shown and found.is_empty or time.monotonic() > deadline:
                return found
            waiting.tick(str(found))
            time.sleep(POLL_SECONDS)


# ---------------------------------------------------------------- PostgreSQL

def ask(stores, query):
    """The rows of a query that gives one column of JSON."""
    told = stores.ask("postgres-0", "postgres", ["sh", "-c", PSQL, query], stores.secret("postgres-users", "admin"))
    return [json.loads(line) for line in told.split("\n") if line]


def rows(stores, table, columns):
    """All of a table, in the order of its columns, as guild_day.cell() has them."""
    query = f"SELECT json_build_array({', '.join(map(selected, columns))}) FROM {rights.quoted(table)}"
    return [tuple(point(value) if column["type"] == "point" else value for column, value in zip(columns, row))
            for row in ask(stores, query)]


def selected(column):
    name = f'"{column["name"]}"'
    return f"round(extract(epoch FROM {name}) * 1000)::bigint" if column["type"] == "timestamptz" else name


def point(text):
    return None if text is None else tuple(map(float, text.strip("()").split(",")))


# ---------------------------------------------------------------- Kafka

def records(stores, topic):
    """All of a topic: partition, offset, milliseconds since 1970, header `aguacero` and value of each."""
    first, last = (stores.offsets(topic, when) for when in ("earliest", "latest"))
    wanted = sum(last.values()) - sum(first.values())
    if not wanted:
        return []
    told = stores.ask("kafka-0", "kafka", ["sh", "-c", RECORDS, topic, str(wanted), PART, RECORD])
    found = parse_records(base64.b64decode(told))
    if len(found) != wanted:
        raise Failure(f"Kafka has {wanted:,} records of {topic}, and told {len(found):,}")
    return found


def parse_records(data):
    found = []
    for record in data.split(RECORD.encode())[:-1]:
        parts = record.split(PART.encode())
        at, partition, offset, *headers, value = parts
        header = next(part.removeprefix(HEADER) for part in headers if part.startswith(HEADER))
        found.append((*(int(part.rpartition(b":")[2]) for part in (partition, offset, at)), header, value))
    return found


# ---------------------------------------------------------------- the processors

def report(target, day):
    """The lines of a day's report, or, if the day is open, of what it comes to until now."""
    command = ["exec", f"--namespace={NAMESPACE}", "daily-sales-0", "--container=daily-sales", "--", "/usr/local/bin/guild", "daily-sales"]
    done = attempt(target, *command, "--preview", f"--day={day}")
    if done.returncode == 0:
        return report_lines(done.stdout)
    closed = attempt(target, *command, f"--day={day}")
    if closed.returncode == 0:
        return closed.stdout.rstrip("\n").split("\n")
    raise Failure(f"daily-sales does not tell {day}:\n{last_lines(done.stderr or closed.stderr, 8)}")

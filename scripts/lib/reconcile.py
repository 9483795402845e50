"""What has arrived in the Kafka, MongoDB, Redis and PostgreSQL of scripts/services."""

from collections import Counter
from contextlib import ExitStack

import psycopg
import pymongo
import redis
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from guild_day import plain, point
from psycopg import sql
from reckoning import Counts, values_of

SECONDS_MAX = 10
BATCH = 1000

ERRORS = (KafkaException, pymongo.errors.PyMongoError, redis.RedisError, psycopg.Error)


class Stores:
    """Of one stream."""

    def __init__(self, env, database, stream):
        """`stream` as streams.py has it."""
        self.stream = stream
        self.kafka = Kafka(env)
        self.mongodb = pymongo.MongoClient(env["AGUACERO_MONGODB_URI"], serverSelectionTimeoutMS=SECONDS_MAX * 1000)
        self.documents = self.mongodb[database][stream["collection"]]
        self.redis = redis.Redis.from_url(env["AGUACERO_REDIS_URL"], decode_responses=True, socket_timeout=SECONDS_MAX)

    def counts(self):
        return Counts(
            kafka=self.kafka.count(self.stream["topic"]),
            mongodb=self.documents.count_documents({}),
            total=self.hash("total").get("events", 0),
            counters={name: self.hash(name) for name in self.stream["counters"]},
            overflow=self.hash("overflow"),
        )

    def hash(self, name):
        found = self.redis.hgetall(f"{{{self.stream['name']}}}:{name}")
        return {key: int(count) for key, count in found.items()}

    def values(self, app):
        """How often the values of each event are archived."""
        names = (name for field in app.fields for name in self.stream["fields"][field])
        found = self.documents.find({}, {"_id": 0, **dict.fromkeys(names, 1)})
        return Counter(values_of(document, app, self.stream) for document in found)

    def close(self):
        with ExitStack() as stack:
            for client in (self.redis, self.mongodb, self.kafka):
                stack.callback(client.close)


class Kafka:
    def __init__(self, env):
        self.consumer = Consumer({"bootstrap.servers": env["AGUACERO_KAFKA_BROKERS"], "group.id": "reconcile",
                                  "enable.auto.commit": False, "enable.partition.eof": True, "log_level": 2})

    def limits(self, topic):
        """The first and the last offset of each partition."""
        found = self.consumer.list_topics(topic, timeout=SECONDS_MAX).topics[topic]
        if found.error:
            return {}
        return {partition: self.consumer.get_watermark_offsets(TopicPartition(topic, partition), SECONDS_MAX)
                for partition in sorted(found.partitions)}

    def count(self, topic):
        try:
            return sum(high - low for low, high in self.limits(topic).values())
        except KafkaException:
            return 0

    def records(self, topic):
        """All of a topic: partition, offset, milliseconds since 1970, header `aguacero` and value of each."""
        limits = self.limits(topic)
        waiting_for = {partition for partition, (low, high) in limits.items() if low < high}
        self.consumer.assign([TopicPartition(topic, partition, limits[partition][0]) for partition in waiting_for])
        records = []
        while waiting_for:
            messages = self.consumer.consume(BATCH, SECONDS_MAX)
            if not messages:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"partitions {sorted(waiting_for)} of {topic}"))
            for message in messages:
                if not message.error():
                    records.append((message.partition(), message.offset(), message.timestamp()[1],
                                    dict(message.headers())["aguacero"], message.value()))
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    waiting_for.discard(message.partition())
                else:
                    raise KafkaException(message.error())
        self.consumer.unassign()
        return records

    def close(self):
        self.consumer.close()


class Postgres:
    def __init__(self, env):
        self.connection = psycopg.connect(env["AGUACERO_POSTGRES_URL"], user=env.get("AGUACERO_POSTGRES_USERNAME"),
                                          autocommit=True, connect_timeout=SECONDS_MAX)

    def read(self, group):
        """How many records a group has taken, as the offsets say that stand beside its rows; 0 where it has not begun."""
        try:
            query = "SELECT coalesce(sum(next), 0) FROM aguacero.offsets WHERE consumer_group = %s"
            return int(self.connection.execute(query, [group]).fetchone()[0])
        except psycopg.errors.UndefinedTable:
            return 0

    def rows(self, table, columns):
        """Their values as guild_day.cell() has them."""
        query = sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(map(sql.Identifier, columns)), named(table))
        with self.connection.cursor() as cursor:
            found = cursor.execute(query).fetchall()
            points = {place for place, column in enumerate(cursor.description) if column.type_code == POINT}
        return [tuple(point(value) if place in points else plain(value) for place, value in enumerate(row)) for row in found]

    def close(self):
        self.connection.close()


POINT = psycopg.postgres.types["point"].oid


def named(table):
    """`schema.name`, or a name alone."""
    return sql.Identifier(*table.split("."))

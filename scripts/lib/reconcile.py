"""What has arrived in the Kafka, MongoDB and Redis of scripts/services, of one stream."""

from collections import Counter

import pymongo
import redis
from confluent_kafka import Consumer, KafkaException, TopicPartition
from reckoning import Counts, values_of

SECONDS_MAX = 10

ERRORS = (KafkaException, pymongo.errors.PyMongoError, redis.RedisError)


class Stores:
    def __init__(self, env, database, stream):
        """`stream` as streams.py has it."""
        self.stream = stream
        self.kafka = Consumer({"bootstrap.servers": env["AGUACERO_KAFKA_BROKERS"], "group.id": "reconcile",
                               "enable.auto.commit": False, "log_level": 2})
        self.mongodb = pymongo.MongoClient(env["AGUACERO_MONGODB_URI"], serverSelectionTimeoutMS=SECONDS_MAX * 1000)
        self.documents = self.mongodb[database][stream["collection"]]
        self.redis = redis.Redis.from_url(env["AGUACERO_REDIS_URL"], decode_responses=True, socket_timeout=SECONDS_MAX)

    def counts(self):
        return Counts(
            kafka=self.kafka_records(),
            mongodb=self.documents.count_documents({}),
            total=self.hash("total").get("events", 0),
            counters={name: self.hash(name) for name in self.stream["counters"]},
            overflow=self.hash("overflow"),
        )

    def hash(self, name):
        found = self.redis.hgetall(f"{{{self.stream['name']}}}:{name}")
        return {key: int(count) for key, count in found.items()}

    def kafka_records(self):
        """The records between the first and the last offset of each partition."""
        name = self.stream["topic"]
        topic = self.kafka.list_topics(name, timeout=SECONDS_MAX).topics[name]
        if topic.error:
            return 0
        try:
            limits = [self.kafka.get_watermark_offsets(TopicPartition(name, p), SECONDS_MAX) for p in topic.partitions]
        except KafkaException:
            return 0
        return sum(high - low for low, high in limits)

    def values(self, app):
        """How often the values of each event are archived."""
        names = (name for field in app.fields for name in self.stream["fields"][field])
        found = self.documents.find({}, {"_id": 0, **dict.fromkeys(names, 1)})
        return Counter(values_of(document, app, self.stream) for document in found)

    def close(self):
        self.kafka.close()
        self.mongodb.close()
        self.redis.close()

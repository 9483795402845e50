"""What has arrived in the Kafka, MongoDB and Redis of scripts/services."""

from collections import Counter

import pymongo
import redis
from confluent_kafka import Consumer, KafkaException, TopicPartition
from reckoning import BY_COUNTRY, COLLECTION, DATABASE, OVERFLOW, TEXT_NAMES, TOPIC, TOTAL, Counts, value_of

SECONDS_MAX = 10

ERRORS = (KafkaException, pymongo.errors.PyMongoError, redis.RedisError)


class Stores:
    def __init__(self, env):
        self.kafka = Consumer({"bootstrap.servers": env["AGUACERO_KAFKA_BROKERS"], "group.id": "reconcile",
                               "enable.auto.commit": False, "log_level": 2})
        self.mongodb = pymongo.MongoClient(env["AGUACERO_MONGODB_URI"], serverSelectionTimeoutMS=SECONDS_MAX * 1000)
        self.messages = self.mongodb[DATABASE][COLLECTION]
        self.redis = redis.Redis.from_url(env["AGUACERO_REDIS_URL"], decode_responses=True, socket_timeout=SECONDS_MAX)

    def counts(self):
        countries = self.redis.hgetall(BY_COUNTRY)
        return Counts(
            kafka=self.kafka_records(),
            mongodb=self.messages.count_documents({}),
            total=int(self.redis.hget(TOTAL, "events") or 0),
            countries={name: int(count) for name, count in countries.items()},
            overflow=int(self.redis.hget(OVERFLOW, "by_country") or 0),
        )

    def kafka_records(self):
        """The records between the first and the last offset of each partition."""
        topic = self.kafka.list_topics(TOPIC, timeout=SECONDS_MAX).topics[TOPIC]
        if topic.error:
            return 0
        try:
            limits = [self.kafka.get_watermark_offsets(TopicPartition(TOPIC, p), SECONDS_MAX) for p in topic.partitions]
        except KafkaException:
            return 0
        return sum(high - low for low, high in limits)

    def texts(self):
        """How often each text is archived."""
        found = self.messages.find({}, {"_id": 0, **dict.fromkeys(TEXT_NAMES, 1)})
        return Counter(value_of(document, TEXT_NAMES) for document in found)

    def close(self):
        self.kafka.close()
        self.mongodb.close()
        self.redis.close()

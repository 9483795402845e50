"""What has arrived in Kafka, MongoDB and Redis, to be held against what was sent."""

import json
from collections import Counter
from dataclasses import dataclass, field

import pymongo
import redis
from confluent_kafka import Consumer, KafkaException, TopicPartition

TOPIC = "messages"
DATABASE, COLLECTION = "aguacero", "messages"
TOTAL, BY_COUNTRY, OVERFLOW = "{weather}:total", "{weather}:by_country", "{weather}:overflow"
TEXT_NAMES = ("texto", "text")
COUNTRY_NAMES = ("país", "pais", "country")
SECONDS_MAX = 10

ERRORS = (KafkaException, pymongo.errors.PyMongoError, redis.RedisError)


@dataclass
class Counts:
    kafka: int
    mongodb: int
    total: int
    countries: dict = field(default_factory=dict)
    overflow: int = 0

    @property
    def over_countries(self):
        return sum(self.countries.values()) + self.overflow

    def all_are(self, number):
        return self.kafka == self.mongodb == self.total == self.over_countries == number

    def __str__(self):
        return (f"Kafka {self.kafka:,}  MongoDB {self.mongodb:,}  Redis {self.total:,}"
                f"  over the countries {self.over_countries:,}")


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


def expected(records, requests):
    """How often each text and each country is sent: the records in turn, again from the first after the last."""
    rounds, rest = divmod(requests, len(records))
    texts, countries = Counter(), Counter()
    for index, record in enumerate(records):
        times = rounds + (index < rest)
        if times:
            decoded = json.loads(record)
            texts[value_of(decoded, TEXT_NAMES)] += times
            countries[value_of(decoded, COUNTRY_NAMES)] += times
    return texts, countries


def value_of(document, names):
    value = next((document[name] for name in names if name in document), None)
    return value if isinstance(value, str) else repr(value)  # what is no text is still counted, and equal to none


def differing(wanted, found):
    """How many are missing or too many, and one of them."""
    missing, surplus = wanted - Counter(found), Counter(found) - wanted
    example = next(iter(missing or surplus), None)
    return sum(missing.values()) + sum(surplus.values()), example

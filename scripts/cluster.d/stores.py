"""What has arrived in the cluster's Kafka, MongoDB and Redis of one stream, asked in their own pods: from outside, nothing
may come to them. Passwords go by standard input, so that no command line shows them."""

import base64
import json
from collections import Counter

import streams
from apps import APPS
from cache import Failure, last_lines
from kubectl import attempt, get
from reckoning import Counts, values_of
from settings import NAMESPACE, ROOT

REDIS = """\
read -r REDISCLI_AUTH; export REDISCLI_AUTH
for key; do
    redis-cli --tls --cacert /secrets/redis/ca.crt --user admin --no-auth-warning -3 --json hgetall "$key"
done
"""

MONGODB = """\
import json, sys, pymongo
hosts, database, collection, *names = sys.argv[1:]
client = pymongo.MongoClient(f"mongodb://{hosts}/?replicaSet=rs0", tls=True, tlsCAFile="/secrets/mongodb/ca.crt",
                             username="admin", password=sys.stdin.readline().strip(), serverSelectionTimeoutMS=10000)
documents = client[database][collection]
if names[:1] == ["--text"]:
    print(documents.count_documents({"texto": names[1]}))
elif names:
    for found in documents.find({}, {"_id": 0, **dict.fromkeys(names, 1)}):
        print(json.dumps(found))
else:
    print(documents.count_documents({}))
"""

KAFKA = """\
exec java $JVM_OPTIONS -cp "/opt/kafka/libs/*" org.apache.kafka.tools.GetOffsetShell \
    --bootstrap-server aguacero-kafka-bootstrap:9093 --command-config /etc/kafka/admin.properties \
    --topic "$0" --time "$1"
"""


class Stores:
    def __init__(self, target, app=APPS["weather"]):
        self.target, self.app = target, app
        declared = streams.declared(ROOT / app.config)
        self.database, self.stream = declared["database"], streams.stream(declared, app.stream)
        self.redis_password = self.secret("redis-users", "admin")
        self.mongodb_password = self.secret("mongodb-users", "admin")
        members = get(target, "statefulset/mongodb", f"--namespace={NAMESPACE}")["spec"]["replicas"]
        self.members = ",".join(f"mongodb-{member}.mongodb.{NAMESPACE}.svc:27017" for member in range(members))

    def secret(self, name, key):
        found = get(self.target, f"secret/{name}", f"--namespace={NAMESPACE}")
        return base64.b64decode(found["data"][key]).decode()

    def counts(self, with_kafka):
        """Kafka's tool takes seconds, so it is asked when the others agree."""
        total, overflow, *counters = self.redis()
        return Counts(kafka=self.kafka_records() if with_kafka else 0, mongodb=self.documents(), total=total.get("events", 0),
                      counters=dict(zip(self.stream["counters"], counters)), overflow=overflow)

    def redis(self):
        """The hashes of the total, of the overflow, and of each counter."""
        keys = [f"{{{self.stream['name']}}}:{name}" for name in ("total", "overflow", *self.stream["counters"])]
        return parse_redis(self.ask("redis-0", "redis", ["sh", "-c", REDIS, "sh", *keys], self.redis_password))

    def documents(self):
        return int(self.ask_mongodb())

    def values(self):
        """How often the values of each event are archived."""
        names = [name for field in self.app.fields for name in self.stream["fields"][field]]
        found = map(json.loads, self.ask_mongodb(*names).splitlines())
        return Counter(values_of(document, self.app, self.stream) for document in found)

    def texts(self):
        """The same of an app with one field, by its value alone."""
        return Counter({text: count for (text,), count in self.values().items()})

    def has(self, text):
        """Whether an event with this text is archived; no, too, if no member answers now."""
        try:
            return int(self.ask_mongodb("--text", text)) > 0
        except Failure:
            return False

    def ask_mongodb(self, *names):
        return self.ask("mongodb-0", "mongodb", ["python3", "-c", MONGODB, self.members, self.database,
                                                 self.stream["collection"], *names], self.mongodb_password)

    def kafka_records(self):
        """The records between the first and the last offset of each partition."""
        first, last = (sum(self.offsets(self.stream["topic"], when).values()) for when in ("earliest", "latest"))
        return last - first

    def offsets(self, topic, when):
        """The `earliest` or the `latest` of each partition."""
        return parse_offsets(self.ask("kafka-0", "kafka", ["sh", "-c", KAFKA, topic, when]), topic)

    def ask(self, pod, container, command, given=""):
        done = attempt(self.target, "exec", "--stdin", f"--namespace={NAMESPACE}", pod, f"--container={container}", "--",
                       *command, given=f"{given}\n")
        if done.returncode != 0:
            raise Failure(f"{pod} did not answer:\n{last_lines(done.stderr or done.stdout, 8)}")
        return done.stdout


def parse_redis(text):
    """The hashes of answers as JSON, one behind the other."""
    decoder, hashes, text = json.JSONDecoder(), [], text.strip()
    while text:
        found, end = decoder.raw_decode(text)
        hashes.append({name: int(count) for name, count in found.items()})
        text = text[end:].lstrip()
    return hashes


def parse_offsets(text, topic):
    """By partition, of lines such as messages:5:1734."""
    found = (line.rsplit(":", 2) for line in text.splitlines() if line.startswith(f"{topic}:"))
    return {int(partition): int(offset) for _, partition, offset in found}

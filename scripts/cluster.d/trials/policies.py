"""Who may talk to whom: a stranger to nobody; and a policy that is missed makes itself known."""

import json
import time

from cache import Failure, say

STRANGER = "stranger"
# Of each arrow that there is, its end; and what is outside of the cluster.
CLOSED = {"gateway": 80, "redis": 6379, "mongodb-0.mongodb": 27017, "aguacero-kafka-bootstrap": 9093,
          "consumer-0.consumer": 9183, "192.0.2.1": 80}
ASK = """
import json, socket, sys
found = {}
for host, port in json.load(sys.stdin).items():
    try:
        socket.create_connection((host, port), 3).close()
        found[host] = "open"
    except socket.gaierror:
        found[host] = "no such name"
    except OSError as error:
        found[host] = "closed"
print(json.dumps(found))
"""


def trial(cluster, load):
    say("a pod without a policy of its own tries every service …")
    found = as_a_stranger(cluster)
    wrong = {host: state for host, state in found.items() if state != "closed"}
    if wrong:
        raise Failure(f"a stranger's connections should be closed, and are not: {wrong}")
    rows = [{"what": f"a stranger's connections to {len(found)} places: all closed", "window": None, "seconds": None}]
    return [*rows, missed(cluster, load)]


def as_a_stranger(cluster):
    cluster.attempt("delete", "pod", STRANGER, "--wait=true", "--grace-period=1")
    cluster.kubectl("create", "--filename=-", given=json.dumps(pod()))
    try:
        cluster.until("the stranger's pod is ready", lambda: cluster.is_ready(STRANGER))
        return json.loads(cluster.kubectl("exec", "--stdin", STRANGER, "--", "python3", "-c", ASK, given=json.dumps(CLOSED)))
    finally:
        cluster.kubectl("delete", "pod", STRANGER, "--wait=false", "--grace-period=1")


def pod():
    container = {"name": "stranger", "image": "localhost/base:dev", "command": ["sleep", "600"], "imagePullPolicy": "IfNotPresent",
                 "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}
    security = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": STRANGER},
            "spec": {"containers": [container], "securityContext": security, "automountServiceAccountToken": False,
                     "terminationGracePeriodSeconds": 1}}


def missed(cluster, load):
    """Without its policy, a consumer that starts reaches nothing: it is not ready, and its log names what it misses."""
    say("the consumer's NetworkPolicy is deleted, and a consumer starts …")
    policy = cluster.get("networkpolicy/consumer")
    start = time.monotonic()
    cluster.kubectl("delete", "networkpolicy/consumer")
    try:
        cluster.kubectl("delete", "pod", "consumer-0", "--wait=true")
        said = cluster.until("consumer-0 says what it cannot reach", lambda: complaint(cluster.log("consumer-0", "consumer")), 90)
        if cluster.is_ready("consumer-0"):
            raise Failure("consumer-0 is ready though it may talk to nobody")
    finally:
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", given=json.dumps(bare(policy)))
    normal = cluster.until_normal(load)
    return {"what": "a NetworkPolicy is missed", "said": said, "seconds": normal - start,
            "window": load.between(start, normal), "none_may_fail": True}


def complaint(log, words=("kafka", "mongodb", "redis")):
    """The first line of a log that complains of a store."""
    for line in log.splitlines():
        try:
            level = json.loads(line).get("level", "")
        except (ValueError, AttributeError):
            level = "ERROR"  # what cannot start says so in plain text
        if level in ("WARN", "ERROR") and any(word in line.lower() for word in words):
            return line
    return None


def bare(found):
    """An object without what the server added."""
    metadata = {key: found["metadata"][key] for key in ("name", "namespace", "labels") if key in found["metadata"]}
    return {"apiVersion": found["apiVersion"], "kind": found["kind"], "metadata": metadata,
            **{key: found[key] for key in ("spec", "data", "type") if key in found}}

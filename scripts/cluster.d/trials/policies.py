"""Who may talk to whom: a stranger to nobody; and a policy that is missed makes itself known."""

import json
import time

from cache import Failure, say

STRANGER = "stranger"
OUTSIDE = "192.0.2.1"
API_HOST = "kubernetes.default"
API = {API_HOST: 443}
MAY_LEAVE = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": STRANGER},
             "spec": {"podSelector": {"matchLabels": {"app.kubernetes.io/name": STRANGER}}, "policyTypes": ["Egress"], "egress": [{}]}}
# Of each arrow that there is, its end.
CLOSED = {"gateway": 80, "console": 80, "redis": 6379, "mongodb-0.mongodb": 27017, "aguacero-kafka-bootstrap": 9093,
          "consumer-0.consumer": 9183}
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
    return [*as_a_stranger(cluster), missed(cluster, load)]


def as_a_stranger(cluster):
    """Nobody lets it in, even where it may go anywhere: that one policy keeps it from leaving hides what others let in."""
    cluster.attempt("delete", f"pod/{STRANGER}", f"networkpolicy/{STRANGER}", "--wait=true", "--grace-period=1")
    cluster.kubectl("create", "--filename=-", given=json.dumps(pod()))
    try:
        cluster.until("the stranger's pod is ready", lambda: cluster.is_ready(STRANGER))
        rows = [closed(cluster, "a stranger that may go nowhere", {**CLOSED, OUTSIDE: 80})]
        cluster.kubectl("create", "--filename=-", given=json.dumps(MAY_LEAVE))
        # Where it may go, it is refused by who is there: the API server is outside of every policy.
        cluster.until("the stranger may leave", lambda: ask(cluster, API)[API_HOST] == "open")
        return [*rows, closed(cluster, "a stranger that may go anywhere", CLOSED)]
    finally:
        cluster.attempt("delete", f"pod/{STRANGER}", f"networkpolicy/{STRANGER}", "--wait=false", "--grace-period=1")


def closed(cluster, who, places):
    found = ask(cluster, places)
    if wrong := {host: state for host, state in found.items() if state != "closed"}:
        raise Failure(f"{who} should reach nothing: {wrong}")
    return {"what": f"{who}: {len(found)} of {len(found)} places closed", "window": None, "seconds": None}


def ask(cluster, places):
    return json.loads(cluster.kubectl("exec", "--stdin", STRANGER, "--", "python3", "-c", ASK, given=json.dumps(places)))


def pod():
    container = {"name": "stranger", "image": "localhost/base:dev", "command": ["sleep", "600"], "imagePullPolicy": "IfNotPresent",
                 "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}
    security = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": STRANGER, "labels": {"app.kubernetes.io/name": STRANGER}},
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

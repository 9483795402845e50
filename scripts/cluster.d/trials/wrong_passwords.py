"""A password that is wrong: the pod that starts with it says so, and does not take the place of one that works."""

import base64
import json
import time

from cache import Failure, say

from .policies import bare, complaint

# Secret, key, the workload that starts with it, a pod of it, its container, and a word that its log should have.
WRONG = (
    ("kafka-producer", "password", "deployment/gateway", None, "kafka-producer", ("authentication", "sasl")),
    ("consumer", "password", "statefulset/consumer", "consumer-0", "consumer", ("authentication", "sasl")),
    ("mongodb-users", "consumer", "statefulset/consumer", "consumer-0", "consumer", ("authentication", "scram")),
    ("redis-users", "redis-writer", "deployment/gateway", None, "redis-writer", ("wrongpass", "auth", "password")),
)
SAID_SECONDS_MAX = 120


def trial(cluster, load):
    return [with_wrong(cluster, load, *each) for each in WRONG]


def with_wrong(cluster, load, secret, key, workload, pod, container, words):
    say(f"Secret {secret} has a wrong {key}, and {workload} starts a pod …")
    right = cluster.get(f"secret/{secret}")
    start = time.monotonic()
    wrong = base64.b64encode(b"this is not the password").decode()
    cluster.kubectl("patch", f"secret/{secret}", f"--patch={json.dumps({'data': {key: wrong}})}")
    old = set(cluster.pods("gateway"))
    try:
        if pod:
            cluster.kubectl("delete", "pod", pod, "--wait=true")
        else:
            cluster.kubectl("rollout", "restart", workload)
            pod = cluster.until("a new pod is there", lambda: next(iter(set(cluster.pods("gateway")) - old), None))
        said = cluster.until(f"{pod} says what is wrong", lambda: complaint(cluster.log(pod, container), words), SAID_SECONDS_MAX)
        # Without Redis events are stored all the same, so the redis-writer keeps no pod from being ready.
        if container != "redis-writer" and cluster.is_ready(pod):
            raise Failure(f"{pod} is ready with a wrong password of {container}")
    finally:
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", given=json.dumps(bare(right)))
    if workload == "deployment/gateway":
        cluster.kubectl("rollout", "restart", workload)
    else:
        cluster.kubectl("delete", "pod", pod, "--wait=true")
    normal = cluster.until_normal(load)
    return {"what": f"Secret {secret} is wrong", "said": said, "seconds": normal - start,
            "window": load.between(start, normal), "none_may_fail": True}

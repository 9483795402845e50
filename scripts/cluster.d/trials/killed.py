"""Pods that go without a word, processes that crash, and a node's agent that is started again."""

import time

import agents
from cache import Failure, say

PODS = ("gateway", "consumer", "redis", "mongodb", "kafka")
PROCESSES = ("gateway", "kafka-producer", "redis-writer", "consumer", "console")


def trial(cluster, load):
    rows = [under(cluster, load, f"pod {pod} killed", lambda pod=pod: kill_pod(cluster, pod))
            for name in PODS for pod in cluster.pods(name)]
    rows += [under(cluster, load, f"process {name} killed", lambda name=name: kill_process(cluster, name))
             for name in PROCESSES]
    rows.append(under(cluster, load, "kubelet killed and started", lambda: agents.restart_kubelet(cluster.state)))
    return rows


def kill_pod(cluster, pod):
    if pod in {each for name in PODS for each in cluster.pods(name)}:  # a gateway's is another by now
        cluster.kubectl("delete", "pod", pod, "--grace-period=0", "--force", "--wait=false")


def kill_process(cluster, name):
    if not cluster.kill_process(name):
        raise Failure(f"no process {name} runs on the node")


def under(cluster, load, what, fault):
    say(f"{what} …")
    start = time.monotonic()
    fault()
    time.sleep(1)  # until the API knows that something is not ready
    normal = cluster.until_normal(load)
    return {"what": what, "seconds": normal - start, "window": load.between(start, normal), "none_may_fail": False}

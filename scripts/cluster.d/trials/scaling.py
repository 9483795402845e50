"""More load, and less again: gateways by their CPU (HorizontalPodAutoscaler), consumers by their lag (KEDA)."""

import contextlib
import threading
import time

from cache import Failure, say

from .load import Load

# Many requests are work for the gateways, many events for the consumers: first the ones, lest the others' work in MongoDB leaves
# the gateways of a small machine too little of it to be busy.
REQUESTS = {"rate": 800, "users": 16}
BODIES = {"rate": 20, "users": 4, "events": 200}
SAMPLE_SECONDS = 2
UP_SECONDS_MAX, DOWN_SECONDS_MAX = 240, 480
WORKLOADS = ("deployment/gateway", "statefulset/consumer")


class Replicas(threading.Thread):
    """How many pods of each workload are wanted and ready, over time."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster, self.samples, self.over, self.start_time = cluster, [], threading.Event(), time.monotonic()

    def run(self):
        while not self.over.wait(SAMPLE_SECONDS):
            found = self.cluster.get(*WORKLOADS)["items"]
            self.samples.append({"seconds": time.monotonic() - self.start_time,
                                 **{each["metadata"]["name"]: (each["spec"].get("replicas", 0),
                                                               each.get("status", {}).get("readyReplicas", 0))
                                    for each in found}})

    def wanted(self, name):
        return self.samples[-1][name][0] if self.samples else 0

    def most(self, name):
        return max((sample[name][1] for sample in self.samples), default=0)


def trial(cluster, light, usage_now):
    """Rows, the samples for a plot, when the load began and ended, the loads, for the judge, and what `usage_now` gave under it."""
    least = {name: fewest(cluster, workload) for workload, name in ((each, each.split("/")[1]) for each in WORKLOADS)}
    replicas = Replicas(cluster)
    replicas.start()
    # What ran before may have made more of them.
    for name in least:
        cluster.until(f"{least[name]} of {name}", lambda name=name: replicas.wanted(name) == least[name], DOWN_SECONDS_MAX)
    began = time.monotonic()
    heavy = [Load(cluster.port, cluster.host, **load) for load in (REQUESTS, BODIES)]
    words = [f"{REQUESTS['rate']} requests a second …", f"and {BODIES['rate']} with {BODIES['events']} events each …"]
    try:
        with contextlib.ExitStack() as running:
            for name, load, said in zip(least, heavy, words):
                say(said)
                running.enter_context(load)
                cluster.until(f"more than {least[name]} of {name} are wanted", lambda name=name: replicas.wanted(name) > least[name],
                              UP_SECONDS_MAX)
            busy = usage_now()
            cluster.until("they are ready", lambda: all(replicas.most(name) > least[name] for name in least), UP_SECONDS_MAX)
        ended = time.monotonic()
        say("the load is over …")
        for name in least:
            cluster.until(f"{least[name]} of {name} again", lambda name=name: replicas.wanted(name) == least[name], DOWN_SECONDS_MAX)
        normal = cluster.until_normal(light)
    finally:
        replicas.over.set()
        replicas.join()
    rows = [{"what": f"scaled up: {', '.join(f'{name} {least[name]} → {replicas.most(name)}' for name in least)}",
             "seconds": ended - began, "window": light.between(began, ended), "none_may_fail": False},
            {"what": "scaled down", "seconds": normal - ended, "window": light.between(ended, normal), "none_may_fail": True}]
    return rows, replicas.samples, (began - replicas.start_time, ended - replicas.start_time), heavy, busy


def fewest(cluster, workload):
    """How many pods the autoscaler of a workload keeps at the least."""
    kind, name = workload.split("/")
    scalers = [each["spec"] for each in cluster.get("horizontalpodautoscalers")["items"]]
    of = [each for each in scalers if each["scaleTargetRef"]["kind"].lower() == kind and each["scaleTargetRef"]["name"] == name]
    if not of:
        raise Failure(f"no HorizontalPodAutoscaler scales {workload}")
    return of[0].get("minReplicas", 1)

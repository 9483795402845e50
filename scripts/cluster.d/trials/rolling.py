"""Every workload is rolled while requests come in: none may fail."""

import time

from cache import say

from .cluster import READY_SECONDS_MAX, WORKLOADS


def trial(cluster, load):
    """A row for each workload: what it was, how long it took, the requests meanwhile."""
    rows = []
    for workload in WORKLOADS:
        say(f"rolling update of {workload} …")
        start = time.monotonic()
        cluster.kubectl("rollout", "restart", workload)
        cluster.kubectl("rollout", "status", workload, f"--timeout={READY_SECONDS_MAX}s")
        normal = cluster.until_normal(load)
        rows.append({"what": f"rolling update of {workload.split('/')[1]}", "seconds": normal - start,
                     "window": load.between(start, normal), "none_may_fail": True})
    return rows

"""Prometheus on the cluster, which watches every process, and what it has seen."""

import json
import time
import urllib.parse

import images
import streams
from cache import Failure
from kubectl import get, kubectl, wait_for_rollout
from settings import NAMESPACE, ROOT

FOLDER = ROOT / "k8s" / "monitoring"
MONITORING = "monitoring"
READY_SECONDS_MAX = 180
SEEN_SECONDS_MAX = 90
POLL_SECONDS = 1
# The last value of each pod, those that were removed too.
STORED = 'sum by (container) (max_over_time(aguacero_producer_records_total{outcome="stored"}[1h]))'
# Containers with a port for figures, by the names of these ports.
ADMIN_PORTS = ("admin", "producer-admin", "wasm-admin", "writer-admin")


def image():
    return images.build("prometheus")


def start(target):
    for folder in (FOLDER / "prometheus", FOLDER):
        kubectl(target, "apply", "--server-side", "--force-conflicts", f"--kustomize={folder}")
    wait_for_rollout(target, MONITORING, "deployment/prometheus", READY_SECONDS_MAX)


def ask(target, query):
    """[(labels, value)] of an instant query, by way of the API server."""
    path = f"/api/v1/namespaces/{MONITORING}/services/prometheus:9090/proxy/api/v1/query?query={urllib.parse.quote(query)}"
    answer = json.loads(kubectl(target, "get", f"--raw={path}"))
    if answer.get("status") != "success":
        raise Failure(f"Prometheus does not answer {query}: {answer}")
    return [(found["metric"], float(found["value"][1])) for found in answer["data"]["result"]]


def stored(target, stream, accepted):
    """What each producer says that Kafka has confirmed, of all pods that there were, where a stream's routes go by several; when
    together that is all that was accepted, or as it is at the deadline."""
    vias = sorted(set(stream["routes"].values()))
    if len(vias) == 1:
        return {}
    deadline = time.monotonic() + SEEN_SECONDS_MAX
    while True:
        found = {labels["container"]: int(value) for labels, value in ask(target, STORED)}
        counts = {via: (streams.PRODUCERS[via], found.get(streams.PRODUCERS[via], 0)) for via in vias}
        if sum(count for _, count in counts.values()) >= accepted or time.monotonic() > deadline:
            return counts
        time.sleep(POLL_SECONDS)


def trial(cluster):
    """Every process of every pod is scraped, and nothing alarms; what the pods take, by the model."""
    wanted = len([port for pod in get(cluster.target, "pods", f"--namespace={NAMESPACE}")["items"]
                  if pod["status"].get("phase") == "Running"
                  for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
                  for port in container.get("ports", []) if port.get("name") in ADMIN_PORTS])
    deadline = time.monotonic() + SEEN_SECONDS_MAX
    while len(up := [labels for labels, value in ask(cluster.target, 'up{job="aguacero"} == 1')]) != wanted:
        if time.monotonic() > deadline:
            raise Failure(f"Prometheus scrapes {len(up)} of {wanted} processes")
        time.sleep(POLL_SECONDS)
    rows = [{"what": f"Prometheus scrapes {len(up)} of {wanted} processes", "window": None, "seconds": None}]
    firing = sorted({labels["alertname"] for labels, _ in ask(cluster.target, 'ALERTS{alertstate="firing"}')})
    rows.append({"what": f"alerts that fire: {', '.join(firing) or 'none'}", "window": None, "seconds": None})
    return rows


def energy(cluster):
    """{pod: watts}, of the last minutes, by the model: this node has no meter."""
    return {labels.get("pod", "?"): value for labels, value in ask(cluster.target, 'sum by (pod) (pod:watts{source="model"})')}

"""Memory and CPU of each container, beside what it asks for."""

from kubectl import kubectl
from settings import NAMESPACE


def of_containers(cluster):
    """{(pod's workload, container): (millicores, MiB)}, the most of its pods, as metrics-server has it of the last minute."""
    found = {}
    for line in kubectl(cluster.target, f"--namespace={NAMESPACE}", "top", "pods", "--containers", "--no-headers").splitlines():
        pod, container, cpu, memory = line.split()
        key = (workload_of(pod), container)
        before = found.get(key, (0, 0))
        found[key] = (max(before[0], int(cpu.removesuffix("m"))), max(before[1], int(memory.removesuffix("Mi"))))
    return found


def requests(cluster):
    """The same of what they ask for."""
    found = {}
    for pod in cluster.get("pods")["items"]:
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
            asked = container.get("resources", {}).get("requests", {})
            found[workload_of(pod["metadata"]["name"]), container["name"]] = (millicores(asked.get("cpu")), mebibytes(asked.get("memory")))
    return found


def workload_of(pod):
    """gateway-5d4f-x7k2 is of gateway, mongodb-0 of mongodb."""
    return pod.split("-")[0]


def millicores(text):
    if not text:
        return 0
    return int(text.removesuffix("m")) if text.endswith("m") else round(float(text) * 1000)


def mebibytes(text):
    if not text:
        return 0
    units = {"Ki": 1 / 1024, "Mi": 1, "Gi": 1024}
    return round(float(text[:-2]) * units[text[-2:]])

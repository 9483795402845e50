"""What every cluster has that people rent: names, metrics, volumes, an ingress controller, and KEDA."""

import concurrent.futures
import shutil
import tempfile
from pathlib import Path

import images
from agents import PAUSE
from build import module_folder
from cache import Failure, say
from kubectl import kubectl, wait_for_rollout
from settings import CONTOUR, HERE, KEDA, LOCAL_PATH, METRICS_SERVER

MANIFESTS = HERE / "manifests"

# Name: the folder of its makers' manifests in its sources, its images, and what has to become ready.
ADDONS = {
    "coredns": (None, ["coredns"], ["kube-system deployment/coredns"]),
    "local-path": ((f"github.com/rancher/local-path-provisioner@v{LOCAL_PATH}", "deploy"),
                   ["local-path-provisioner", "base"], ["local-path-storage deployment/local-path-provisioner"]),
    "metrics-server": ((f"sigs.k8s.io/metrics-server@v{METRICS_SERVER}", "manifests/base"), ["metrics-server"],
                       ["kube-system deployment/metrics-server"]),
    "contour": ((f"github.com/projectcontour/contour@v{CONTOUR}", "examples/contour"), ["contour", "envoy"],
                ["projectcontour deployment/contour", "projectcontour daemonset/envoy"]),
    "keda": ((f"github.com/kedacore/keda/v2@v{KEDA}", "config"), ["keda", "keda-adapter", "keda-admission-webhooks"],
             ["keda deployment/keda-operator", "keda deployment/keda-metrics-apiserver",
              "keda deployment/keda-admission"]),
}
READY_SECONDS_MAX = 240


def image_names():
    """Of all of them, and the one that every pod has."""
    return [PAUSE.removeprefix("localhost/").removesuffix(":dev"),
            *(image for _, names, _ in ADDONS.values() for image in names)]


def load_images(state):
    images.load(state, [images.build(image) for image in image_names()])


def start(target):
    for name in ADDONS:
        apply(target, name)
    wait_ready(target)


def apply(target, name):
    """As their makers publish them, with what kustomization.yaml says changed. On the server's side, since
    some definitions are larger than the annotation that a client would leave."""
    source, _, _ = ADDONS[name]
    with tempfile.TemporaryDirectory(prefix="aguacero-addon-") as folder:
        work = Path(folder, name)
        shutil.copytree(MANIFESTS / name, work)
        if source:
            module, path = source
            shutil.copytree(module_folder(module) / path, work / "upstream")
            make_writable(work)
        kubectl(target, "apply", "--server-side", "--force-conflicts", f"--kustomize={work}")


def make_writable(folder):
    """Go's module cache is read-only, and so would be the copy, which is to be removed."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)


def wait_ready(target):
    rollouts = [rollout.split() for _, _, rollouts in ADDONS.values() for rollout in rollouts]
    for namespace, workload in rollouts:
        wait_for_rollout(target, namespace, workload, READY_SECONDS_MAX)
    for service in ("v1beta1.metrics.k8s.io", "v1beta1.external.metrics.k8s.io"):
        kubectl(target, "wait", "--for=condition=Available", f"--timeout={READY_SECONDS_MAX}s", f"apiservice/{service}")

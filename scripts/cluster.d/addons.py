"""What every cluster has that people rent: names, metrics, volumes, an ingress controller, and KEDA."""

import os
import shutil
import tempfile
from pathlib import Path

import images
from agents import PAUSE
from build import module_folder
from cache import Failure
from kubectl import attempt, kubectl, wait_for_rollout
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
# The APIs that they add: until these answer, a client that lists all kinds gets an error.
APIS = {"metrics-server": "v1beta1.metrics.k8s.io", "keda": "v1beta1.external.metrics.k8s.io"}
OPTIONAL = ("contour", "keda")
READY_SECONDS_MAX = 240


def chosen():
    """All of them, or, of those that not everybody needs, those that the variable ADDONS names."""
    wanted = os.environ.get("ADDONS", " ".join(OPTIONAL)).split()
    if unknown := set(wanted) - set(OPTIONAL):
        raise Failure(f"ADDONS names {', '.join(sorted(unknown))}; there are {', '.join(OPTIONAL)}")
    return {name: addon for name, addon in ADDONS.items() if name not in OPTIONAL or name in wanted}


def image_names(addons):
    """Of these, and the one that every pod has."""
    return [PAUSE.removeprefix("localhost/").removesuffix(":dev"), *(image for name in addons for image in ADDONS[name][1])]


def groups():
    """Of build.py, that have their programs."""
    return sorted({images.PROGRAMS[image][0] for image in image_names(chosen()) if image in images.PROGRAMS})


def load_images(state, addons):
    images.load(state, [images.build(image) for image in image_names(addons)])


def missing(target):
    """Those that are not there at all."""
    return [name for name, (_, _, rollouts) in chosen().items()
            if any(attempt(target, "get", workload, f"--namespace={namespace}").returncode != 0
                   for namespace, workload in map(str.split, rollouts))]


def start(target, addons):
    for name in addons:
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
    rollouts = [rollout.split() for _, _, rollouts in chosen().values() for rollout in rollouts]
    for namespace, workload in rollouts:
        wait_for_rollout(target, namespace, workload, READY_SECONDS_MAX)
    for addon, service in APIS.items():
        if addon not in chosen():
            continue
        kubectl(target, "wait", "--for=condition=Available", f"--timeout={READY_SECONDS_MAX}s", f"apiservice/{service}")

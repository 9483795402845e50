"""The programs of Kubernetes and its add-ons, built from their sources as the Go module proxy has them.

Each group below is one Go module of its own, made on the spot, so that programs with the same
dependencies compile them once. The programs of a group are kept in the cache folder under a name with
the hash of everything that they are built from: another version, flag or source is another folder."""

import hashlib
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from cache import Failure, cache, client, locked, require, say
from settings import (CONTOUR, COREDNS, ETCD, HELM, HERE, KEDA, KUBE_ROUTER, KUBERNETES, LOCAL_PATH,
                      METRICS_SERVER, PROMETHEUS)

HINT = ("Look at the network and at Go's settings (GOPROXY, GOFLAGS) and try again: what was compiled\n"
        "already is kept in Go's own cache.")
KUBERNETES_MODULE = f"k8s.io/kubernetes@v{KUBERNETES}"


@dataclass
class Group:
    """A Go module: what it requires, and the programs to be built from that."""
    requires: list
    programs: dict  # name: package
    go: str = "1.26.0"
    extra: str = ""  # more lines of go.mod
    tags: str = ""
    values: dict = field(default_factory=dict)  # of variables, set when it is linked
    sources: list = field(default_factory=list)  # folders beside this file, which become packages of the module
    is_kubernetes: bool = False
    about: str = ""


def version_values():
    """What `--version` says and clients ask for; a build of a release's own script sets the same."""
    _, minor, _ = KUBERNETES.split(".")
    told = {"gitVersion": f"v{KUBERNETES}", "gitMajor": "1", "gitMinor": minor, "gitTreeState": "clean",
            "gitCommit": "none", "buildDate": "2026-01-01T00:00:00Z"}
    return {f"{package}.{key}": value for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
            for key, value in told.items()}


GROUPS = {
    "kubernetes": Group(
        requires=[f"github.com/coredns/coredns@v{COREDNS}", f"sigs.k8s.io/metrics-server@v{METRICS_SERVER}",
                  f"go.etcd.io/etcd/server/v3@v{ETCD}"],
        programs={**{name: f"k8s.io/kubernetes/cmd/{name}"
                     for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet",
                                  "kube-proxy", "kubectl")},
                  "etcd": "go.etcd.io/etcd/server/v3",
                  "coredns": "./coredns",
                  "metrics-server": "sigs.k8s.io/metrics-server/cmd/metrics-server"},
        values=version_values(), sources=["coredns"], is_kubernetes=True,
        about=f"Kubernetes {KUBERNETES}, etcd, CoreDNS and metrics-server (6 minutes on two cores, 4 GB of Go's caches)"),
    "local-path-provisioner": Group(
        requires=[f"github.com/rancher/local-path-provisioner@v{LOCAL_PATH}"],
        programs={"local-path-provisioner": "github.com/rancher/local-path-provisioner"}),
    "kube-router": Group(
        requires=[f"github.com/cloudnativelabs/kube-router/v2@v{KUBE_ROUTER}"],
        programs={"kube-router": "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"}),
    "contour": Group(
        requires=[f"github.com/projectcontour/contour@v{CONTOUR}"],
        programs={"contour": "github.com/projectcontour/contour/cmd/contour"}),
    "prometheus": Group(
        requires=[f"github.com/prometheus/prometheus@v0.{PROMETHEUS.split('.')[0]}{int(PROMETHEUS.split('.')[1]):02}."
                  f"{PROMETHEUS.split('.')[2]}"],
        programs={name: f"github.com/prometheus/prometheus/cmd/{name}" for name in ("prometheus", "promtool")},
        tags="netgo,remove_all_sd,enable_kubernetes_sd"),
    "keda": Group(
        requires=[f"github.com/kedacore/keda/v2@v{KEDA}"],
        programs={"keda": "github.com/kedacore/keda/v2/cmd/operator",
                  "keda-adapter": "github.com/kedacore/keda/v2/cmd/adapter",
                  "keda-admission-webhooks": "github.com/kedacore/keda/v2/cmd/webhooks"},
        # As in KEDA's own go.mod: v0.1.0 of this one has no licence. What a dependency replaces does not count here.
        extra="replace github.com/nexus-rpc/nexus-proto-annotations v0.1.0 => "
              "github.com/nexus-rpc/nexus-proto-annotations v0.1.1-0.20260629224316-835bd8d49cb4\n",
        about="KEDA (6 minutes on two cores)"),
    "helm": Group(
        requires=[f"helm.sh/helm/v3@v{HELM}"],
        programs={"helm": "helm.sh/helm/v3/cmd/helm"},
        values={"helm.sh/helm/v3/internal/version.version": f"v{HELM}"}),
}

# ---------------------------------------------------------------- what is there, and what is missing

def program(name):
    """The path of a program, which is built if it is not in the cache."""
    for key, group in GROUPS.items():
        if name in group.programs:
            return built(key) / name
    raise Failure(f"none of the groups of cluster.d/build.py has a program {name}")


def built(key):
    """The folder with the programs of a group."""
    group = GROUPS[key]
    folder = folder_of(key)
    if folder.is_dir():
        return folder
    require("go")
    with locked(cache() / f".lock-go-{key}"):
        if folder.is_dir():
            return folder
        say(f"building {group.about or key} …")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{key}-", dir=folder.parent) as name:
            start, before = time.monotonic(), cpu_seconds()
            out = Path(name, "out")
            compile_group(group, Path(name, "module"), out)
            out.rename(folder)
            say(f"built    {key}: {megabytes(folder)} in {time.monotonic() - start:.0f} s, "
                f"{cpu_seconds() - before:.0f} s of CPU")
    return folder


def folder_of(key):
    return cache() / "cluster" / f"{key}-{inputs_hash(GROUPS[key])}"


def inputs_hash(group):
    """Of everything that decides what comes out, except for the compiler's own version."""
    parts = [platform.machine(), go_mod(group), json.dumps(sorted(group.requires)),
             json.dumps(sorted(group.programs.items())), *build_flags(group)]
    parts += [KUBERNETES_MODULE] if group.is_kubernetes else []
    for source in group.sources:
        parts += [path.read_text() for path in sorted((HERE / source).iterdir())]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def megabytes(folder):
    return f"{sum(path.stat().st_size for path in folder.iterdir()) / 1e6:.0f} MB"


# ---------------------------------------------------------------- one group

def go_mod(group, replaces=""):
    return f"module local/cluster\n\ngo {group.go}\n\n{group.extra}{replaces}"


def build_flags(group):
    values = [f"-X {name}={value}" for name, value in sorted(group.values.items())]
    tags = [f"-tags={group.tags}"] if group.tags else []
    return ["-mod=mod", "-trimpath", *tags, f"-ldflags={' '.join(['-s', '-w', *values])}"]


def compile_group(group, folder, out):
    folder.mkdir()
    out.mkdir()
    (folder / "go.mod").write_text(go_mod(group))
    for source in group.sources:
        shutil.copytree(HERE / source, folder / source)
    if group.is_kubernetes:
        (folder / "go.mod").write_text(kubernetes_go_mod(folder))
    go(folder, "get", *group.requires)
    go(folder, "build", *build_flags(group), "-o", f"{out}/", *group.programs.values())
    for name, package in group.programs.items():
        (out / built_name(package)).rename(out / name)


def built_name(package):
    """What go calls the program of a package: the last part of its path that is not a version."""
    parts = [part for part in package.split("/") if not re.fullmatch(r"v\d+", part)]
    return parts[-1]


def kubernetes_go_mod(folder):
    """Kubernetes' own go.mod takes the modules of its `staging` folder, which are published beside it
    under the same version with a 0 in front."""
    own = Path(module_folder(KUBERNETES_MODULE, folder), "go.mod").read_text()
    major, rest = KUBERNETES.split(".", 1)
    staging = re.findall(r"^\s+(k8s\.io/[a-z-]+) => \./staging", own, re.M)
    if not staging or major != "1":
        raise Failure(f"the go.mod of {KUBERNETES_MODULE} is not as cluster.d/build.py expects it")
    lines = [f"\t{name} => {name} v0.{rest}" for name in staging]
    kept = re.findall(r"^(?:go|godebug) .*$", own, re.M)
    return "\n".join(["module local/cluster", "", *kept, "", f"require {KUBERNETES_MODULE.replace('@', ' ')}",
                      "", "replace (", *lines, ")", ""])


def module_folder(module, folder=None):
    """Where the sources of a module are, PATH@VERSION: the manifests of an add-on are among them."""
    require("go")
    with tempfile.TemporaryDirectory() as elsewhere:
        told = go(folder or elsewhere, "mod", "download", "-json", module)
    return Path(json.loads(told)["Dir"])


def go(folder, *arguments):
    # Programs that are linked statically, so that they run in an image of their own.
    env = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": os.environ.get("GOFLAGS", "")}
    if arguments[0] == "mod":  # only what is asked for on stdout
        done = subprocess.run(["go", *arguments], cwd=folder, env=env, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode != 0:
            raise Failure(f"go {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}\n{HINT}")
        return done.stdout
    return client(["go", *arguments], HINT, cwd=folder, env=env)

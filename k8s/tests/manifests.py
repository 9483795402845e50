"""The overlays, rendered, and what is in them."""

import functools
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
sys.path[:0] = [str(ROOT / "scripts" / "services.d"), str(ROOT / "scripts" / "lib")]

from cache import client, fetched, require  # noqa: E402

# Those of the tests have components that no other overlay has.
FOLDERS = {path.name: path for folder in (K8S / "overlays", K8S / "tests" / "overlays") for path in sorted(folder.iterdir())}
OVERLAYS = list(FOLDERS)
KUSTOMIZE = ("kustomize", "sigs.k8s.io/kustomize/kustomize/v5", "5.8.1")
COMPOSE = ("compose-go", "github.com/compose-spec/compose-go/v2/cmd", "2.9.1")  # with which `docker compose` reads its file
KUBE_SCORE = ("kube-score", "github.com/zegl/kube-score/cmd/kube-score", "1.20.0")


def tool(name, module, version):
    """A program of Go's, built once into the cache."""
    def fill(folder):
        require("go")
        client(["env", f"GOBIN={folder}", "go", "install", f"{module}@v{version}"],
               "Look at the network and at Go's settings (GOPROXY) and try again.")

    program = re.sub(r"/v\d+$", "", module).rpartition("/")[2]
    return fetched(f"{name}-{version}", f"{name} {version} from Go's module proxy", fill) / program


@functools.cache
def rendered(overlay):
    """Its text."""
    return subprocess.run([tool(*KUSTOMIZE), "build", FOLDERS[overlay]], text=True, stdout=subprocess.PIPE, check=True).stdout


@functools.cache
def objects(overlay):
    return [each for each in yaml.load_all(rendered(overlay), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if each]


def of_kind(overlay, *kinds):
    return [each for each in objects(overlay) if each["kind"] in kinds]


def configuration(overlay):
    """What the processes of an overlay read."""
    text, = [each["data"]["aguacero.toml"] for each in of_kind(overlay, "ConfigMap") if "aguacero.toml" in each["data"]]
    return tomllib.loads(text)


def has_wasm(overlay):
    """Whether a stream asks for the wasm-producer."""
    return any(route.get("via") == "wasm" for stream in configuration(overlay)["streams"].values() for route in stream["routes"])


def has_tables(overlay):
    """Whether a stream has a table in PostgreSQL."""
    return any("table" in stream for stream in configuration(overlay)["streams"].values())


def has_operator(overlay):
    return overlay.endswith("-operator")


def title(each):
    return f"{each['kind']} {each['metadata']['name']}"


def pods(overlay):
    """Who makes pods, and what they are made of: (title, metadata, spec)."""
    for each in of_kind(overlay, "Deployment", "StatefulSet", "Job", "DaemonSet", "CronJob"):
        template = each["spec"]["template"]
        yield title(each), template.get("metadata", {}), template["spec"]


def containers(spec):
    return [*spec.get("initContainers", []), *spec["containers"]]


@functools.cache
def findings(overlay):
    """What kube-score says against what is rendered: (object, check, container, words)."""
    done = subprocess.run([tool(*KUBE_SCORE), "score", "--output-format=json", "--kubernetes-version=v1.34", "-"],
                          input=rendered(overlay), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    found = []
    for scored in json.loads(done.stdout):
        kind, name = scored["type_meta"]["kind"], scored["object_meta"]["name"]
        for check in scored["checks"]:
            if check["skipped"] or check["grade"] > 5:
                continue
            for comment in check["comments"] or [{"path": "", "summary": ""}]:
                found.append((f"{kind} {name}", check["check"]["id"], comment["path"], comment["summary"]))
    return found

"""The API server itself judges every manifest of every overlay, strictly: an unknown or misspelt field is an error."""

import json
import subprocess

from build import program
from cache import Failure, last_lines, say
from kubectl import attempt, get
from settings import ROOT

OVERLAYS = ROOT / "k8s" / "overlays"
SCHEMAS = ROOT / "k8s" / "tests" / "schemas"  # GROUP_VERSION_KIND.json


def trial(cluster):
    """A row for each overlay: how many objects the server took."""
    declare_custom_resources(cluster)
    return [validated(cluster, overlay) for overlay in sorted(OVERLAYS.iterdir()) if (overlay / "kustomization.yaml").exists()]


def declare_custom_resources(cluster):
    """Those whose operators do not run here; those that do have brought their own."""
    there = {each["metadata"]["name"] for each in get(cluster.target, "customresourcedefinitions")["items"]}
    missing = [definition for definition in map(definition_of, sorted(SCHEMAS.glob("*.json")))
               if definition["metadata"]["name"] not in there]
    if not missing:
        return
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": missing})
    done = attempt(cluster.target, "apply", "--server-side", "--filename=-", given=given)
    if done.returncode != 0:
        raise Failure(f"custom resources cannot be declared:\n{last_lines(done.stderr, 10)}")
    names = [f"customresourcedefinition/{definition['metadata']['name']}" for definition in missing]
    done = attempt(cluster.target, "wait", "--for=condition=Established", "--timeout=60s", *names)
    if done.returncode != 0:
        raise Failure(f"custom resources are not established:\n{last_lines(done.stderr, 10)}")


def definition_of(file):
    group, version, kind = file.stem.split("_")
    plural = f"{kind.lower()}s"
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}", "annotations": {"api-approved.kubernetes.io": "unapproved, for validation only"}},
        "spec": {"group": group, "scope": "Namespaced", "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
                 "versions": [{"name": version, "served": True, "storage": True,
                               "schema": {"openAPIV3Schema": structural(json.loads(file.read_text()))}}]},
    }


def structural(schema):
    """As a CustomResourceDefinition wants it: what is not declared is pruned, or refused where one asks strictly."""
    if isinstance(schema, list):
        return [structural(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: structural(value) for key, value in schema.items() if (key, value) != ("additionalProperties", False)}


def validated(cluster, overlay):
    say(f"the API server looks at {overlay.name} …")
    rendered = subprocess.run([program("kubectl"), "kustomize", overlay], text=True, capture_output=True)
    if rendered.returncode != 0:
        raise Failure(f"{overlay.name} cannot be rendered:\n{last_lines(rendered.stderr, 10)}")
    done = attempt(cluster.target, "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict",
                   "--output=name", "--filename=-", given=rendered.stdout)
    if done.returncode != 0:
        raise Failure(f"the API server refuses manifests of {overlay.name}:\n{last_lines(done.stderr, 20)}")
    return {"what": f"overlay {overlay.name}: {len(done.stdout.split())} objects are valid", "window": None, "seconds": None}

"""The API server itself judges every manifest of every overlay, strictly: an unknown or misspelt field is an error."""

import contextlib
import json
import re
import subprocess

from build import program
from cache import Failure, last_lines, say
from kubectl import attempt, get
from settings import NAMESPACE, ROOT

OVERLAYS = ROOT / "k8s" / "overlays"
ESTABLISHED_SECONDS_MAX = 60
# What runs in `project` already may not become what another overlay says.
ELSEWHERE = "validation"
SCHEMAS = ROOT / "k8s" / "tests" / "schemas"  # GROUP_VERSION_KIND.json


def trial(cluster):
    """A row for each overlay: how many objects the server took."""
    declare_custom_resources(cluster)
    overlays = [overlay for overlay in sorted(OVERLAYS.iterdir()) if (overlay / "kustomization.yaml").exists()]
    return [validated(cluster, overlay) for overlay in overlays]


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
    cluster.until("custom resources are established", lambda: attempt(
        cluster.target, "wait", "--for=condition=Established", "--timeout=10s", *names).returncode == 0, ESTABLISHED_SECONDS_MAX)


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


ALTERNATIVES = ("oneOf", "anyOf", "allOf", "not")


def structural(schema, is_alternative=False):
    """As a CustomResourceDefinition wants it: what is not declared is pruned, or refused where one asks strictly; and one
    type each, with what Kubernetes has instead of several."""
    if isinstance(schema, list):
        return [structural(each, is_alternative) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: structural(value, is_alternative or key in ALTERNATIVES)
            for key, value in schema.items() if (key, value) != ("additionalProperties", False)}
    if isinstance(types := schema.get("type"), list):
        others = [each for each in types if each != "null"]
        made["nullable"] = "null" in types
        if set(others) == {"integer", "string"}:
            made["x-kubernetes-int-or-string"] = True
            del made["type"]
        else:
            made["type"] = others[0]
    for child in [] if is_alternative else children(made):
        if not child.keys() & {"type", "x-kubernetes-int-or-string"}:
            child["x-kubernetes-preserve-unknown-fields"] = True  # anything goes
    return made


def children(schema):
    """The schemas in a schema that Kubernetes wants a type of."""
    found = [schema.get("items"), schema.get("additionalProperties")]
    if isinstance(properties := schema.get("properties"), dict) and all(isinstance(each, dict) for each in properties.values()):
        found += properties.values()
    return [each for each in found if isinstance(each, dict)]


def validated(cluster, overlay):
    say(f"the API server looks at {overlay.name} …")
    rendered = subprocess.run([program("kubectl"), "kustomize", overlay], text=True, capture_output=True)
    if rendered.returncode != 0:
        raise Failure(f"{overlay.name} cannot be rendered:\n{last_lines(rendered.stderr, 10)}")
    manifests = rendered.stdout.replace(f"\n  namespace: {NAMESPACE}\n", f"\n  namespace: {ELSEWHERE}\n")
    with namespaces(cluster, set(re.findall(r"^  namespace: (\S+)$", manifests, re.MULTILINE))):
        done = judged(cluster, manifests)
        # Whose schema is not to be had is told, and left out.
        unknown = sorted(set(re.findall(r'no matches for kind "(\w+)"', done.stderr)))
        if unknown:
            done = judged(cluster, without(manifests, unknown))
    if done.returncode != 0:
        said = "\n".join(line[:300] for line in done.stderr.splitlines())
        raise Failure(f"the API server refuses manifests of {overlay.name}:\n{last_lines(said, 20)}")
    told = f" (not looked at: {', '.join(unknown)})" if unknown else ""
    return {"what": f"overlay {overlay.name}: {len(done.stdout.split())} objects valid{told}", "window": None, "seconds": None}


def judged(cluster, manifests):
    return attempt(cluster.target, "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict",
                   "--output=name", "--filename=-", given=manifests)


def without(manifests, kinds):
    documents = manifests.split("\n---\n")
    return "\n---\n".join(each for each in documents if not any(f"\nkind: {kind}\n" in f"\n{each}\n" for kind in kinds))


@contextlib.contextmanager
def namespaces(cluster, names):
    """Those that are not there, for a while: the server judges only what has a namespace to go to."""
    made = [name for name in sorted(names) if attempt(cluster.target, "create", "namespace", name).returncode == 0]
    try:
        yield
    finally:
        for name in made:
            attempt(cluster.target, "delete", "namespace", name, "--wait=true")

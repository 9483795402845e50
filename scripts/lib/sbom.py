"""What is inside an image, as CycloneDX has it (https://cyclonedx.org, version 1.6): the Rust packages that a program is linked
to, by `cargo tree`, and the Debian packages of its base."""

import json
import re
import subprocess
import uuid
from datetime import datetime, timezone

from cache import Failure

CARGO = ["cargo", "tree", "--locked", "--edges", "normal,no-proc-macro", "--prefix", "none", "--no-dedupe",
         "--format", "{p}|{l}|{r}"]


def crates(root, process):
    """Components of what `process` is linked to, itself first."""
    done = subprocess.run([*CARGO, "--package", process], cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        raise Failure(f"cargo tree failed: {done.stderr}")
    lines = dict.fromkeys(done.stdout.splitlines())  # each once, in order
    return [crate(*line.split("|")) for line in lines if line and "(proc-macro)" not in line]


def crate(package, licence, repository):
    name, version = package.split()[:2]
    version = version.removeprefix("v")
    component = {"type": "library", "bom-ref": f"pkg:cargo/{name}@{version}", "name": name, "version": version,
                 "purl": f"pkg:cargo/{name}@{version}"}
    if licence:
        component["licenses"] = [{"expression": " ".join(licence.replace("/", " OR ").split())}]
    if repository:
        component["externalReferences"] = [{"type": "vcs", "url": repository}]
    return component


def debian_packages(status):
    """Components of what files in /var/lib/dpkg/status.d say."""
    packages = {}
    for paragraph in re.split(r"\n\n+", status):
        fields = dict(re.findall(r"^(Package|Version|Architecture): (.+)$", paragraph, re.MULTILINE))
        if "Package" in fields and "Version" in fields:
            name, version = fields["Package"], fields["Version"]
            purl = f"pkg:deb/debian/{name}@{version.replace('+', '%2B')}?arch={fields.get('Architecture', 'all')}"
            packages[name] = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    return [packages[name] for name in sorted(packages)]


def write(path, process, tag, components):
    own = components[0]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {"type": "container", "bom-ref": tag, "name": process, "version": own["version"]},
        },
        "components": components,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")

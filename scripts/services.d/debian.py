"""Programs from the system's package archive, unpacked into the cache and not installed: nothing of them starts by itself."""

import contextlib
import os
import re
import shutil
from pathlib import Path

from cache import Failure, client, say

UNPACKED = "aguacero-unpacked"  # a file in a folder that has packages


def release():
    """Of the system: libraries are the system's, so another release needs another package."""
    with contextlib.suppress(OSError):
        text = Path("/etc/os-release").read_text()
        fields = dict(re.findall(r'^(\w+)="?([^"\n]*)', text, re.MULTILINE))
        return f"{fields.get('ID', 'linux')}-{fields.get('VERSION_ID', 'rolling')}"
    return "linux"


def environment(folder):
    """For the programs that were unpacked there."""
    libraries = sorted(str(path) for path in folder.glob("usr/lib/*-linux-gnu*"))
    return {"LD_LIBRARY_PATH": ":".join(libraries)} if libraries else {}


def unpack(folder, packages, hint):
    """`packages`, which may be a function that chooses them, into `folder`."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise Failure(f"There is no apt-get to fetch it with.\n{hint}")
    try:
        download(folder, packages, hint)
    except Failure:
        if os.geteuid() != 0:  # only root may renew the lists of packages
            raise
        say("         (apt-get update first: the lists of packages are missing or old)")
        client(["apt-get", "-q", "update"], hint)
        download(folder, packages, hint)
    for package in folder.glob("*.deb"):
        client(["dpkg-deb", "-x", package, folder], hint)
        package.unlink()
    (folder / UNPACKED).touch()


def download(folder, packages, hint):
    names = packages() if callable(packages) else packages
    client(["apt-get", "-q", "download", *names], hint, cwd=folder)

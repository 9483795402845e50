"""What the scripts know of the running cluster: .run/cluster.json at the root of the project, and the
folder with everything that belongs to it. As everything is in that folder or runs below the node's
first process, `down` needs to know nothing else.

    {"data": "<a temporary folder>",
     "node": {"pid": 123, …},                       the parent of the node's first process
     "exposed": {"api": {"pid": …, "port": …}, …}}  what listens on the machine's loopback
"""

import contextlib
import json
import os
import shutil
import tempfile
from pathlib import Path

from cache import Failure
from processes import running
from settings import ROOT

PATH = ROOT / ".run" / "cluster.json"
PREFIX = "aguacero-cluster-"  # of the folder's name, and of the cgroup's


def load():
    with contextlib.suppress(FileNotFoundError):
        return json.loads(PATH.read_text())
    return None


def save(state):
    PATH.parent.mkdir(exist_ok=True)
    draft = PATH.with_suffix(".tmp")
    draft.write_text(json.dumps(state, indent=2) + "\n")
    draft.rename(PATH)


def make():
    data = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
    for folder in ("etc", "kubeconfig", "log", "pki"):
        (data / folder).mkdir()
    state = {"data": str(data), "node": None, "exposed": {}}
    save(state)  # before anything runs, so that `down` finds it even if we are killed
    return state


def forget(state):
    shutil.rmtree(state["data"], ignore_errors=True)
    PATH.unlink(missing_ok=True)


def folder(state, *parts):
    return Path(state["data"], *parts)


def is_running(state):
    return bool(state and state["node"] and running(state["node"]))


def loaded():
    """The state of a cluster that runs."""
    state = load()
    if not is_running(state):
        raise Failure("the cluster is not up; to start it: scripts/cluster up")
    return state


def kubeconfig(state):
    """For clients on this machine, which come by the loopback."""
    return folder(state, "kubeconfig", "local")


def first_process(state):
    """The node's first process: the one child of `unshare`."""
    pid = state["node"]["pid"]
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if children and os.path.exists(f"/proc/{children[0]}/root/run/ready"):
            return int(children[0])
    return None

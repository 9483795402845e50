"""Up and down of the cluster as a whole."""

import os
import time

import addons
import agents
import certificates
import cluster_state
import control_plane
import node
from build import built
from cache import Failure, require, say
from kubectl import Target, kubectl
from settings import KUBERNETES, NODE


GROUPS_OF_NODE = ("kubernetes", "kube-router")


class Laps:
    """What was done, and how many seconds after the start."""

    def __init__(self):
        self.start = time.monotonic()

    def __call__(self, what):
        say(f"cluster: {what} after {time.monotonic() - self.start:.0f} s")


def up():
    """Returns the target for kubectl. Anything that is missing is fetched or built first."""
    if os.geteuid() != 0:
        raise Failure("only root can make a node of this machine")
    state = cluster_state.load()
    if cluster_state.is_running(state):
        say("cluster: already up")
        return add_missing(state)
    if state:  # of a run that was killed, or of before a reboot
        down()
    lap = Laps()
    require("images", "kubernetes", "openssl")
    for group in (*GROUPS_OF_NODE, *addons.groups()):
        built(group)
    lap("programs are there")
    state = cluster_state.make()
    try:
        return start(state, lap)
    except BaseException:
        if os.environ.get("KEEP", "0") in ("", "0"):
            end(state)
        raise


def start(state, lap):
    node.start(state)
    certificates.make(state)
    agents.start_containerd(state)
    control_plane.start(state)
    certificates.make_local(state, node.expose(state, "api", 6443))
    target = Target(kubeconfig=cluster_state.kubeconfig(state))
    lap(f"Kubernetes {KUBERNETES} answers")
    agents.start(state)
    addons.load_images(state, addons.chosen())
    lap("the add-ons' images are loaded")
    kubectl(target, "wait", "--for=create", "--timeout=60s", f"node/{NODE}")
    kubectl(target, "wait", "--for=condition=Ready", "--timeout=60s", f"node/{NODE}")
    agents.start_policies(state)
    lap("the node is ready")
    addons.start(target, addons.chosen())
    node.check_daemons(state)
    lap("the add-ons are ready")
    return target


def add_missing(state):
    """Add-ons that a cluster was started without."""
    target = Target(kubeconfig=cluster_state.kubeconfig(state))
    if missing := addons.missing(target):
        for group in addons.groups():
            built(group)
        addons.load_images(state, missing)
        addons.start(target, missing)
    return target


def down():
    """Returns whether there was anything to end."""
    state = cluster_state.load()
    if state:
        end(state)
    return bool(state)


def end(state):
    node.end(state)
    cluster_state.forget(state)

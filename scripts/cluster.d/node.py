"""The node: namespaces of this machine's kernel in which containerd, kubelet and the control plane run
as on a machine of their own."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import cluster_state
from cache import Failure, last_lines
from cluster_state import first_process, folder
from processes import LAUNCHED, launch, running, stop
from settings import HERE, NODE, NODE_IP, SERVICES

START_SECONDS_MAX = 30
END_SECONDS_MAX = 30
CGROUPS = Path("/sys/fs/cgroup")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
PORTS = range(20000, 32000)
# Where Debian's programs keep what is theirs, and the pods' volumes.
FOLDERS = ["/var/lib/containerd", "/var/lib/kubelet", "/var/lib/cni", "/var/lib/volumes", "/etc/cni/net.d",
           "/var/log/pods", "/var/log/containers"]
DAEMONS = {}  # what this run has started, by name
NAMESPACES = ["--net", "--mount", "--pid", "--ipc", "--uts"]


# ---------------------------------------------------------------- up and down

def start(state):
    """Returns whether it was running already."""
    if cluster_state.is_running(state):
        return True
    data = folder(state)
    for group in cgroup_folders(state):
        group.mkdir(exist_ok=True)
    state["made"] = missing_folders()
    cluster_state.save(state)
    for path in FOLDERS:
        Path(path).mkdir(parents=True, exist_ok=True)
    state["node"] = {"pid": 0, "data": str(data), "env": {}, "log": str(data / "log" / "node.log"),
                     "argv": [shutil.which("unshare"), *NAMESPACES, "--fork", "--kill-child", "--mount-proc",
                              "--propagation", "private", str(HERE / "node-init"), str(data), NODE,
                              f"{NODE_IP}/24", SERVICES, *FOLDERS]}
    launch(state["node"])
    cluster_state.save(state)
    wait_for(lambda: first_process(state), START_SECONDS_MAX, "the node", state["node"]["log"],
             lambda: running(state["node"]))
    return False


def end(state):
    """Ends every process of the node, and removes what is outside its namespaces: cgroups and empty folders."""
    stop(list(state["exposed"].values()))
    if state["node"]:
        for pid in running(state["node"]):
            first = first_process(state)
            for victim in filter(None, (first, pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
    deadline = time.monotonic() + END_SECONDS_MAX
    while not all(remove_cgroup(group) for group in cgroup_folders(state)):
        if time.monotonic() > deadline:
            raise Failure(f"processes of the cluster do not end: see cgroup.procs below {CGROUPS}/*/{cgroup(state)}")
        time.sleep(0.1)
    if child := LAUNCHED.get((state["node"] or {}).get("pid")):
        child.wait()
    for path in [] if others() else state.get("made", []):  # another cluster mounts in the same places
        with contextlib.suppress(OSError):
            os.rmdir(path)


def missing_folders():
    """Those that are made to mount something there, the deepest first."""
    paths = {str(path) for folder in FOLDERS for path in (Path(folder), *Path(folder).parents) if not path.exists()}
    return sorted(paths, key=len, reverse=True)


def cgroup(state):
    """The name of the group below which all pods are: of this cluster alone, since there may be others. Kubelet forbids "_"."""
    return folder(state).name.replace("_", "-")


def cgroup_folders(state):
    """Ours in each hierarchy."""
    return [path / cgroup(state) for path in hierarchies()]


def others():
    """Groups of other clusters that are up, once ours is gone."""
    return [group for path in hierarchies() for group in path.glob(f"{cluster_state.PREFIX}*")]


def hierarchies():
    """Each of version 1, or the one of version 2."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return [path for path in CGROUPS.iterdir() if path.is_dir() and not path.is_symlink() and (path / "cgroup.procs").exists()]


def remove_cgroup(group):
    """Whether it is gone: a group that still has processes stays."""
    for path, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(path)
    return not group.exists()


# ---------------------------------------------------------------- programs in it

def inside(state, argv):
    """The command that runs `argv` in the node, with its mounts and processes."""
    pid = first_process(state)
    if not pid:
        raise Failure(f"the node has ended; the end of its log:\n{last_lines(read(state['node']['log']), 10)}")
    return ["nsenter", f"--target={pid}", *NAMESPACES, "--", "env", f"PATH={PATH}", *map(str, argv)]


def daemon(state, name, argv, env=None):
    """Start a program in the node, which ends with it. Its log is log/NAME.log."""
    settings = [f"{key}={value}" for key, value in (env or {}).items()]
    with open(log_of(state, name), "ab") as log:
        DAEMONS[name] = subprocess.Popen(inside(state, [*settings, *argv]), stdin=subprocess.DEVNULL, stdout=log,
                                         stderr=log, start_new_session=True, cwd="/")


def check_daemons(state):
    """Of those that this run has started: one that has ended leaves a cluster that only looks whole."""
    for name, process in DAEMONS.items():
        if process.poll() is not None:
            raise Failure(f"{name} has ended; the end of its log:\n{last_lines(read(log_of(state, name)), 15)}")


def run(state, argv, **options):
    return subprocess.run(inside(state, argv), stdin=subprocess.DEVNULL, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, **options)


def checked(state, argv, what):
    done = run(state, argv)
    if done.returncode != 0:
        raise Failure(f"{what} failed:\n{last_lines(done.stdout, 10)}")
    return done.stdout


def log_of(state, name):
    return folder(state, "log", f"{name}.log")


def read(path):
    with contextlib.suppress(OSError):
        return Path(path).read_text(errors="replace")
    return ""


def wait_for(condition, seconds, what, log=None, is_alive=lambda: True):
    """Until it gives something, which is returned."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        alive = is_alive()
        if not alive or time.monotonic() > deadline:
            why = f"is not ready after {seconds} s" if alive else "has ended before it was ready"
            told = f"; the end of its log ({log}):\n{last_lines(read(log), 15)}" if log else ""
            raise Failure(f"{what} {why}{told}")
        time.sleep(0.1)
    return found


# ---------------------------------------------------------------- ports

def expose(state, name, port, address=NODE_IP, wanted=None):
    """A port of this machine's loopback that leads to a port in the node, by way of a Unix socket, which
    two networks can share. Returns the port."""
    there = state["exposed"].get(name)
    if there and running(there):
        return there["port"]
    local = wanted or free_port()
    path = folder(state, f"{name}.sock")
    path.unlink(missing_ok=True)
    daemon(state, f"expose-{name}", ["socat", f"UNIX-LISTEN:{path},fork", f"TCP:{address}:{port},nodelay"])
    service = {"pid": 0, "port": local, "data": str(folder(state)), "log": str(log_of(state, f"exposed-{name}")),
               "env": {}, "argv": [shutil.which("socat"),
                                   f"TCP-LISTEN:{local},bind=127.0.0.1,fork,reuseaddr,nodelay", f"UNIX-CONNECT:{path}"]}
    launch(service)
    state["exposed"][name] = service
    cluster_state.save(state)
    wait_for(lambda: path.exists() and connects(local), START_SECONDS_MAX, f"port {local} ({name})", service["log"])
    return local


def free_port():
    """Below the range from which Linux takes the ports of outgoing connections."""
    for port in random.sample(PORTS, len(PORTS)):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise Failure(f"no port from {PORTS.start} to {PORTS.stop - 1} is free")


def connects(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False

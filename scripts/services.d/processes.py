"""Starting, finding and stopping the processes of a service."""

import contextlib
import os
import signal
import subprocess
import time

STOP_SECONDS_MAX = 5  # then SIGKILL: the data is thrown away anyway

LAUNCHED = {}  # our children by pid, kept so that they can be reaped


def launch(service):
    """Start it in a session of its own, so that it outlives us and no Ctrl-C reaches it."""
    with open(service["log"], "ab") as log:
        process = subprocess.Popen(service["argv"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                   cwd=service["data"], env={**os.environ, **service["env"]},
                                   start_new_session=True)
    service["pid"] = process.pid
    LAUNCHED[process.pid] = process


def running(service):
    """The pids of the service, whoever has started it, without those that it has started itself."""
    return [pid for pid in family(service) if not is_worker(pid)]


def family(service):
    """The pids of the service and of what it has started, which may outlive it by a moment.

    Its working directory is its data folder, which has a name that nothing else ever had, so that
    a pid that was given to another process since is never taken for it."""
    program = os.path.realpath(service.get("program") or service["argv"][0])
    folders = (service["data"], f"{service['data']} (deleted)")
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc")))
            if link(pid, "cwd") in folders
            and (pid == service["pid"] or link(pid, "exe") == program)]


def is_worker(pid):
    """Of PostgreSQL, which calls those that it starts `postgres: …`."""
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().startswith(b"postgres: ")
    return False


def ended(service):
    """How it has ended, or None. Of a child of ours the system tells; of others, that they are gone."""
    child = LAUNCHED.get(service["pid"])
    if child is None:
        return None if running(service) else "ended"
    status = child.poll()
    return None if status is None else f"ended with status {status}"


def link(pid, name):
    """None for what has ended (also if nobody has reaped it) or is not ours."""
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/{name}")
    return None


def stop(services):
    """All at once: the signal that they end by, and SIGKILL for what is still there after the deadline."""
    end(services, None, running)
    end(services, signal.SIGKILL, family)
    for process in LAUNCHED.values():
        process.poll()


def end(services, signum, which):
    """Sends a signal, or of each service the one that it ends by, to `which` of its processes, and waits until all have ended."""
    for service in services:
        for pid in which(service):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum or service.get("stop", signal.SIGTERM))
    deadline = time.monotonic() + STOP_SECONDS_MAX
    while any(map(family, services)) and time.monotonic() < deadline:
        time.sleep(0.05)

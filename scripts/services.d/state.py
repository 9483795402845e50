"""Named sets of services: the file that describes each, and how it is brought up and down."""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import tempfile
import time
import zlib
from pathlib import Path

import kafka
import mongodb
import redis
from cache import HERE, Failure, last_lines, locked, require, say
from processes import ended, launch, running, stop

KINDS = {"mongodb": mongodb, "redis": redis, "kafka": kafka}  # in this order they are started
STATES = HERE.parent.parent / ".run"
TEMPORARY_PREFIX = "aguacero-"

READY_SECONDS_MAX = 120  # a machine that compiles at the same time is slow

# Below the range from which Linux takes the ports of outgoing connections. One inside it could be
# taken by some client while the service is down, and a client that keeps reconnecting to it could,
# by a TCP simultaneous open, connect to itself.
PORTS = range(20000, 32000)


# ---------------------------------------------------------------- the file

def path_of(name):
    return STATES / f"{name}.json"


def names():
    return sorted(path.stem for path in STATES.glob("*.json") if '"services"' in path.read_text())


def load(name):
    try:
        return json.loads(path_of(name).read_text())
    except FileNotFoundError:
        return None


def save(state):
    path = path_of(state["name"])
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(state, indent=2) + "\n")
    draft.rename(path)


def name_lock(name):
    """One file for all names, each locks a byte of it (two that share one only wait)."""
    return locked(STATES / ".lock", zlib.crc32(name.encode()))


def is_up(state):
    return state is not None and all(map(running, state["services"].values()))


# ---------------------------------------------------------------- up

def bring_up(name):
    """Start what is not running and wait for all; returns the state, and whether all were running."""
    with name_lock(name):
        state = load(name)
        if state and not Path(state["data"]).is_dir():  # a reboot, or somebody, emptied the folder
            discard(state)
            state = None
        state = state or plan(name)
        missing = {key: service for key, service in state["services"].items()
                   if not running(service)}
        begin = time.monotonic()
        try:
            if missing:
                start(state, missing)
            wait_ready(state["services"], begin + READY_SECONDS_MAX)
        except BaseException:
            discard(state)
            raise
        if missing:
            say(f"services {name}: up after {time.monotonic() - begin:.1f} s")
        return state, not missing


def find_programs():
    require(*(tool for kind in KINDS.values() for tool in kind.needs()))
    return {key: kind.find() for key, kind in KINDS.items()}


def plan(name):
    programs = find_programs()
    data = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY_PREFIX}{name}-")).resolve()
    services = {}
    with contextlib.closing(free_ports()) as ports:
        for key, kind in KINDS.items():
            folder = data / key
            folder.mkdir()
            services[key] = {"pid": 0, **kind.plan(programs[key], folder, ports),
                             "data": str(folder), "log": f"{folder}.log"}
    port = {key: service["port"] for key, service in services.items()}
    env = {
        "AGUACERO_KAFKA_BROKERS": f"127.0.0.1:{port['kafka']}",
        "AGUACERO_MONGODB_URI": f"mongodb://127.0.0.1:{port['mongodb']}/?replicaSet=rs0",
        "AGUACERO_REDIS_URL": f"redis://127.0.0.1:{port['redis']}/0",
        "AGUACERO_SERVICES_STATE": str(path_of(name)),
    }
    return {"name": name, "data": str(data), "env": env, "services": services}


def free_ports():
    """Free ports, all of them held until the last is chosen, so that no two are the same."""
    with contextlib.ExitStack() as held:
        for port in random.sample(PORTS, len(PORTS)):
            probe = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                yield port


def start(state, missing):
    """Side by side: Kafka comes last, as the others start while its storage is formatted."""
    say(f"services {state['name']}: starting {', '.join(missing)} …")
    save(state)  # before anything runs, so that `down` finds it even if we are killed
    for key, service in missing.items():
        if key == "kafka" and not kafka.prepare(service):
            raise failure(key, service, "could not format its storage")
        launch(service)
    save(state)


def wait_ready(services, deadline):
    waiting = dict(services)
    while waiting:
        for key, service in list(waiting.items()):
            how = ended(service)
            if how:
                raise failure(key, service, f"{how} before it was ready")
            elif KINDS[key].answers(service["port"]):
                del waiting[key]
            elif time.monotonic() > deadline:
                raise failure(key, service, f"did not answer within {READY_SECONDS_MAX} s")
        time.sleep(0.05)


def failure(key, service, what):
    log = STATES / f"failed-{key}.log"
    shutil.copy(service["log"], log)
    return Failure(f"{key} {what}; nothing was left running. The end of its log ({log}):\n"
                   f"{last_lines(log.read_text(errors='replace'), 20)}")


# ---------------------------------------------------------------- down

def bring_down(name):
    """Returns whether there was anything."""
    with name_lock(name):
        state = load(name)
        if state:
            discard(state)
        path_of(name).unlink(missing_ok=True)
        return state is not None


def discard(state):
    with undisturbed():
        stop(state["services"].values())
        data = Path(state["data"])
        if data.name.startswith(TEMPORARY_PREFIX):  # else somebody has edited the file
            shutil.rmtree(data, ignore_errors=True)
        path_of(state["name"]).unlink(missing_ok=True)


# ---------------------------------------------------------------- signals

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    def __init__(self, signum):
        self.signum = signum


def interrupt(signum, _frame):
    """The first one makes us clean up, which the next ones must not cut short."""
    for other in ENDING_SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    raise Interrupted(signum)


@contextlib.contextmanager
def undisturbed():
    """A few seconds in which a signal must not leave anything running."""
    before = {signum: signal.signal(signum, signal.SIG_IGN) for signum in ENDING_SIGNALS}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)

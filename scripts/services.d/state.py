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
import postgres
import rabbitmq
import redis
import secret
from cache import HERE, Failure, last_lines, locked, require, say
from processes import ended, launch, running, stop

KINDS = {"mongodb": mongodb, "redis": redis, "kafka": kafka, "postgres": postgres, "rabbitmq": rabbitmq}
ADDRESSES = {"kafka": "AGUACERO_KAFKA_BROKERS", "mongodb": "AGUACERO_MONGODB_URI",
             "redis": "AGUACERO_REDIS_URL", "postgres": "AGUACERO_POSTGRES_URL",
             "rabbitmq": "AGUACERO_RABBITMQ_URL"}
COUNTS = {"mongodb": 1, "redis": 1, "kafka": 1, "postgres": 0, "rabbitmq": 0}  # unless told otherwise
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

def bring_up(name, counts, only=None, secure=None):
    """Start what is not running and wait for all; returns the state, and whether all were running.

    `counts` says how many there are to be of a kind, or None: as in COUNTS, or as many as there are already. A kind
    of which there is none is added to what is there.
    If `only` some services are asked for, the others are left as they are, and not made if they are not there."""
    with name_lock(name):
        state = load(name)
        if state and not Path(state["data"]).is_dir():  # a reboot, or somebody, emptied the folder
            discard(state)
            state = None
        if state:
            check(state, counts, secure)
        elif only and (secure or not set(only) <= set(KINDS)):
            raise Failure(f"{name} is not up, so there is no {' or '.join(only)}")
        is_new = not state
        state = plan(name, state, counts, secure, only)
        wanted = chosen(state, only)
        missing = {key: service for key, service in wanted.items() if not running(service)}
        begin = time.monotonic()
        try:
            if missing:
                start(state, missing)
            wait_ready(wanted, begin + READY_SECONDS_MAX, folder_of_secrets(state))
            if is_new and secure:
                kafka.admit(state["services"]["kafka"], folder_of_secrets(state))
                mongodb.admit(state["services"]["mongodb"], folder_of_secrets(state))
        except BaseException:
            discard(state)
            raise
        if missing:
            say(f"services {name}: up after {time.monotonic() - begin:.1f} s")
        return state, not missing


def check(state, counts, secure):
    if secure and not state.get("secrets"):
        raise Failure(f"{state['name']} is up without --secure; "
                      f"to begin anew: scripts/services down --name {state['name']}")
    for kind, wanted in counts.items():
        there = len(of_kind(state["services"], kind))
        if wanted not in (None, there) and there:
            raise Failure(f"{state['name']} has {there} of {kind}, not {wanted}; "
                          f"to begin anew: scripts/services down --name {state['name']}")


def chosen(state, only):
    services = state["services"]
    for key in only or ():
        if key not in services:
            raise Failure(f"{state['name']} has no {key}, but {', '.join(services)}")
    return {key: service for key, service in services.items() if not only or key in only}


def kind_of(key):
    """`kafka` and `kafka-2` are both of the kind `kafka`."""
    return key.partition("-")[0]


def of_kind(services, kind):
    return [service for key, service in services.items() if kind_of(key) == kind]


def folder_of_secrets(state):
    """None unless they are --secure."""
    return Path(state["secrets"]) if state.get("secrets") else None


def answers(services, key, folder):
    """Whether the service answers, and knows of the others of its kind in `services`."""
    kind = kind_of(key)
    ports = [service["port"] for service in of_kind(services, kind)]
    return KINDS[kind].answers(services[key]["port"], ports, folder)


def find_programs(kinds):
    """By kind, where its program is."""
    require(*(tool for kind in kinds for tool in KINDS[kind].needs()))
    return {kind: KINDS[kind].find() for kind in kinds}


def empty(name, secure):
    data = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY_PREFIX}{name}-")).resolve()
    state = {"name": name, "data": str(data), "env": {"AGUACERO_SERVICES_STATE": str(path_of(name))}, "services": {}}
    if secure:
        state["secrets"] = str(data / "secrets")
        secret.make(data / "secrets")
    return state


def plan(name, state, counts, secure, only):
    """The state, or a new one, with what there is to be and is not there."""
    there = state["services"] if state else {}
    kinds = {kind: max(COUNTS[kind], 1) for kind in only if kind in COUNTS} if only else COUNTS
    new = {kind: counts.get(kind) or count for kind, count in kinds.items() if not of_kind(there, kind)}
    new = {kind: count for kind, count in new.items() if count}
    programs = find_programs(new)
    if secure:
        require("openssl")
    state = state or empty(name, secure)
    folder = folder_of_secrets(state)
    services, env = dict(state["services"]), dict(state["env"])
    with contextlib.closing(free_ports()) as ports:
        for name_of_kind, count in new.items():
            kind, folders = KINDS[name_of_kind], [Path(state["data"]) / key for key in keys(name_of_kind, count)]
            for own in folders:
                own.mkdir(mode=0o700)
            planned = kind.plan(programs[name_of_kind], folders, ports, folder)
            for own, service in zip(folders, planned):
                services[own.name] = {"pid": 0, **service, "data": str(own), "log": f"{own}.log"}
            env[ADDRESSES[name_of_kind]] = kind.address([service["port"] for service in planned], bool(folder))
            env.update(access(name_of_kind, kind, folder))
    return {**state, "env": env, "services": services}


def access(name_of_kind, kind, folder):
    """The variables with which somebody comes in who may do everything, if it takes more than the address."""
    told = kind.access(folder)
    if folder:
        told = {"USERNAME": secret.ADMIN, "PASSWORD_FILE": f"{folder}/{secret.ADMIN}", **told}
    return {f"AGUACERO_{name_of_kind.upper()}_{key}": value for key, value in told.items()}


def keys(kind, count):
    return [kind] if count == 1 else [f"{kind}-{number}" for number in range(1, count + 1)]


def free_ports():
    """Free ports, all of them held until the last is chosen, so that no two are the same."""
    with contextlib.ExitStack() as held:
        for port in random.sample(PORTS, len(PORTS)):
            probe = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                yield port


def start(state, missing):
    """Side by side: Kafka comes after the others, which start while its storage is formatted, and PostgreSQL last, whose
    storage is made while Kafka starts."""
    say(f"services {state['name']}: starting {', '.join(missing)} …")
    save(state)  # before anything runs, so that `down` finds it even if we are killed
    others = [service for key, service in missing.items() if kind_of(key) not in ("kafka", "postgres")]
    brokers = of_kind(missing, "kafka")
    for service in others:
        launch(service)
    unformatted = kafka.prepare(brokers, folder_of_secrets(state))
    if unformatted:
        raise failure(Path(unformatted["data"]).name, unformatted, "could not format its storage")
    for service in brokers:
        launch(service)
    for service in of_kind(missing, "postgres"):
        if not postgres.prepare(service, folder_of_secrets(state)):
            raise failure("postgres", service, "could not make its storage")
        launch(service)
    save(state)


def wait_ready(services, deadline, folder):
    waiting = dict(services)
    while waiting:
        for key, service in list(waiting.items()):
            how = ended(service)
            if how:
                raise failure(key, service, f"{how} before it was ready")
            elif answers(services, key, folder):
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
        for service in of_kind(state["services"], "postgres"):
            postgres.forget(service)
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

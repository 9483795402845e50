"""The processes of Aguacero on this machine: where they listen, starting, readiness, stopping.

.run/pipeline/NAME.json at the root of the project says what runs:

    {"name": "demo", "keep": false, "folder": "<logs and sockets>", "config": "aguacero.toml",
     "listen": "127.0.0.1:8080", "console": "127.0.0.1:8090", "declared": <see streams.py>,
     "processes": {"gateway": {"pid": 1, "born": "<start time>", "admin": "127.0.0.1:…", "log": "…"}, …}}

It is written before each start, so that whatever is killed can still be found and stopped.
"""

import contextlib
import errno
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import streams
from progress import Waiting, say

ROOT = Path(__file__).resolve().parents[2]
STATES = ROOT / ".run" / "pipeline"

# What scripts/wasm builds, for the wasm-producer.
MODULE = ROOT / "target" / "wasm" / "producer.wasm"
WITH_SOCKETS = {*streams.PRODUCERS.values(), "redis-writer"}
READY_SECONDS_MAX = 60
DRAIN_SECONDS_MAX = 15
DEATH_SECONDS_MAX = 5
SOCKET_PATH_BYTES_MAX = 100  # the kernel takes 107
STORED = 'aguacero_producer_records_total{outcome="stored"}'
CONSOLE_PORT = 8090  # or another, if it is taken
PORTS = range(20000, 32000)  # below those that outgoing connections use


class Failure(Exception):
    """Something for the user to read; no traceback."""


class Pipeline:
    def __init__(self, state):
        self.state = state
        self.children = {}

    @classmethod
    def plan(cls, name, config="aguacero.toml", listen=None, admin_ports=None):
        """`admin_ports` are those to take if they are free; the others, and where to `listen`, are chosen."""
        declared = streams.declared(ROOT / config)
        folder = tempfile.mkdtemp(prefix=f"aguacero-{name}-processes-")
        if len(folder) > SOCKET_PATH_BYTES_MAX - len("/kafka-producer.sock"):
            os.rmdir(folder)
            raise Failure(f"The path of the temporary folder is too long for a Unix socket: set TMPDIR=/tmp ({folder})")
        names = streams.processes(declared)
        ports = free_ports(len(names) + 2)
        console = CONSOLE_PORT if is_free(CONSOLE_PORT) else ports.pop()
        admin = {process: admin_port(process, (admin_ports or {}).get(process), ports) for process in names}
        processes = {
            process: {"pid": 0, "born": "", "admin": f"127.0.0.1:{admin[process]}", "log": f"{folder}/{process}.log"}
            for process in names
        }
        return cls({"name": name, "keep": False, "folder": folder, "config": str(config),
                    "listen": listen or f"127.0.0.1:{ports.pop()}", "console": f"127.0.0.1:{console}",
                    "declared": declared, "processes": processes})

    @classmethod
    def load(cls, name):
        with contextlib.suppress(FileNotFoundError):
            return cls(json.loads((STATES / f"{name}.json").read_text()))
        return None

    def save(self):
        STATES.mkdir(parents=True, exist_ok=True)
        path = STATES / f"{self.name}.json"
        draft = path.with_suffix(".tmp")
        draft.write_text(json.dumps(self.state, indent=2) + "\n")
        draft.rename(path)

    name = property(lambda self: self.state["name"])
    listen = property(lambda self: self.state["listen"])
    url = property(lambda self: f"{self.state['declared']['scheme']}://{reachable(self.listen)}")
    folder = property(lambda self: Path(self.state["folder"]))
    processes = property(lambda self: self.state["processes"])

    def environment(self):
        """Where each process of the configuration listens and finds the others."""
        admin = {f"AGUACERO_{variable(process)}_ADMIN": self.processes[process]["admin"]
                 for process in streams.processes(self.state["declared"])}
        sockets = {f"AGUACERO_{variable(process)}_SOCKET": f"{self.folder}/{process}.sock"
                   for process in self.processes if process in WITH_SOCKETS}
        listen = {"AGUACERO_GATEWAY_LISTEN": self.listen, "AGUACERO_CONSOLE_LISTEN": self.state["console"]}
        return {**admin, **sockets, **module_environment(self.processes), **listen}

    # ---------------------------------------------------------------- start

    def start(self, programs, services):
        """Starts all, with `services` being the variables that say where Kafka, MongoDB, Redis and PostgreSQL are."""
        self.save()
        if "tables" in self.processes:
            self.apply_tables(programs["tables"], services)
        for process in list(self.processes):
            _, verbs = streams.command(process)
            self.launch(process, [programs[process], *verbs], services)

    def launch(self, process, command, services, output=None):
        """Starts one of them; what it prints is in its log too, unless there is a file for it."""
        with open(self.processes[process]["log"], "ab") as log, open(output or os.devnull, "ab") as out:
            child = subprocess.Popen([*command, "--config", self.state["config"]], cwd=ROOT, env=self.variables(services),
                                     stdin=subprocess.DEVNULL, stdout=out if output else log, stderr=log, start_new_session=True)
        self.children[process] = child
        self.processes[process].update(pid=child.pid, born=born(child.pid))
        self.save()

    def launch_more(self, process, command, services):
        """One that reads what the others leave, such as a processor of the guild. What it prints has a file of its own."""
        port, = free_ports(1)
        self.processes[process] = {"pid": 0, "born": "", "admin": f"127.0.0.1:{port}", "log": f"{self.folder}/{process}.log"}
        self.save()
        self.launch(process, [*command, "--admin", f"127.0.0.1:{port}"], services, self.output(process))

    def kill(self, process):
        """By SIGKILL; it is dead after this."""
        self.signal([process], signal.SIGKILL, DEATH_SECONDS_MAX)

    def output(self, process):
        return self.folder / f"{process}.out"

    def apply_tables(self, program, services):
        """Makes what is declared: without it the process `tables` does not start."""
        applied = self.ask([program, "tables", "apply"], services)
        if applied.returncode != 0:
            raise Failure(f"The tables could not be made:\n{applied.stdout}{applied.stderr}".rstrip())

    def ask(self, command, services):
        """Runs a command that ends; its words are in what this returns."""
        return subprocess.run([*command, "--config", self.state["config"]], cwd=ROOT, env=self.variables(services), text=True,
                              errors="replace", stdin=subprocess.DEVNULL, capture_output=True)

    def variables(self, services):
        """The environment of a program."""
        env = {**os.environ, **services, **self.environment()}
        env.pop("PORT", None)  # of the demo's gateway; the console would take it for its own
        return env

    def wait_ready(self, processes=None):
        waiting_for = list(processes or self.processes)
        deadline = time.monotonic() + READY_SECONDS_MAX
        with Waiting("waiting for the processes to be ready") as waiting:
            while waiting_for:
                waiting_for = [process for process in waiting_for if not self.is_ready(process)]
                self.check_alive()
                if waiting_for and time.monotonic() > deadline:
                    raise Failure(f"Not ready within {READY_SECONDS_MAX} s: {', '.join(waiting_for)}.\n"
                                  + "\n".join(map(self.log_tail, waiting_for)))
                waiting.tick(" ".join(waiting_for))
                time.sleep(0.05)

    def is_ready(self, process):
        with contextlib.suppress(OSError, urllib.error.HTTPError):
            with urllib.request.urlopen(f"http://{self.processes[process]['admin']}/readyz", timeout=2) as answer:
                return answer.status == 200
        return False

    def stored(self, process):
        """How many records a producer says that Kafka has confirmed; None if it does not say."""
        with contextlib.suppress(OSError, urllib.error.HTTPError):
            with urllib.request.urlopen(f"http://{self.processes[process]['admin']}/metrics", timeout=5) as answer:
                return counted(answer.read().decode(), STORED)
        return None

    def check_alive(self):
        ended = [process for process in self.processes if not self.is_alive(process)]
        if ended:
            raise Failure(f"Ended by itself: {', '.join(ended)}.\n" + "\n".join(map(self.log_tail, ended)))

    def is_alive(self, process):
        if process in self.children and self.children[process].poll() is not None:
            return False
        entry = self.processes.get(process, {"born": ""})
        return bool(entry["born"]) and born(entry["pid"]) == entry["born"]

    def all_alive(self):
        return all(map(self.is_alive, self.processes))

    def log_tail(self, process, count=20):
        path = self.processes[process]["log"]
        with contextlib.suppress(OSError):
            lines = Path(path).read_text(errors="replace").splitlines()[-count:]
            return f"The end of {path}:\n" + ("\n".join(f"  | {line}" for line in lines) or "  (empty)")
        return f"There is no {path}."

    # ---------------------------------------------------------------- stop

    def stop(self, keep_logs=False):
        """Ends what runs, the gateway first, and removes the folder, unless it is left to the next stop."""
        others = [process for process in self.processes if process != "gateway"]
        for group in (["gateway"], others):
            self.signal(group, signal.SIGTERM, DRAIN_SECONDS_MAX)
            self.signal(group, signal.SIGKILL, DEATH_SECONDS_MAX)
        if keep_logs:
            return
        if self.folder.name.startswith("aguacero-"):
            shutil.rmtree(self.folder, ignore_errors=True)
        (STATES / f"{self.name}.json").unlink(missing_ok=True)

    def signal(self, group, signum, seconds):
        """Sends a signal to those that are alive and waits until they are not."""
        for process in filter(self.is_alive, group):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.processes[process]["pid"], signum)
        deadline = time.monotonic() + seconds
        while any(map(self.is_alive, group)) and time.monotonic() < deadline:
            time.sleep(0.02)


def module_environment(processes):
    """What the wasm-producer, if it is one of them, is to run."""
    if "wasm-producer" not in processes:
        return {}
    return {"AGUACERO_WASM_PRODUCER_MODULE": str(MODULE), "AGUACERO_WASM_PRODUCER_SHA256_FILE": f"{MODULE}.sha256"}


def variable(process):
    return process.upper().replace("-", "_")


def born(pid):
    """When a process was started, in ticks since the boot: a pid that was given away again has another. "" if it is dead."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]
    return ""


def counted(metrics, series):
    """Of the text that /metrics answers, the value of a series; None if it is not there."""
    values = (line.rpartition(" ")[2] for line in metrics.splitlines() if line.startswith(f"{series} "))
    return next((int(float(value)) for value in values), None)


def reachable(address):
    """Where a client on this machine finds what listens on `address`, which may be all addresses."""
    host, _, port = address.rpartition(":")
    return {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host) + f":{port}"


def check_listen(address):
    host, _, port = address.rpartition(":")
    if not is_free(int(port), host.strip("[]")):
        raise Failure(f"Port {port} is taken. Choose another for the gateway, for example PORT={int(port) + 1}")


def admin_port(process, wanted, ports):
    if wanted and is_free(wanted):
        return wanted
    port = ports.pop()
    if wanted:
        say(f"port {wanted} is taken (by another Aguacero?): the admin port of {process} is {port}")
    return port


def is_free(port, host="127.0.0.1"):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE  # whatever else is wrong, the gateway tells
    return True


def free_ports(count):
    return [port for port in random.sample(PORTS, 200) if is_free(port)][:count]

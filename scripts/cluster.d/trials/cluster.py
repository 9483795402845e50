"""What the trials do to the cluster and ask of it."""

import contextlib
import http.client
import time
import uuid

import node
import run
from cache import Failure
from kubectl import attempt, diagnosis, get, kubectl
from settings import NAMESPACE

from .load import TIMEOUT_SECONDS

READY_SECONDS_MAX = 300
ARCHIVED_SECONDS_MAX = 120
POLL_SECONDS = 0.5
WORKLOADS = ("deployment/gateway", "deployment/console", "statefulset/consumer", "statefulset/redis", "statefulset/mongodb",
             "statefulset/kafka")
APP = "app.kubernetes.io/name"


class Cluster:
    """The cluster under load: `port` leads to its Ingress, which is for `host`."""

    def __init__(self, target, state, stores, port, host):
        self.target, self.state, self.stores, self.port, self.host = target, state, stores, port, host

    def kubectl(self, *arguments, given=None):
        return kubectl(self.target, f"--namespace={NAMESPACE}", *arguments, given=given)

    def attempt(self, *arguments, given=None):
        return attempt(self.target, f"--namespace={NAMESPACE}", *arguments, given=given)

    def get(self, *arguments):
        return get(self.target, f"--namespace={NAMESPACE}", *arguments)

    def pods(self, name):
        """Names of the pods of a workload that are not about to end."""
        found = self.get("pods", f"--selector={APP}={name}")["items"]
        return sorted(pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"])

    def log(self, pod, container, lines=200):
        """What a container says, and what it said before it was started again."""
        said = [self.attempt("logs", pod, f"--container={container}", f"--tail={lines}", *before).stdout
                for before in ([], ["--previous"])]
        return "".join(said)

    def is_ready(self, pod):
        found = self.attempt("get", f"pod/{pod}", "--output=jsonpath={.status.conditions[?(@.type=='Ready')].status}")
        return found.stdout.strip() == "True"

    def until(self, what, condition, seconds=READY_SECONDS_MAX):
        """Waits for the condition, and returns what it gives."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > deadline:
                raise Failure(f"not after {seconds} s: {what}\n{diagnosis(self.target, NAMESPACE)}")
            time.sleep(POLL_SECONDS)
        return found

    def until_ready(self):
        self.until("every workload is ready", lambda: not run.unready(self.target))

    def until_normal(self, load):
        """Every workload is ready, a request is answered with 200, and an event that comes now is archived and counted.
        Returns since when (seconds of `time.monotonic`)."""
        self.until_ready()
        self.until("a request is answered with 200", lambda since=time.monotonic(): load.stored_since(since))
        text = f"probe-{uuid.uuid4()}"
        self.until("a request is answered with 200", lambda: self.send(load, text))
        self.until(f"the event {text} is archived", lambda: self.stores.has(text), ARCHIVED_SECONDS_MAX)
        return time.monotonic()

    def send(self, load, text):
        """An event of a connection of its own; says whether it is stored."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_SECONDS)
        with contextlib.closing(connection):
            return load.send(connection, text, 0).is_stored

    def kill_process(self, name):
        """SIGKILL to one process of that name, as a crash would end it; says whether there was one."""
        return node.run(self.state, ["sh", "-c", 'set -- $(pidof "$1"); kill -9 $1', "sh", name]).returncode == 0

"""kubectl, for the cluster of `scripts/cluster up` or for one that exists already, and what a pod that does
not get ready has to say."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import cluster_state
from build import program
from cache import Failure, last_lines

LOG_LINES = 12
EVENTS = 6


@dataclass
class Target:
    """A cluster: our own (`kubeconfig`), or one that a context of the user's kubectl leads to."""
    kubeconfig: Path | None = None
    context: str | None = None

    def command(self):
        if self.context:
            return ["kubectl", f"--context={self.context}"]
        return [str(program("kubectl")), f"--kubeconfig={self.kubeconfig}"]


def target():
    """By the variable CONTEXT, or the one that is up."""
    if context := os.environ.get("CONTEXT"):
        return Target(context=context)
    return Target(kubeconfig=cluster_state.kubeconfig(cluster_state.loaded()))


def kubectl(where, *arguments, given=None):
    """What it printed; a failure with its words if it fails."""
    done = attempt(where, *arguments, given=given)
    if done.returncode != 0:
        raise Failure(f"kubectl {' '.join(map(str, arguments))} failed:\n{last_lines(done.stderr or done.stdout, 20)}")
    return done.stdout


def attempt(where, *arguments, given=None):
    return subprocess.run([*where.command(), *map(str, arguments)], text=True, input=given,
                          stdin=None if given is not None else subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def get(where, *arguments):
    return json.loads(kubectl(where, "get", "--output=json", *arguments))


# ---------------------------------------------------------------- waiting

def wait_for_rollout(where, namespace, workload, seconds):
    done = attempt(where, "--namespace", namespace, "rollout", "status", workload, f"--timeout={seconds}s")
    if done.returncode != 0:
        raise Failure(f"{workload} in {namespace} is not ready after {seconds} s: {done.stderr.strip()}\n"
                      f"{diagnosis(where, namespace)}")


def diagnosis(where, namespace):
    """Of each pod that is not well: why, in the words of its state, its events and its log."""
    told = []
    for pod in get(where, "pods", f"--namespace={namespace}")["items"]:
        reasons = troubles(pod)
        if reasons:
            told.append(about(where, namespace, pod["metadata"]["name"], reasons))
    return "\n".join(told) or f"all pods of {namespace} are ready"


def troubles(pod):
    """(container, what is wrong with it), or (None, …) of the pod as a whole; none of what is well or has succeeded."""
    status = pod.get("status", {})
    if status.get("phase") == "Succeeded":
        return []
    found = []
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            found.append((None, condition.get("message", "not scheduled")))
    for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        if trouble := trouble_of(container):
            found.append((container["name"], trouble))
    return found or ([] if is_ready(status) else [(None, f"phase {status.get('phase')}, not ready")])


def trouble_of(container):
    if container.get("ready"):
        return None
    state = container.get("state", {})
    before = container.get("lastState", {}).get("terminated")
    if waiting := state.get("waiting"):
        text = f"{waiting.get('reason', 'waiting')}: {waiting.get('message', '')}".rstrip(": ")
        if waiting.get("reason") in ("PodInitializing", "ContainerCreating") and not before:
            return None if waiting["reason"] == "PodInitializing" else text
    elif ended := state.get("terminated"):
        if ended.get("exitCode") == 0:
            return None
        text = f"ended with status {ended.get('exitCode')} ({ended.get('reason')})"
    else:
        text = "runs, but is not ready"
    return f"{text}; before that, ended with status {before.get('exitCode')} ({before.get('reason')})" if before else text


def is_ready(status):
    return any(condition["type"] == "Ready" and condition["status"] == "True"
               for condition in status.get("conditions", []))


def about(where, namespace, pod, reasons):
    lines = [f"{namespace}/{pod}:"]
    for container, trouble in reasons:
        lines.append(f"  {container or 'pod'}: {trouble}")
        if container:
            lines += log_of(where, namespace, pod, container)
    events = get(where, "events", f"--namespace={namespace}", f"--field-selector=involvedObject.name={pod}")["items"]
    lines += [f"  event: {event['reason']}: {event.get('message', '')}" for event in events
              if event.get("type") != "Normal"][-EVENTS:]
    return "\n".join(lines)


def log_of(where, namespace, pod, container):
    """The end of what it says, or, if it says nothing yet, of what it said before it was started again."""
    for previous in ([], ["--previous"]):
        done = attempt(where, "logs", f"--namespace={namespace}", pod, f"--container={container}",
                       f"--tail={LOG_LINES}", *previous)
        if done.returncode == 0 and done.stdout.strip():
            return [last_lines(done.stdout, LOG_LINES)]
    return []

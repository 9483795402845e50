"""`make cluster`: Aguacero on the cluster, load through the Ingress, and the reckoning."""

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import addons
import apps
import cluster_state
import container_images
import guild_stores
import images
import lifecycle
import monitoring
import node
import records
import routes
import streams
from cache import Failure, say
from kubectl import Target, attempt, diagnosis, get, kubectl
from lifecycle import Laps
from progress import Waiting
from reckoning import Reckoning
from settings import NAMESPACE, ROOT
from stores import Stores

OVERLAYS = ROOT / "k8s" / "overlays"
WEATHER, GUILD = apps.named(None), apps.named("guild")
READY_SECONDS_MAX = 420
STUCK_SECONDS_MAX = 150  # a container that ends again and again; what it waits for may come within that
SETTLE_SECONDS_MAX = 90
POLL_SECONDS = 2
ENVOY = ("projectcontour", "svc/envoy", "80")


def run():
    """Whether all counts agree."""
    requests, users = number("REQUESTS", 10_000), number("USERS", 10)
    app, to = chosen()
    sent = records.read(ROOT / app.records)
    context, lap = os.environ.get("CONTEXT"), Laps()
    was_up = cluster_state.is_running(cluster_state.load())
    keep = was_up or os.environ.get("KEEP", "0") not in ("", "0")
    try:
        target = existing(context) if context else lifecycle.up()
        deploy(target, lap, app)
        agreed = load_and_reckon(target, app, to, sent, requests, users)
        lap("load and reckoning are over")
        if keep and not context:
            print_addresses(target, app)
        return agreed
    finally:
        if context and not keep:
            attempt(Target(context=context), "delete", "namespace", NAMESPACE, "--wait=true")
        elif not keep:
            lifecycle.down()


def chosen():
    """The app, and the routes to send to."""
    try:
        app = apps.named(os.environ.get("APP"))
        to = os.environ.get("ROUTES") or app.routes
        if not app.routes and to:
            raise ValueError(f"Each record of APP={app.name} says where it goes: leave ROUTES out")
        if to:
            routes.parse([to])
    except ValueError as error:
        raise Failure(str(error)) from None
    return app, to


def number(name, default):
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or int(text) == 0:
        raise Failure(f"{name} is {text!r}, and should be a number")
    return int(text)


# ---------------------------------------------------------------- somebody's own cluster

def existing(context):
    """A cluster that the user has: the class `contour` has to be there, or be installed by us."""
    target = Target(context=context)
    kubectl(target, "get", "namespaces")
    if not is_kind(context):
        say(f"the images have to be where the nodes of {context} find them: they are only loaded into kind's")
        return target
    if attempt(target, "get", "ingressclass/contour").returncode != 0:
        names = [images.build(image) for image in ("contour", "envoy")]
        load_into(target, names)
        addons.apply(target, "contour")
    return target


def is_kind(context):
    return context.startswith("kind-")


def load_into(target, names):
    if not target.context:
        images.load(cluster_state.loaded(), names)
        return
    if not is_kind(target.context):
        return
    for name in names:
        with tempfile.TemporaryDirectory(prefix="aguacero-image-") as folder:
            tar = container_images.export(name, Path(folder, "image.tar"))
            command = ["kind", "load", "image-archive", str(tar), f"--name={target.context.removeprefix('kind-')}"]
            if subprocess.run(command, stdout=subprocess.DEVNULL).returncode != 0:
                raise Failure(f"kind did not take {name}; it says why above")


# ---------------------------------------------------------------- Aguacero

def deploy(target, lap, app=WEATHER):
    processes = images_of(app)
    if os.environ.get("BUILD", "1") != "0":
        command = [ROOT / "scripts" / "images", "--engine=buildah", *processes]
        if subprocess.run(command, stdout=subprocess.DEVNULL).returncode != 0:
            raise Failure("scripts/images failed; it says why above")
    stores = [*(images.build(image) for image in (*stores_of(app), "base")), monitoring.image()]
    lap("Aguacero's images are built")
    load_into(target, [*(f"localhost/aguacero/{process}:dev" for process in processes), *stores])
    lap("and loaded")
    secrets = subprocess.run([ROOT / "k8s" / "secrets", "--kafka"], stderr=subprocess.PIPE, text=True,
                             env={**os.environ, "KUBECTL": " ".join(target.command())})
    if secrets.returncode != 0:
        raise Failure(f"k8s/secrets failed:\n{secrets.stderr}")
    kubectl(target, "apply", "--server-side", "--force-conflicts", f"--kustomize={overlay_of(target, app)}")
    monitoring.start(target)
    wait_until_ready(target)
    lap("Aguacero is ready")


def images_of(app):
    """Those of the processes that the app's configuration needs (of one that is a command of another's, that one's), and of
    its processors."""
    needed = streams.processes(streams.declared(ROOT / app.config))
    return [*dict.fromkeys(streams.command(process)[0] for process in needed), *app.programs]


def stores_of(app):
    has_tables = streams.tables(streams.declared(ROOT / app.config))
    return [*images.STORES, *(["postgres"] if has_tables else [])]


def overlay_of(target, app):
    """With the scaling of consumers by lag where KEDA runs."""
    has_keda = attempt(target, "get", "customresourcedefinition/scaledobjects.keda.sh").returncode == 0
    return OVERLAYS / "-".join(["local", *([] if app is WEATHER else [app.name]), *(["keda"] if has_keda else [])])


def wait_until_ready(target):
    """All workloads at once, with what is still missing; a pod that cannot get ready ends it early."""
    deadline, stuck_since = time.monotonic() + READY_SECONDS_MAX, {}
    with Waiting("waiting for Aguacero's pods") as waiting:
        while missing := unready(target):
            now = time.monotonic()
            for pod in hopeless(target):
                stuck_since.setdefault(pod, now)
            stuck = [pod for pod, since in stuck_since.items() if now - since > STUCK_SECONDS_MAX]
            if stuck or now > deadline:
                raise Failure(f"not ready after {READY_SECONDS_MAX if now > deadline else STUCK_SECONDS_MAX} s: "
                              f"{', '.join(missing)}\n{diagnosis(target, NAMESPACE)}")
            waiting.tick(", ".join(missing))
            time.sleep(POLL_SECONDS)


def unready(target):
    """Of each Deployment and StatefulSet that has less ready pods than it should: its name and how many."""
    workloads = get(target, "deployments,statefulsets", f"--namespace={NAMESPACE}")["items"]
    missing = [f"{workload['metadata']['name']} {ready_of(workload)}/{wanted_of(workload)}" for workload in workloads
               if not is_rolled_out(workload)]
    return missing if workloads else ["no workload yet"]


def wanted_of(workload):
    return workload["spec"].get("replicas", 1)


def ready_of(workload):
    return workload.get("status", {}).get("readyReplicas", 0)


def is_rolled_out(workload):
    """Ready, and as its template says now."""
    status = workload.get("status", {})
    return (status.get("observedGeneration", 0) >= workload["metadata"]["generation"]
            and status.get("updatedReplicas", 0) >= wanted_of(workload) <= ready_of(workload))


def hopeless(target):
    """Pods with a container whose image is missing, or that ends again and again."""
    for pod in get(target, "pods", f"--namespace={NAMESPACE}")["items"]:
        status = pod.get("status", {})
        for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
            reason = container.get("state", {}).get("waiting", {}).get("reason")
            if reason in ("ErrImageNeverPull", "ImagePullBackOff", "ErrImagePull", "CreateContainerConfigError",
                          "CreateContainerError", "CrashLoopBackOff", "InvalidImageName"):
                yield pod["metadata"]["name"]


# ---------------------------------------------------------------- load and reckoning

def load_and_reckon(target, app, to, sent, requests, users):
    if before := guild_stores.documents(target, app) if app is GUILD else Stores(target, app).documents():
        raise Failure(f"{before:,} documents are archived already, of a run before. To begin anew:\n"
                      f"scripts/cluster kubectl delete namespace {NAMESPACE}")
    with ingress(target) as (url, host):
        summary = run_locust(url, host, app, to, requests, users)
    if app is GUILD:
        return guild_stores.reckon(target, app, sent, requests, summary)
    stores = Stores(target, app)
    counts = settled(stores, summary["accepted"])
    stored = monitoring.stored(target, stores.stream, summary["accepted"])
    return Reckoning(app, stores.stream, sent, requests, summary, counts, stores.values(), stored).show()


class ingress:
    """An address on this machine that leads to the ingress controller, and the name that the Ingress is for."""

    def __init__(self, target):
        self.target, self.forwarding = target, None

    def __enter__(self):
        found = get(self.target, "ingress/gateway", f"--namespace={NAMESPACE}")
        host = found["spec"]["rules"][0].get("host", "")
        return f"http://127.0.0.1:{self.port()}", host

    def port(self):
        if not self.target.context:
            return node.expose(cluster_state.loaded(), "ingress", 80)
        namespace, service, port = ENVOY
        local = node.free_port()
        self.forwarding = subprocess.Popen([*self.target.command(), f"--namespace={namespace}", "port-forward", service,
                                            f"{local}:{port}"], stdout=subprocess.DEVNULL)
        node.wait_for(lambda: node.connects(local), 30, "kubectl port-forward")
        return local

    def __exit__(self, *_):
        if self.forwarding:
            self.forwarding.terminate()
            self.forwarding.wait()


def run_locust(url, host, app, to, requests, users):
    where = ["--routes", to] if to else []
    over = to if to and "," not in to else f" over {to}" if to else ", each to the route that it says"
    say(f"{users} users send {requests:,} {app.sends} to {url}{over} ({host})")
    with tempfile.TemporaryDirectory(prefix="aguacero-locust-") as folder:
        summary = Path(folder, "summary.json")
        subprocess.run([ROOT / "scripts" / "locust", "--host", url, "--host-header", host, *where,
                        "--records", ROOT / app.records, "--requests", str(requests), "--users", str(users),
                        "--spawn-rate", str(min(users, 100)), "--summary", summary],
                       stdout=subprocess.DEVNULL, cwd=ROOT)
        if not summary.exists():
            raise Failure("Locust did not get to the end; it says why above.")
        return json.loads(summary.read_text())


def settled(stores, wanted):
    """The counts when all stores agree, on no less than was accepted, and still so a moment later; or at the deadline."""
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    agreed = False
    with Waiting("waiting for the archive and the counters") as waiting:
        while True:
            counts = stores.counts(with_kafka=False)
            is_over = time.monotonic() > deadline
            # A request that was not answered in time may be stored all the same.
            agree = counts.agree and counts.total >= wanted
            if agree and agreed or is_over:
                return stores.counts(with_kafka=True)
            agreed = agree
            waiting.tick(f"MongoDB {counts.mongodb:,}  Redis {counts.total:,}")
            time.sleep(POLL_SECONDS)


def paths(app):
    if app.routes:
        return [route.path for route in routes.parse([app.routes])]
    return [path for stream in streams.declared(ROOT / app.config)["streams"] for path in stream["routes"]]


def print_addresses(target, app):
    with ingress(target) as (url, host):
        for path in paths(app):
            print(f"  events     POST {url}{path}   (Host: {host})")
    if app is GUILD:
        print("  processors scripts/cluster kubectl --namespace=project logs --follow deployment/locations   "
              "(also deployment/stock, statefulset/daily-sales)")
    print("  console    scripts/cluster kubectl --namespace=project port-forward service/console 8090:80")
    print('  kubectl    scripts/cluster kubectl --namespace=project get pods   (or: eval "$(scripts/cluster env)")')
    print("  metrics    scripts/cluster kubectl --namespace=monitoring port-forward service/prometheus 9090")
    print("\n  To stop it and delete its data: make cluster-down", flush=True)

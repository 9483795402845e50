"""etcd, the API server, the controllers and the scheduler."""

import subprocess

from build import program
from certificates import API
from cluster_state import folder
from node import daemon, log_of, wait_for
from settings import NODE_IP, PODS, SERVICES

READY_SECONDS_MAX = 120  # a machine that compiles at the same time is slow
ETCD = "http://127.0.0.1:2379"
ETCD_PEERS = "http://127.0.0.1:2380"


def start(state):
    pki = folder(state, "pki")
    daemons = [
        ("etcd", etcd(state)),
        ("kube-apiserver", api_server(pki)),
        ("kube-controller-manager", controller_manager(state, pki)),
        ("kube-scheduler", ["--leader-elect=false", "--bind-address=127.0.0.1", *identity(state, "scheduler")]),
    ]
    for name, flags in daemons:
        daemon(state, name, [program(name), *flags])
        if name == "kube-apiserver":
            wait_ready(state)


def wait_ready(state):
    """The others end if they do not find it."""
    command = [program("kubectl"), f"--kubeconfig={folder(state, 'kubeconfig', 'admin')}", f"--server={API}",
               "--request-timeout=2s", "get", "--raw=/readyz"]
    network = ["nsenter", f"--target={state['node']['pid']}", "--net", "--"]

    def is_ready():
        return subprocess.run([*network, *command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode == 0

    wait_for(is_ready, READY_SECONDS_MAX, "the API server", log_of(state, "kube-apiserver"))


def identity(state, user):
    """Who it is to the API server, and whom it asks about those who come to itself."""
    path = folder(state, "kubeconfig", user)
    return [f"--kubeconfig={path}", f"--authentication-kubeconfig={path}", f"--authorization-kubeconfig={path}"]


def etcd(state):
    return [f"--data-dir={folder(state, 'node', 'etcd', 'data')}", "--unsafe-no-fsync",
            f"--listen-client-urls={ETCD}", f"--advertise-client-urls={ETCD}",
            f"--listen-peer-urls={ETCD_PEERS}", f"--initial-advertise-peer-urls={ETCD_PEERS}",
            f"--initial-cluster=default={ETCD_PEERS}"]


def api_server(pki):
    return [
        f"--etcd-servers={ETCD}", f"--advertise-address={NODE_IP}", "--bind-address=0.0.0.0", "--secure-port=6443",
        f"--service-cluster-ip-range={SERVICES}",
        f"--tls-cert-file={pki}/apiserver.crt", f"--tls-private-key-file={pki}/apiserver.key",
        # Who may come, and what they may do.
        f"--client-ca-file={pki}/ca.crt", "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",  # what the namespaces' pod security allows is decided there
        # The kubelet: logs, exec, port-forward.
        f"--kubelet-certificate-authority={pki}/ca.crt", "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-client-certificate={pki}/apiserver-kubelet-client.crt",
        f"--kubelet-client-key={pki}/apiserver-kubelet-client.key",
        # Service accounts.
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki}/sa.pub", f"--service-account-signing-key-file={pki}/sa.key",
        # API servers behind this one: metrics-server, KEDA's metrics.
        "--enable-aggregator-routing=true",
        f"--proxy-client-cert-file={pki}/front-proxy-client.crt", f"--proxy-client-key-file={pki}/front-proxy-client.key",
        f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy-client", "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group", "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--profiling=false",
    ]


def controller_manager(state, pki):
    return [
        *identity(state, "controller-manager"), "--leader-elect=false", "--bind-address=127.0.0.1",
        "--use-service-account-credentials=true", f"--root-ca-file={pki}/ca.crt",
        f"--service-account-private-key-file={pki}/sa.key",
        f"--cluster-signing-cert-file={pki}/ca.crt", f"--cluster-signing-key-file={pki}/ca.key",
        "--allocate-node-cidrs=true", f"--cluster-cidr={PODS}", f"--service-cluster-ip-range={SERVICES}",
        # Scaling is watched in tests: by default it looks every 15 s, and at a new pod's CPU after 5 min.
        "--horizontal-pod-autoscaler-sync-period=5s", "--horizontal-pod-autoscaler-initial-readiness-delay=5s",
        "--horizontal-pod-autoscaler-cpu-initialization-period=10s",
    ]

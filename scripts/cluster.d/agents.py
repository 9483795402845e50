"""What runs on a node: containerd, the kubelet, kube-proxy, and kube-router, which enforces network policies."""

import json

from build import program
from cluster_state import folder
from node import cgroup, checked, daemon, log_of, run, wait_for
from settings import DNS_IP, NODE, NODE_IP, PODS, PODS_OF_NODE, SERVICES

READY_SECONDS_MAX = 60
PAUSE = "localhost/pause:dev"  # holds a pod's namespaces

CONTAINERD = f"""\
version = 2
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"""

# Pods on a bridge; `portmap` serves those that ask for a port of the node.
POD_NETWORK = {"cniVersion": "0.4.0", "name": "pods", "plugins": [
    {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": False, "hairpinMode": True,
     "ipam": {"type": "host-local", "ranges": [[{"subnet": PODS_OF_NODE}]], "routes": [{"dst": "0.0.0.0/0"}]}},
    {"type": "portmap", "capabilities": {"portMappings": True}},
]}


def start_containerd(state):
    config = folder(state, "etc", "containerd.toml")
    config.write_text(CONTAINERD)
    daemon(state, "containerd", ["containerd", f"--config={config}"])
    wait_for(lambda: run(state, ["ctr", "--connect-timeout=1s", "version"]).returncode == 0,
             READY_SECONDS_MAX, "containerd", log_of(state, "containerd"))


def start(state):
    network = folder(state, "etc", "pods.conflist")
    network.write_text(json.dumps(POD_NETWORK, indent=2))
    checked(state, ["cp", network, "/etc/cni/net.d/10-pods.conflist"], "the pods' network")
    start_kubelet(state)
    daemon(state, "kube-proxy", kube_proxy(state))


def start_policies(state):
    """Who may talk to whom. It ends if the API server does not know the node yet."""
    daemon(state, "kube-router", [
        program("kube-router"), "--run-firewall=true", "--run-router=false", "--run-service-proxy=false",
        f"--kubeconfig={folder(state, 'kubeconfig', 'admin')}", f"--hostname-override={NODE}",
        f"--service-cluster-ip-range={SERVICES}", "--iptables-sync-period=30s", "--metrics-port=0"])


def start_kubelet(state):
    config = folder(state, "etc", "kubelet.json")
    config.write_text(json.dumps(kubelet_settings(state), indent=2))
    folder(state, "etc", "resolv.conf").touch()  # no names but the cluster's
    daemon(state, "kubelet", [program("kubelet"), f"--config={config}",
                              f"--kubeconfig={folder(state, 'kubeconfig', 'kubelet')}", f"--node-ip={NODE_IP}",
                              f"--hostname-override={NODE}"])


def kubelet_settings(state):
    pki = folder(state, "pki")
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True},
                           "x509": {"clientCAFile": f"{pki}/ca.crt"}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{pki}/kubelet.crt", "tlsPrivateKeyFile": f"{pki}/kubelet.key",
        "clusterDomain": "cluster.local", "clusterDNS": [DNS_IP],
        "resolvConf": str(folder(state, "etc", "resolv.conf")),
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs", "cgroupRoot": f"/{cgroup(state)}", "failCgroupV1": False,
        # Not every machine lets its root choose whom the kernel kills first, or has no swap.
        "oomScoreAdj": 0, "failSwapOn": False,
        # Images come from here only, so they are never thrown away; the disk is this machine's.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "nodefs.inodesFree": "1%",
                         "imagefs.available": "1%"},
        "nodeStatusUpdateFrequency": "5s", "syncFrequency": "10s", "serializeImagePulls": False,
    }


def kube_proxy(state):
    """The addresses of services."""
    return [program("kube-proxy"), f"--kubeconfig={folder(state, 'kubeconfig', 'proxy')}", f"--hostname-override={NODE}",
            "--proxy-mode=nftables", f"--cluster-cidr={PODS}", "--oom-score-adj=0",
            # The machine's own limits of tracked connections stay.
            "--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0"]


def restart_kubelet(state):
    """As a crash and systemd would: the pods go on meanwhile."""
    checked(state, ["sh", "-c", "kill -9 $(pidof kubelet)"], "killing the kubelet")
    start_kubelet(state)

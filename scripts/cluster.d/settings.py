"""Versions and addresses of the test cluster."""

from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

KUBERNETES = "1.34.4"
ETCD = "3.6.8"
COREDNS = "1.13.1"
METRICS_SERVER = "0.8.0"
LOCAL_PATH = "0.0.30"
KUBE_ROUTER = "2.1.0"
CONTOUR = "1.33.8"
ENVOY = "1.40.0"
PROMETHEUS = "3.16.0"
KEDA = "2.21.0"
HELM = "3.22.0"

# Inside the node's own network, which nothing outside can reach and from which nothing leads out.
NODE = "node-1"
NODE_IP = "10.77.0.1"
PODS = "10.244.0.0/16"
PODS_OF_NODE = "10.244.0.0/24"
SERVICES = "10.96.0.0/16"
API_SERVICE_IP = "10.96.0.1"
DNS_IP = "10.96.0.10"

NAMESPACE = "project"

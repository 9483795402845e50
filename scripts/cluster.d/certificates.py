"""The cluster's certificates, and the files with which its parts and its users come to the API server."""

import base64
import subprocess

from cache import Failure, last_lines
from cluster_state import folder, kubeconfig
from settings import API_SERVICE_IP, NODE, NODE_IP

API = f"https://{NODE_IP}:6443"
KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
DAYS = "365"

# Who they are (organization: a group of Kubernetes'; common name: a user), and for which names they answer.
USERS = {
    "admin": ("/O=system:masters/CN=admin", ""),
    "controller-manager": ("/CN=system:kube-controller-manager", "DNS:localhost,IP:127.0.0.1"),
    "scheduler": ("/CN=system:kube-scheduler", "DNS:localhost,IP:127.0.0.1"),
    "proxy": ("/CN=system:kube-proxy", ""),
    "kubelet": (f"/O=system:nodes/CN=system:node:{NODE}", f"DNS:{NODE},IP:{NODE_IP},IP:127.0.0.1"),
}
API_NAMES = ",".join([*(f"DNS:{name}" for name in ("kubernetes", "kubernetes.default", "kubernetes.default.svc",
                                                   "kubernetes.default.svc.cluster.local", "localhost")),
                      "IP:127.0.0.1", f"IP:{NODE_IP}", f"IP:{API_SERVICE_IP}"])


def make(state):
    pki = folder(state, "pki")
    if (pki / "done").exists():
        return
    for name in ("ca", "front-proxy-ca"):
        openssl(pki, "req", "-x509", *KEY, "-keyout", f"{name}.key", "-out", f"{name}.crt", "-days", DAYS,
                "-subj", f"/CN={name}")
    issue(pki, "apiserver", "/CN=kube-apiserver", API_NAMES)
    issue(pki, "apiserver-kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client")
    issue(pki, "front-proxy-client", "/CN=front-proxy-client", authority="front-proxy-ca")
    openssl(pki, "genrsa", "-out", "sa.key", "2048")
    openssl(pki, "rsa", "-in", "sa.key", "-pubout", "-out", "sa.pub")
    for user, (subject, names) in USERS.items():
        issue(pki, user, subject, names)
        write_kubeconfig(pki, folder(state, "kubeconfig", user), user, API)
    (pki / "done").touch()


def make_local(state, port):
    """For clients outside of the node."""
    write_kubeconfig(folder(state, "pki"), kubeconfig(state), "admin", f"https://127.0.0.1:{port}")


def issue(pki, name, subject, names="", authority="ca"):
    extensions = ["basicConstraints=CA:FALSE", "keyUsage=digitalSignature", "extendedKeyUsage=clientAuth,serverAuth"]
    extensions += [f"subjectAltName={names}"] if names else []
    (pki / f"{name}.ext").write_text("\n".join(extensions) + "\n")
    openssl(pki, "req", *KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
    openssl(pki, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.crt", "-CAkey", f"{authority}.key",
            "-CAcreateserial", "-days", DAYS, "-extfile", f"{name}.ext", "-out", f"{name}.crt")


def write_kubeconfig(pki, path, user, server):
    def data(name):
        return base64.b64encode((pki / name).read_bytes()).decode()

    path.write_text(f"""\
apiVersion: v1
kind: Config
current-context: aguacero
contexts: [{{name: aguacero, context: {{cluster: aguacero, user: {user}}}}}]
clusters: [{{name: aguacero, cluster: {{server: "{server}", certificate-authority-data: {data("ca.crt")}}}}}]
users: [{{name: {user}, user: {{client-certificate-data: {data(f"{user}.crt")}, client-key-data: {data(f"{user}.key")}}}}}]
""")
    path.chmod(0o600)


def openssl(pki, *arguments):
    done = subprocess.run(["openssl", *arguments], cwd=pki, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise Failure(f"openssl {arguments[0]} failed:\n{last_lines(done.stdout, 10)}")

"""Certificates and passwords of `scripts/services --secure`, thrown away with the services."""

import secrets
import ssl
import subprocess

from cache import Failure, last_lines
from rights import OWNER, PROCESSES

ADMIN = "admin"  # who may do everything
KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def make(folder):
    """An authority and what it vouches for, an authority that nobody trusts, and a password for everybody."""
    folder.mkdir(mode=0o700)
    for authority in ("ca", "stranger"):
        openssl(folder, "req", "-x509", *KEY, "-keyout", f"{authority}.key", "-out", f"{authority}.pem",
                "-days", "30", "-subj", f"/O=Aguacero/CN={authority}")
    issue(folder, "server", "services")
    issue(folder, "client", "processes")
    for user in (ADMIN, OWNER, *PROCESSES):
        file = folder / user
        file.write_text(f"{secrets.token_hex(16)}\n")
        file.chmod(0o600)


def issue(folder, name, unit):
    """NAME.crt, NAME.key, and both in NAME.pem. For the address, and not for the name "localhost": by that
    the tests come to a host with the certificate of another."""
    (folder / f"{name}.ext").write_text("basicConstraints=critical,CA:FALSE\n"
                                        "subjectAltName=IP:127.0.0.1\n")
    openssl(folder, "req", *KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr",
            "-subj", f"/O=Aguacero/OU={unit}/CN={name}")
    openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-days", "30", "-extfile", f"{name}.ext", "-out", f"{name}.crt")
    pem = folder / f"{name}.pem"
    pem.write_text((folder / f"{name}.key").read_text() + (folder / f"{name}.crt").read_text())
    pem.chmod(0o600)


def openssl(folder, *arguments):
    done = subprocess.run(["openssl", *arguments], cwd=folder, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise Failure(f"openssl {arguments[0]} failed:\n{last_lines(done.stdout, 10)}")


def password(folder, user):
    return (folder / user).read_text().rstrip("\n")


def tls(folder, who="client"):
    """For a connection of ours as one of the processes, or as one of the services."""
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    context.load_cert_chain(folder / f"{who}.pem")
    return context

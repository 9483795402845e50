"""One redis-server, in memory only: restarted, it is empty."""

import contextlib
import hashlib
import os
import re
import shutil
from pathlib import Path

import rights
import secret
from cache import Failure, client, fetched, say
from probe import connected

HINT = ("Install it (on Debian and Ubuntu: apt-get install redis-server) or put a redis-server\n"
        "(6.2 or later) on PATH.")


def needs():
    return []


def find():
    """The program, and what it needs in its environment."""
    found = shutil.which("redis-server")
    if found:
        return found, {}
    # Its libraries are the system's, so another release of the system needs another one.
    folder = fetched(f"redis-{system_release()}", "Redis from the system's package archive", fetch)
    return f"{folder}/usr/bin/redis-server", environment(folder)


def system_release():
    with contextlib.suppress(OSError):
        text = Path("/etc/os-release").read_text()
        fields = dict(re.findall(r'^(\w+)="?([^"\n]*)', text, re.MULTILINE))
        return f"{fields.get('ID', 'linux')}-{fields.get('VERSION_ID', 'rolling')}"
    return "linux"


def environment(folder):
    libraries = sorted(str(path) for path in folder.glob("usr/lib/*-linux-gnu*"))
    return {"LD_LIBRARY_PATH": ":".join(libraries)} if libraries else {}


def fetch(folder):
    """Unpacks the packages and does not install them: no Redis of the system can ever start."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise Failure(f"There is no redis-server on PATH, and no apt-get to fetch one with.\n{HINT}")
    try:
        download(folder)
    except Failure:
        if os.geteuid() != 0:  # only root may renew the lists of packages
            raise
        say("         (apt-get update first: the lists of packages are missing or old)")
        client(["apt-get", "-q", "update"], HINT)
        download(folder)
    for package in folder.glob("*.deb"):
        client(["dpkg-deb", "-x", package, folder], HINT)
        package.unlink()
    client([folder / "usr/bin/redis-server", "--version"], HINT,
           env={**os.environ, **environment(folder)})


def download(folder):
    """The packages of redis-server and of those of its libraries that the system has not got."""
    simulation = client(["apt-get", "-s", "install", "--no-install-recommends", "redis-server"],
                        HINT, env={**os.environ, "LC_ALL": "C"})
    # "Inst NAME (VERSION …" would be new, "Inst NAME [OLD] (VERSION …" only upgraded.
    new = re.findall(r"^Inst (\S+) \(", simulation, re.MULTILINE)
    packages = sorted({"redis-server", "redis-tools", *new})
    client(["apt-get", "-q", "download", *packages], HINT, cwd=folder)


def plan(program, folders, ports, folder_of_secrets):
    data, = folders
    port = next(ports)
    path, env = program
    argv = [path, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(data),
            "--databases", "512", "--maxmemory-policy", "noeviction", "--save", "",
            "--appendonly", "no", "--daemonize", "no"]
    if folder_of_secrets:
        argv += secured(port, data, folder_of_secrets)
    return [{"port": port, "argv": argv, "env": env}]


def secured(port, data, folder):
    """By TLS only, with certificates on both sides; each process may do what it must."""
    allowed = {secret.ADMIN: ["~*", "&*", "+@all"], **rights.redis(["weather"])}
    users = ["user default off"]
    for user, rules in allowed.items():
        digest = hashlib.sha256(secret.password(folder, user).encode()).hexdigest()
        users.append(f"user {user} on #{digest} {' '.join(rules)}")
    acl = data / "users.acl"
    acl.write_text("\n".join(users) + "\n")
    return ["--port", "0", "--tls-port", str(port), "--tls-ca-cert-file", f"{folder}/ca.pem",
            "--tls-cert-file", f"{folder}/server.crt", "--tls-key-file", f"{folder}/server.key",
            "--tls-auth-clients", "yes", "--aclfile", str(acl)]


def address(ports, is_secure):
    return f"{'rediss' if is_secure else 'redis'}://127.0.0.1:{ports[0]}/0"


def access(folder):
    """What a process is told beside the address."""
    return {"CA": f"{folder}/ca.pem", "CERTIFICATE": f"{folder}/client.crt", "KEY": f"{folder}/client.key"}


def answers(port, _ports, folder):
    tls = folder and secret.tls(folder)
    with contextlib.suppress(OSError), connected(port, tls) as connection:
        connection.sendall(b"PING\r\n")
        reply = connection.recv(64)
        return reply == b"+PONG\r\n" or bool(folder) and reply.startswith(b"-NOAUTH")
    return False

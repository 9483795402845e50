"""One redis-server, in memory only: restarted, it is empty."""

import contextlib
import hashlib
import os
import re
import shutil

import debian
import rights
import secret
from cache import client, fetched
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
    folder = fetched(f"redis-{debian.release()}", "Redis from the system's package archive", fetch)
    return f"{folder}/usr/bin/redis-server", debian.environment(folder)


def fetch(folder):
    debian.unpack(folder, packages, HINT)
    client([folder / "usr/bin/redis-server", "--version"], HINT,
           env={**os.environ, **debian.environment(folder)})


def packages():
    """redis-server and those of its libraries that the system has not got."""
    simulation = client(["apt-get", "-s", "install", "--no-install-recommends", "redis-server"],
                        HINT, env={**os.environ, "LC_ALL": "C"})
    # "Inst NAME (VERSION …" would be new, "Inst NAME [OLD] (VERSION …" only upgraded.
    new = re.findall(r"^Inst (\S+) \(", simulation, re.MULTILINE)
    return sorted({"redis-server", "redis-tools", *new})


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
    allowed = {secret.ADMIN: ["~*", "&*", "+@all"], **rights.redis(["weather"]), rights.CONSOLE: rights.redis_readers(["weather"])[rights.CONSOLE]}
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
    if not folder:
        return {}
    return {"CA": f"{folder}/ca.pem", "CERTIFICATE": f"{folder}/client.crt", "KEY": f"{folder}/client.key"}


def answers(port, _ports, folder):
    tls = folder and secret.tls(folder)
    with contextlib.suppress(OSError), connected(port, tls) as connection:
        connection.sendall(b"PING\r\n")
        reply = connection.recv(64)
        return reply == b"+PONG\r\n" or bool(folder) and reply.startswith(b"-NOAUTH")
    return False

"""Makes the members of MongoDB a replica set, and its users what scripts/rights says. Can be run again.

    python3 mongodb_rights.py AGUACERO_TOML FOLDER [--operator]

The members are those of `mongodb.uri`. FOLDER has ca.crt, a member's certificate with its key (tls.pem), and the users'
passwords in files that are called like them. With --operator the console may replay and discard dead letters."""

import contextlib
import re
import socket
import ssl
import sys
import time
import tomllib
from pathlib import Path

import mongodb_wire as wire
import rights
from probe import exchange

PATIENCE_S = 600
TIMEOUT_S = 5
ADMIN = "admin"


def main(configuration, folder, *options):
    config = tomllib.loads(Path(configuration).read_text("utf-8"))
    mongodb = config["mongodb"]
    hosts, name = members(mongodb["uri"])
    tls = ssl.create_default_context(cafile=f"{folder}/ca.crt")
    tls.load_cert_chain(f"{folder}/tls.pem")
    primary = wait_for_primary(hosts, name, tls)
    print(f"{primary} is the primary of {name}", flush=True)
    archives = [stream.get("archive", name) for name, stream in config["streams"].items()]
    users = {ADMIN: "root"}
    for user, role in rights.mongodb(mongodb.get("database", "aguacero"), archives, mongodb.get("dead_letters", "dead_letters"),
                                     "--operator" in options).items():
        upsert(primary, tls, "Role", role["role"], {"privileges": role["privileges"], "roles": []})
        users[user] = role["role"]
    for user, role in users.items():
        password = Path(folder, user).read_text("utf-8").rstrip("\r\n")
        upsert(primary, tls, "User", user, {"pwd": password, "roles": [{"role": role, "db": "admin"}]})
    print(f"users: {', '.join(users)}")


def members(uri):
    """Their `host:port`, and the name of the set."""
    found = re.fullmatch(r"mongodb://([^/@]+)/[^?]*\?(?:.*&)?replicaSet=([^&]+).*", uri)
    if not found:
        sys.exit(f"mongodb.uri should name the members and replicaSet, and no user: {uri}")
    return found[1].split(","), found[2]


def wait_for_primary(hosts, name, tls):
    """The primary. Members that are no set yet are made one, as soon as all of them answer."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        hellos = {host: ask(host, tls, {"hello": 1, "$db": "admin"}) for host in hosts}
        for host, hello in hellos.items():
            if wire.is_primary(hello):
                return host
        if all(hellos.values()) and not any(map(wire.is_member, hellos.values())):
            print(f"initiating {name}: {', '.join(hosts)}", flush=True)
            listed = [{"_id": index, "host": host} for index, host in enumerate(hosts)]
            do(hosts[0], tls, {"replSetInitiate": {"_id": name, "members": listed}, "$db": "admin"})
        silent = [host for host, hello in hellos.items() if not hello]
        print(f"no primary yet; {f'no answer from {silent}' if silent else 'all answer'}", flush=True)
        time.sleep(2)
    sys.exit(f"no primary among {hosts} within {PATIENCE_S} s")


def ask(host, tls, command):
    """The reply; nothing if there is none."""
    with contextlib.suppress(OSError, EOFError), connected(host, tls) as connection:
        return exchange(connection, wire.message(command), "<i", length_counts_itself=True)
    return b""


def upsert(host, tls, kind, name, what):
    """A user or a role that is there is made what it should be."""
    try:
        do(host, tls, {f"create{kind}": name, **what, "$db": "admin"})
    except wire.Refused as refusal:
        if "already exists" not in str(refusal):
            raise
        do(host, tls, {f"update{kind}": name, **what, "$db": "admin"})


def do(host, tls, command):
    wire.as_member(connected(host, tls), [command])


def connected(host, tls):
    name, _, port = host.rpartition(":")
    return tls.wrap_socket(socket.create_connection((name, int(port)), TIMEOUT_S), server_hostname=name)


if __name__ == "__main__":
    main(*sys.argv[1:])

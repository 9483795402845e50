"""One PostgreSQL, which keeps what it has committed: killed and started again, it has all of it.

It refuses to run as root. As root it runs as the user `postgres` of the system, or else `nobody`."""

import contextlib
import os
import pwd
import re
import shutil
import signal
import struct
import subprocess
from pathlib import Path

import debian
import rights
import secret
from cache import Failure, client, fetched
from probe import connected, receive
from processes import end, family

LEAST = 15
HINT = ("Install it (on Debian: apt-get install postgresql) or put a postgres and an initdb\n"
        f"({LEAST} or later) on PATH.")
DATABASE = "aguacero"
OWNER = rights.OWNER  # of the database; who may do everything in the cluster is secret.ADMIN
# The package asks for these to compile queries and to manage clusters, which is not done here.
UNNEEDED = re.compile(r"lib(llvm|z3-|perl)|.*-perl$")
LOCK = "postmaster.pid"
SOCKET_PATH_BYTES_MAX = 100  # the kernel takes 107
COMPLETE = "aguacero-complete"  # a file beside the data
TLS_REQUEST, VERSION = 80877103, 196608  # the two numbers that a client may begin with


def needs():
    return []


def find():
    """The program, and what it needs in its environment."""
    installed = [shutil.which("postgres"), *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin/postgres")), reverse=True)]
    for path in filter(None, installed):
        path = Path(path).resolve()  # beside it there are initdb and psql
        if path.with_name("initdb").exists() and version(path) >= LEAST:
            return str(path), {}
    folder = fetched(f"postgresql-{debian.release()}", "PostgreSQL from the system's package archive", fetch)
    return str(unpacked(folder)), debian.environment(folder)


def version(path):
    with contextlib.suppress(OSError):
        told = subprocess.run([path, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout
        found = re.search(r"\) (\d+)", told)
        return int(found[1]) if found else 0
    return 0


def unpacked(folder):
    found = next(folder.glob("usr/lib/postgresql/*/bin/postgres"), None)
    if found is None:
        raise Failure(f"There is no postgres in {folder}.\n{HINT}")
    return found


def fetch(folder):
    debian.unpack(folder, packages, HINT)
    for unused in ("usr/share/doc", "usr/share/man", "usr/share/locale", *folder.glob("usr/lib/postgresql/*/lib/bitcode")):
        shutil.rmtree(folder / unused, ignore_errors=True)
    program = unpacked(folder)
    for name in ("postgres", "initdb", "psql"):
        client([program.with_name(name), "--version"], HINT, env={**os.environ, **debian.environment(folder)})


def packages():
    """Server and client of the version that the system has, and those of their libraries that it has not got."""
    language = {**os.environ, "LC_ALL": "C"}
    depends = client(["apt-cache", "depends", "postgresql"], HINT, env=language)
    server = re.search(r"Depends: (postgresql-(\d+))$", depends, re.MULTILINE)
    if not server or int(server[2]) < LEAST:
        raise Failure(f"The system's package archive has no PostgreSQL {LEAST} or later.\n{HINT}")
    names = [server[1], f"postgresql-client-{server[2]}"]
    simulation = client(["apt-get", "-s", "install", "--no-install-recommends", *names], HINT, env=language)
    # "Inst NAME (VERSION …" would be new, "Inst NAME [OLD] (VERSION …" only upgraded.
    new = re.findall(r"^Inst (lib\S+) \(", simulation, re.MULTILINE)
    return sorted({*names, *(name for name in new if not UNNEEDED.match(name))})


def plan(program, folders, ports, folder_of_secrets):
    data, = folders
    port = next(ports)
    path, env = program
    path, env = within_reach(Path(path), env, data)
    settings = {
        "listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": socket_folder(data, port), "max_connections": 200,
        # In files of its own folder, so that one that is killed leaves nothing in /dev/shm.
        "dynamic_shared_memory_type": "mmap",
        # What was committed is there after a crash.
        "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on",
        "jit": "off", "timezone": "UTC", "log_timezone": "UTC",
        **(secured(data) if folder_of_secrets else {}),
    }
    words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    # SIGTERM would wait until the last client has gone, and SIGINT until all is on the disk.
    return [{"port": port, "argv": [*as_user(), str(path), "-D", str(data), *words], "env": env,
             "program": str(path), "stop": int(signal.SIGQUIT)}]


def socket_folder(data, port):
    """Its own, or none, where the path would be longer than the system takes: clients come by the port."""
    return data if len(f"{data}/.s.PGSQL.{port}") <= SOCKET_PATH_BYTES_MAX else ""


def secured(data):
    """By TLS only, with certificates on both sides."""
    return {"ssl": "on", "ssl_cert_file": data / "server.crt", "ssl_key_file": data / "server.key",
            "ssl_ca_file": data / "ca.pem"}


def address(ports, _is_secure):
    return f"postgres://127.0.0.1:{ports[0]}/{DATABASE}"


def access(folder):
    """What a process is told beside the address: also who owns the database, and so may do everything in it."""
    if not folder:
        return {"USERNAME": OWNER}
    return {"TLS": "true", "CA": f"{folder}/ca.pem", "CERTIFICATE": f"{folder}/client.crt", "KEY": f"{folder}/client.key",
            "USERNAME": OWNER, "PASSWORD_FILE": f"{folder}/{OWNER}"}


# ---------------------------------------------------------------- whose it is

def user():
    """As whom it is to run, if not as ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise Failure("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody: add one (useradd -r postgres)")


def as_user():
    who = user()
    if not who:
        return []
    setpriv = shutil.which("setpriv")
    if not setpriv:
        raise Failure("PostgreSQL refuses to run as root: setpriv (Debian: util-linux) is needed to run it as another user")
    return [setpriv, f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--clear-groups", "--no-new-privs", "--"]


def within_reach(path, env, data):
    """The program, if its user can come to it, and else a copy that goes with the data: root's cache is root's alone."""
    who = user()
    if not who or all(folder.stat().st_mode & 0o005 == 0o005 for folder in path.parents):
        return path, env
    root = path.parents[min(5, len(path.parents) - 1)]  # of usr/lib/postgresql/15/bin/postgres
    if not (root / debian.UNPACKED).exists():
        raise Failure(f"PostgreSQL refuses to run as root, and the user {who.pw_name} cannot come to {path}")
    copy = data.parent / "postgres-program"
    if not copy.exists():
        shutil.copytree(root, copy, symlinks=True)
        copy.chmod(0o755)
    return copy / path.relative_to(root), debian.environment(copy)


def own(data, folder_of_secrets=None):
    """Gives its user the folder, the way to it, and what it needs of the certificates."""
    who = user()
    data.chmod(0o700)
    if folder_of_secrets:
        for name in ("server.crt", "server.key", "ca.pem"):
            copy = data / name
            copy.write_bytes((folder_of_secrets / name).read_bytes())
            copy.chmod(0o600)
    if who:
        os.chown(data.parent, -1, who.pw_gid)
        data.parent.chmod(0o710)
        for path in (data, *data.iterdir()):
            os.chown(path, who.pw_uid, who.pw_gid)


# ---------------------------------------------------------------- its data

def prepare(service, folder_of_secrets):
    """Makes the storage of one that is new, with its database and roles. Returns whether that went well."""
    data = Path(service["data"])
    # Of one that was killed some processes may be in the midst of a statement: a new one does not start beside them.
    end([service], signal.SIGKILL, family)
    if (data / COMPLETE).exists():
        forget(service)
        return True
    if any(data.iterdir()):  # of one that was killed in the midst of it
        shutil.rmtree(data)
        data.mkdir()
    own(data)
    program = Path(service["program"])
    single = [str(program), "--single", "-D", str(data), "-c", "exit_on_error=on", "-j"]
    steps = [([str(program.with_name("initdb")), "-D", str(data), "-U", secret.ADMIN, "-A", "trust", "-E", "UTF8",
               "--locale=C", "--no-instructions"], []),
             ([*single, "postgres"], roles(folder_of_secrets))]
    if folder_of_secrets:
        granted = [*rights.postgres_ahead("public"), *rights.postgres_ahead(rights.SCHEMA)]
        steps.append(([*single, DATABASE], granted))
    if not all(as_its_user(service, command, statements) for command, statements in steps):
        return False
    own(data, folder_of_secrets)
    if folder_of_secrets:
        (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n")
    (data / COMPLETE).touch()
    return True


def roles(folder):
    """Who there is, and the database."""
    def password(name):
        return f" PASSWORD '{secret.password(folder, name)}'" if folder else ""

    # Tests make databases of their own.
    make = [f"CREATE ROLE {OWNER} LOGIN CREATEDB{password(OWNER)}", f"CREATE DATABASE {DATABASE} OWNER {OWNER}"]
    if folder:
        make += [f"ALTER ROLE {secret.ADMIN}{password(secret.ADMIN)}",
                 f"CREATE ROLE {rights.TABLES} LOGIN{password(rights.TABLES)}",
                 *rights.postgres_connect(DATABASE)]
    return make


def as_its_user(service, command, statements):
    """Whether it went well; its words are in the service's log."""
    text = "".join(f"{statement};\n\n" for statement in statements)  # as --single -j tells where each ends
    with open(service["log"], "ab") as log:
        done = subprocess.run([*as_user(), *command], input=text.encode(), stdout=log, stderr=log, cwd=service["data"],
                              env={**os.environ, **service["env"]})
    return done.returncode == 0


# ---------------------------------------------------------------- what is left of one that was killed

def forget(service):
    """Gives back the shared memory of one that was killed and has ended, and takes away the files by which a new one would
    believe that it still runs, as its number is taken until whoever has started it asks how it ended."""
    data = Path(service["data"])
    with contextlib.suppress(OSError, IndexError, ValueError):
        identifier = int((data / LOCK).read_text().splitlines()[6].split()[1])
        subprocess.run(["ipcrm", "-m", str(identifier)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    for lock in (data / LOCK, data / f".s.PGSQL.{service['port']}.lock"):
        lock.unlink(missing_ok=True)


# ---------------------------------------------------------------- does it answer?

def answers(port, _ports, folder):
    """Whether it lets a client begin: while it recovers it says that it is starting up."""
    with contextlib.suppress(OSError, EOFError), connected(port) as plain:
        connection = plain
        if folder:
            plain.sendall(struct.pack(">ii", 8, TLS_REQUEST))
            if receive(plain, 1) != b"S":
                return False
            connection = secret.tls(folder).wrap_socket(plain, server_hostname="127.0.0.1")
        asked = b"".join(word.encode() + b"\0" for word in ("user", OWNER, "database", DATABASE, ""))
        connection.sendall(struct.pack(">ii", 8 + len(asked), VERSION) + asked)
        return receive(connection, 1) == b"R"  # how to prove who one is, or that it need not be proved; "E" is an error
    return False

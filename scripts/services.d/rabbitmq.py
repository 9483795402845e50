"""One RabbitMQ, which keeps durable queues and what is persistent in them: killed and started again, it has all of it."""

import contextlib
import os
import re
import shutil
from pathlib import Path

import debian
from cache import Failure, client, fetched
from probe import connected, receive

HINT = ("Install it (on Debian: apt-get install rabbitmq-server, and systemctl disable rabbitmq-server) or put a\n"
        "rabbitmq-server (3.8 or later) and an erl on PATH.")
HELLO = b"AMQP\x00\x00\x09\x01"  # AMQP 0-9-1
METHOD_FRAME = b"\x01"  # the first frame of a broker that takes the protocol; another one begins with "A"
# Erlang's parts that RabbitMQ has no use for, or only with plugins that are not enabled here.
UNNEEDED = {"logrotate", "libpopt0", "socat", "libwrap0"}
ERLANG_ROOT = "ROOTDIR=/usr/lib/erlang"  # in Debian's erl, which so would look for itself outside of the cache
# Erlang's register of nodes ends with the broker: the system ends it when its parent is gone.
START = 'setpriv --pdeathsig TERM -- "$AGUACERO_EPMD" & exec "$0"'


def needs():
    return []


def find():
    """The program, and what it needs in its environment."""
    installed = shutil.which("rabbitmq-server"), shutil.which("erl"), shutil.which("epmd")
    if all(installed):
        server = "/usr/lib/rabbitmq/bin/rabbitmq-server"  # the one on PATH wants to be the user rabbitmq
        return (server if Path(server).exists() else installed[0]), {"AGUACERO_EPMD": installed[2]}
    folder = fetched(f"rabbitmq-{debian.release()}", "RabbitMQ and Erlang from the system's package archive", fetch)
    return str(unpacked(folder)), environment(folder)


def unpacked(folder):
    found = next(folder.glob("usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server"), None)
    if found is None:
        raise Failure(f"There is no rabbitmq-server in {folder}.\n{HINT}")
    return found


def environment(folder):
    erlang = folder / "usr/lib/erlang/bin"
    return {**debian.environment(folder), "PATH": f"{erlang}:{os.environ['PATH']}", "AGUACERO_EPMD": str(folder / "usr/bin/epmd")}


def fetch(folder):
    debian.unpack(folder, packages, HINT)
    for unused in ("usr/share/doc", "usr/share/man", *folder.glob("usr/lib/erlang/lib/*/examples"), *folder.glob("usr/lib/erlang/lib/*/src")):
        shutil.rmtree(folder / unused, ignore_errors=True)
    erl = folder / "usr/lib/erlang/bin/erl"
    erl.write_text(erl.read_text().replace(ERLANG_ROOT, 'ROOTDIR=$(cd "$(dirname "$0")/.." && pwd)'))
    unpacked(folder)
    client([erl, "-noshell", "-eval", "halt()."], HINT, env={**os.environ, **environment(folder)})


def packages():
    """RabbitMQ, and of Erlang what the system has not got."""
    simulation = client(["apt-get", "-s", "install", "--no-install-recommends", "rabbitmq-server"],
                        HINT, env={**os.environ, "LC_ALL": "C"})
    # "Inst NAME (VERSION …" would be new, "Inst NAME [OLD] (VERSION …" only upgraded.
    new = re.findall(r"^Inst (\S+) \(", simulation, re.MULTILINE)
    return sorted({"rabbitmq-server", *new} - UNNEEDED)


def plan(program, folders, ports, _folder_of_secrets):
    data, = folders
    port, epmd, distribution = next(ports), next(ports), next(ports)
    path, env = program
    if not shutil.which("setpriv"):
        raise Failure("setpriv (Debian: util-linux) is needed to end Erlang's epmd with the broker")
    (data / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{port}\ndisk_free_limit.absolute = 50MB\n")
    (data / "enabled_plugins").write_text("[].\n")
    env = {
        **env, "HOME": str(data), "RUNNING_UNDER_SYSTEMD": "true",  # the virtual machine in place of the shell
        "RABBITMQ_NODENAME": "aguacero@localhost", "RABBITMQ_DIST_PORT": str(distribution),
        "ERL_EPMD_PORT": str(epmd), "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "RABBITMQ_CONF_ENV_FILE": "/dev/null", "RABBITMQ_CONFIG_FILE": str(data / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(data / "enabled_plugins"), "RABBITMQ_LOGS": "-",
        "RABBITMQ_MNESIA_BASE": str(data / "mnesia"), "RABBITMQ_LOG_BASE": str(data / "logs"),
        "RABBITMQ_PID_FILE": str(data / "pid"),
    }
    # `program` is what it becomes: Erlang's virtual machine.
    return [{"port": port, "argv": ["/bin/sh", "-c", START, path], "env": env, "program": machine(path)}]


def machine(path):
    roots = [Path(path).parents[6] if len(Path(path).parents) > 6 else Path("/"), Path("/")]
    found = [beam for root in roots for beam in root.glob("usr/lib/erlang/erts-*/bin/beam.smp")]
    return str(found[0]) if found else "/bin/sh"


def address(ports, _is_secure):
    return f"amqp://guest:guest@127.0.0.1:{ports[0]}/%2f"


def access(_folder):
    return {}


def answers(port, _ports, _folder):
    """Whether it takes a client: it opens its port last."""
    with contextlib.suppress(OSError, EOFError), connected(port) as connection:
        connection.sendall(HELLO)
        return receive(connection, 1) == METHOD_FRAME
    return False

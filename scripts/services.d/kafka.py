"""Kafka: brokers that are also the controllers (KRaft)."""

import base64
import os
import shutil
import string
import struct
import subprocess
import uuid
from pathlib import Path

import rights
import secret
from cache import HERE, Failure, client, fetched, is_fetched, last_lines
from probe import ask

VERSION = "4.3.1"  # as in pom.xml
FOLDER = f"kafka-{VERSION}"

# On 2 cores the serial collector costs a tenth less CPU than G1 and 65 MB less memory, at the same
# throughput. Without the C2 compiler (TieredStopAtLevel=1) the broker starts 0.3 s sooner, but then
# costs 35 % more CPU in bulk and up to 60 % more with small batches: right for formatting, and for
# several brokers, which are killed and started again more often than they are kept busy.
QUICK_START = ["-XX:TieredStopAtLevel=1"]
JVM = ["-Xms256m", "-Xmx768m", "-XX:+UseSerialGC"]
JVM_OF_SEVERAL = ["-Xms128m", "-Xmx400m", "-XX:+UseSerialGC", *QUICK_START]


def needs():
    if os.environ.get("KAFKA_HOME") or is_fetched(FOLDER):
        return ["java"]
    return ["java", "maven"]


def find():
    """Java, and a class path for it."""
    return java(), f"{find_libraries()}/*"


def java():
    home = os.environ.get("JAVA_HOME")
    return f"{home}/bin/java" if home else shutil.which("java")


def find_libraries():
    home = os.environ.get("KAFKA_HOME")
    if not home:
        return fetched(FOLDER, f"Kafka {VERSION} from Maven", fetch) / "libs"
    libraries = Path(home).absolute() / "libs"
    if not list(libraries.glob("kafka_*.jar")):
        raise Failure(f"KAFKA_HOME is {home}, but there is no Kafka in {libraries}: mend or unset it.")
    return libraries


def fetch(folder):
    jars(HERE / "pom.xml", folder, "unpack a release of Kafka (3.9 or later) and set KAFKA_HOME to its folder.")


def jars(pom, folder, otherwise):
    """What `pom` depends on, into `libs` of the folder; `otherwise` is what the user may do if that fails."""
    client(["mvn", "-B", "-q", "-f", pom, "dependency:copy-dependencies",
            "-DincludeScope=runtime", f"-DoutputDirectory={folder}/libs"],
           "Look at the network and at Maven's settings (~/.m2/settings.xml: a mirror, a proxy) and\n"
           f"try again, or {otherwise}",
           cwd=folder)


def plan(program, folders, ports, folder_of_secrets):
    """One broker for each folder."""
    java, classpath = program
    chosen = [[next(ports) for _ in range(4)] for _ in folders]
    replication = min(len(folders), 3)
    template = (HERE / "server.properties").read_text()
    if folder_of_secrets:
        template += (HERE / "secure.properties").read_text()
    services = []
    for node, (data, (port, controller_port, proxied_port, proxy_port)) in enumerate(zip(folders, chosen), 1):
        settings = data / "server.properties"
        settings.write_text(string.Template(template).substitute(
            secrets=folder_of_secrets, admin=secret.ADMIN,
            password=folder_of_secrets and secret.password(folder_of_secrets, secret.ADMIN),
            node=node, port=port, controller_port=controller_port, data=data,
            proxied_port=proxied_port, proxy_port=proxy_port,
            voters=",".join(f"{other}@127.0.0.1:{controller}"
                            for other, (_, controller, *_) in enumerate(chosen, 1)),
            replication=replication, min_insync=min(replication, 2)))
        jvm = JVM if len(folders) == 1 else JVM_OF_SEVERAL
        argv = [java, *jvm, f"-Dlog4j2.configurationFile={HERE}/log4j2.properties",
                "-cp", classpath, "kafka.Kafka", str(settings)]
        wire = {} if folder_of_secrets else {"wire": {"from": proxy_port, "to": proxied_port}}
        services.append({"port": port, "argv": argv, "env": {}, **wire})
    return services


def address(ports, _is_secure):
    return ",".join(f"127.0.0.1:{port}" for port in ports)


def access(folder):
    """What a process is told beside the address."""
    if not folder:
        return {}
    return {"TLS": "true", "CA": f"{folder}/ca.pem", "CERTIFICATE": f"{folder}/client.crt",
            "KEY": f"{folder}/client.key", "SASL": "scram-sha-512"}


def admit(service, folder):
    """Give the processes their rights; `prepare` has made the users."""
    java, *options, _, _ = service["argv"]
    admin = folder / "admin.properties"
    admin.write_text(
        "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\n"
        f"ssl.truststore.type=PEM\nssl.truststore.location={folder}/ca.pem\n"
        f"ssl.keystore.type=PEM\nssl.keystore.location={folder}/client.pem\n"
        "sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required "
        f"username=\"{secret.ADMIN}\" password=\"{secret.password(folder, secret.ADMIN)}\";\n")
    command = [java, *QUICK_START, *options, "org.apache.kafka.tools.AclCommand",
               "--bootstrap-server", f"127.0.0.1:{service['port']}", "--command-config", str(admin), "--add"]
    # The end-to-end tests' topics and groups begin with the name of the test.
    tested = [rights.TESTED]
    calls = rights.kafka(tested, tested, "prefixed", table_topics=tested, table_groups=tested)
    with open(service["log"], "ab") as log:
        running = [subprocess.Popen([*command, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
                   for arguments in calls]
        if any([process.wait() for process in running]):
            text = Path(service["log"]).read_text(errors="replace")
            raise Failure(f"kafka-acls failed; the end of the broker's log:\n{last_lines(text, 20)}")


def prepare(services, folder_of_secrets):
    """Format the storage of those that are new, side by side: without it a broker does not start.
    Returns one for which that failed, or None."""
    new = [service for service in services if not Path(service["data"], "log").exists()]
    formats = [(service, format_storage(service, folder_of_secrets)) for service in new]
    failed = [service for service, process in formats if process.wait() != 0]
    return failed[0] if failed else None


def format_storage(service, folder_of_secrets):
    java, *options, _, settings = service["argv"]
    # The same for every broker of these services, and for no others.
    folder = os.path.dirname(service["data"])
    cluster = base64.urlsafe_b64encode(uuid.uuid5(uuid.NAMESPACE_URL, folder).bytes).decode()
    with open(service["log"], "ab") as log:
        return subprocess.Popen([java, *QUICK_START, *options, "kafka.tools.StorageTool", "format",
                                 f"--cluster-id={cluster.rstrip('=')}", f"--config={settings}",
                                 *users(folder_of_secrets)],
                                stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def users(folder):
    if not folder:
        return []
    everybody = [secret.ADMIN, rights.PRODUCER, rights.CONSUMER, rights.TABLES]
    return [f"--add-scram=SCRAM-SHA-512=[name={user},password={secret.password(folder, user)}]"
            for user in everybody]


def answers(port, ports, folder):
    """Whether it lists all the brokers that run when it is asked for its metadata; with secrets, which it
    does not tell to strangers, whether it says which calls it knows."""
    if folder:
        request = struct.pack(">hhih", 18, 0, 1, -1)  # ApiVersions, version 0
        framed = struct.pack(">i", len(request)) + request
        return ask(port, framed, ">i", length_counts_itself=False, tls=secret.tls(folder)) is not None
    # Metadata, version 0, correlation id 1, no client id, and no topics listed, which means all.
    request = struct.pack(">hhihi", 3, 0, 1, -1, 0)
    reply = ask(port, struct.pack(">i", len(request)) + request, ">i", length_counts_itself=False)
    return reply is not None and listed(reply) >= set(ports)


def listed(reply):
    """The ports of the brokers in a reply: for each its id, its host and its port."""
    _correlation, brokers = struct.unpack_from(">ii", reply)
    at, ports = 8, set()
    for _ in range(brokers):
        _node, length = struct.unpack_from(">ih", reply, at)
        ports.add(*struct.unpack_from(">i", reply, at + 6 + length))
        at += 10 + length
    return ports

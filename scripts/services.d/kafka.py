"""One Kafka broker that is its own controller (KRaft)."""

import base64
import os
import shutil
import string
import struct
import subprocess
import uuid
from pathlib import Path

from cache import HERE, Failure, client, fetched, is_fetched
from probe import ask

VERSION = "4.3.1"  # as in pom.xml
FOLDER = f"kafka-{VERSION}"

# On 2 cores the serial collector costs a tenth less CPU than G1 and 65 MB less memory, at the same
# throughput. Without the C2 compiler (TieredStopAtLevel=1) the broker starts 0.3 s sooner, but then
# costs 35 % more CPU in bulk and up to 60 % more with small batches: right for formatting only.
JVM = ["-Xms256m", "-Xmx768m", "-XX:+UseSerialGC"]
FORMAT_JVM = ["-XX:TieredStopAtLevel=1"]


def needs():
    if os.environ.get("KAFKA_HOME") or is_fetched(FOLDER):
        return ["java"]
    return ["java", "maven"]


def find():
    """Java, and a class path for it."""
    home = os.environ.get("JAVA_HOME")
    java = f"{home}/bin/java" if home else shutil.which("java")
    return java, f"{find_libraries()}/*"


def find_libraries():
    home = os.environ.get("KAFKA_HOME")
    if not home:
        return fetched(FOLDER, f"Kafka {VERSION} from Maven", fetch) / "libs"
    libraries = Path(home).absolute() / "libs"
    if not list(libraries.glob("kafka_*.jar")):
        raise Failure(f"KAFKA_HOME is {home}, but there is no Kafka in {libraries}: mend or unset it.")
    return libraries


def fetch(folder):
    client(["mvn", "-B", "-q", "-f", HERE / "pom.xml", "dependency:copy-dependencies",
            "-DincludeScope=runtime", f"-DoutputDirectory={folder}/libs"],
           "Look at the network and at Maven's settings (~/.m2/settings.xml: a mirror, a proxy) and\n"
           "try again, or unpack a release of Kafka (3.9 or later) and set KAFKA_HOME to its folder.",
           cwd=folder)


def plan(program, data, ports):
    java, classpath = program
    port, controller_port = next(ports), next(ports)
    template = string.Template((HERE / "server.properties").read_text())
    settings = data / "server.properties"
    settings.write_text(template.substitute(port=port, controller_port=controller_port, data=data))
    argv = [java, *JVM, f"-Dlog4j2.configurationFile={HERE}/log4j2.properties",
            "-cp", classpath, "kafka.Kafka", str(settings)]
    return {"port": port, "argv": argv, "env": {}}


def prepare(service):
    """Format the storage, without which a broker does not start. Returns whether it worked."""
    if Path(service["data"], "log").exists():
        return True
    java, *options, _, settings = service["argv"]
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    with open(service["log"], "ab") as log:
        done = subprocess.run([java, *FORMAT_JVM, *options, "kafka.tools.StorageTool", "format",
                               "--standalone", f"--cluster-id={cluster}", f"--config={settings}"],
                              stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    return done.returncode == 0


def answers(port):
    """Whether it lists a broker when it is asked for its metadata."""
    # Metadata, version 0, correlation id 1, no client id, and no topics listed, which means all.
    request = struct.pack(">hhihi", 3, 0, 1, -1, 0)
    reply = ask(port, struct.pack(">i", len(request)) + request, ">i", length_counts_itself=False)
    if reply is None:
        return False
    _correlation, brokers = struct.unpack(">ii", reply[:8])
    return brokers > 0

"""What scripts/rights says of Kafka as a shell script, with the users' passwords from files.

    python3 kafka_commands.py AGUACERO_TOML FOLDER_OF_PASSWORDS TARGET_FOLDER

Writes commands.sh, and for each user a file with its password, which so is on no command line. Where there is a password of the
console, an operator may act through it; where there are those of `tables` and `guild`, these run."""

import shlex
import sys
import tomllib
from pathlib import Path

import rights

CALL = 'java $JVM_OPTIONS -cp "/opt/kafka/libs/*"'
WHERE = "--bootstrap-server aguacero-kafka-bootstrap:9093 --command-config /etc/kafka/admin.properties"


def main(configuration, passwords, target):
    config = tomllib.loads(Path(configuration).read_text("utf-8"))
    streams = config["streams"].values()
    topics = sorted({stream["topic"] for stream in streams})
    group = config.get("consumer", {}).get("group", "aguacero-archive")
    operator, tables, guild = (Path(passwords, user).exists() for user in (rights.CONSOLE, rights.TABLES, rights.GUILD))
    tables_topics = sorted({stream["topic"] for stream in streams if tables and "table" in stream})
    tables_group = config.get("tables", {}).get("group", "aguacero-tables")
    lines = []
    for user in (rights.PRODUCER, rights.CONSUMER, *([rights.CONSOLE] if operator else []), *([rights.TABLES] if tables else []),
                 *([rights.GUILD] if guild else [])):
        password = Path(passwords, user).read_text("utf-8").rstrip("\r\n")
        Path(target, user).write_text(f"SCRAM-SHA-512=password={password}\n")
        lines.append(f"{CALL} kafka.admin.ConfigCommand {WHERE} --alter --entity-type users --entity-name {user} "
                     f"--add-config-file /work/{user}")
    for arguments in rights.kafka(topics, [group], operator=operator, table_topics=tables_topics, table_groups=[tables_group], guild=guild):
        lines.append(f"{CALL} org.apache.kafka.tools.AclCommand {WHERE} --add {shlex.join(arguments)}")
    Path(target, "commands.sh").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

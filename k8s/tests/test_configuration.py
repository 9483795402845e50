"""The cluster's configuration is that of the files for everybody, and Kafka's topics and users are those of the configuration."""

import re
import subprocess
import sys
import tempfile
import tomllib
import unittest
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))

from manifests import K8S, ROOT, of_kind  # noqa: E402


class Configuration(unittest.TestCase):
    def test_the_cluster_has_the_streams_of_the_top_level_file(self):
        ours, top = (tomllib.loads(path.read_text("utf-8")) for path in (K8S / "base" / "aguacero.toml", ROOT / "aguacero.toml"))
        self.assertEqual(ours["streams"], top["streams"])
        self.assertEqual(set(ours["topics"]), set(top["topics"]))
        for name, topic in ours["topics"].items():
            self.assertEqual(topic["partitions"], top["topics"][name]["partitions"])
            self.assertEqual((topic["replication"], topic["min_insync"]), (3, 2))

    def test_the_votes_are_those_of_the_example_and_the_rest_that_of_the_base(self):
        votes, base, example = (tomllib.loads(path.read_text("utf-8")) for path in (
            K8S / "components" / "votes" / "aguacero.toml", K8S / "base" / "aguacero.toml", ROOT / "examples" / "votes.toml"))
        stream, topic = votes["streams"].pop("votes"), votes["topics"].pop("votes")
        self.assertEqual(votes, base)
        self.assertEqual(stream.pop("access"), "open")
        example["streams"]["votes"].pop("access", None)
        self.assertEqual(stream, example["streams"]["votes"])
        self.assertEqual(topic, {**base["topics"]["messages"], "partitions": example["topics"]["votes"]["partitions"]})

    def test_the_guild_is_that_of_the_example_and_the_rest_that_of_the_base(self):
        guild, base, example = (tomllib.loads(path.read_text("utf-8")) for path in (
            K8S / "components" / "guild" / "aguacero.toml", K8S / "base" / "aguacero.toml", ROOT / "examples" / "guild.toml"))
        streams, topics = ({name: guild[kind].pop(name) for name in example[kind]} for kind in ("streams", "topics"))
        for table in ("postgres", "tables"):
            self.assertTrue(guild.pop(table))
        self.assertEqual(guild["console"].pop("tables_admin"), "tables:9186")
        self.assertEqual(guild, base)
        for stream in streams.values():
            self.assertEqual(stream.pop("access"), "open")
        self.assertEqual(streams, example["streams"])
        self.assertEqual(topics, {name: {**base["topics"]["messages"], **topic} for name, topic in example["topics"].items()})

    def test_strimzis_topics_and_users_of_the_components_are_those_of_the_configuration(self):
        votes, guild = (K8S / "components" / name / "aguacero.toml" for name in ("votes", "guild"))
        for overlay, file, options in (("gke-votes", votes, []), ("gke-operator", votes, ["--operator"]), ("gke-guild", guild, ["--guild"]),
                                       ("gke-guild-operator", guild, ["--guild", "--operator"])):
            for kind, name in (("topics", "KafkaTopic"), ("users", "KafkaUser")):
                made = subprocess.run([ROOT / "scripts" / "strimzi", kind, file, *options], text=True, stdout=subprocess.PIPE, check=True)
                wanted = {each["metadata"]["name"]: each["spec"] for each in yaml.safe_load_all(made.stdout)}
                self.assertEqual({each["metadata"]["name"]: each["spec"] for each in of_kind(overlay, name)}, wanted)

    def test_strimzis_topics_and_users_are_those_of_the_configuration(self):
        for kind in ("topics", "users"):
            made = subprocess.run([ROOT / "scripts" / "strimzi", kind], text=True, stdout=subprocess.PIPE, check=True).stdout
            kept = (K8S / "overlays" / "gke" / "kafka" / f"{kind}.yaml").read_text()
            self.assertEqual(kept, made, f"mend it: scripts/strimzi {kind} > k8s/overlays/gke/kafka/{kind}.yaml")

    def test_strimzis_topics_may_have_any_name_of_kafka(self):
        names = ["123", "1e3", "0x10", "no", "true", "Null", "_x", "a.", "-y-", "A_b.C"]
        status, made, told = strimzi("topics", "".join(f'[topics."{name}"]\npartitions = 1\n' for name in names))
        self.assertEqual((status, told), (0, ""))
        resources = list(yaml.safe_load_all(made))
        self.assertEqual([each["spec"].get("topicName", each["metadata"]["name"]) for each in resources], names)
        for each in resources:
            self.assertRegex(each["metadata"]["name"], r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")

    def test_what_strimzi_cannot_have_is_told_and_nothing_is_printed(self):
        for kind, text, words in [("topics", "[topics.a_b]\npartitions = 1\n[topics.a-b]\npartitions = 1", "a_b and a-b"),
                                  ("topics", "[topics.a]", "'partitions' is missing"), ("topics", "[topics", "Expected ']'"),
                                  ("users", "", "'streams' is missing"), ("topcs", "", "scripts/strimzi topics")]:
            status, made, told = strimzi(kind, text)
            self.assertEqual((status, made), (1, ""))
            self.assertIn(words, told)
            self.assertNotIn("Traceback", told)

    def test_strimzis_topics_have_every_setting_that_our_processes_give(self):
        source = (ROOT / "core" / "src" / "kafka" / "topics.rs").read_text()
        body = source[source.index("fn settings_of_new"):]
        ours = set(re.findall(r'"([a-z]+(?:\.[a-z]+)+)"', body[:body.index("\n}\n")]))
        topic, = of_kind("gke", "KafkaTopic")
        self.assertEqual(set(topic["spec"]["config"]) | {"retention.bytes"}, ours)


def strimzi(kind, configuration):
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(configuration)
        file.flush()
        done = subprocess.run([ROOT / "scripts" / "strimzi", kind, file.name], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return done.returncode, done.stdout, done.stderr


if __name__ == "__main__":
    unittest.main()

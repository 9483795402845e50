"""What scripts/cluster decides by itself. Run with: python3 -m unittest discover scripts/lib"""

import dataclasses
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

SCRIPTS = Path(__file__).resolve().parents[1]
sys.path += [str(SCRIPTS / "cluster.d"), str(SCRIPTS / "services.d"), str(SCRIPTS.parent / "locust")]

import apps  # noqa: E402
import build  # noqa: E402
import guild_stores  # noqa: E402
import kubectl  # noqa: E402
import monitoring  # noqa: E402
import node  # noqa: E402
import run  # noqa: E402
import stores  # noqa: E402


class Programs(unittest.TestCase):
    group = build.Group(requires=["example.org/tool@v1.0.0"], programs={"tool": "example.org/tool/cmd/tool"})

    def test_what_is_built_from_something_else_is_kept_under_another_name(self):
        before = build.inputs_hash(self.group)
        self.assertEqual(before, build.inputs_hash(dataclasses.replace(self.group)))
        for change in ({"requires": ["example.org/tool@v1.0.1"]}, {"tags": "small"}, {"go": "1.27.0"},
                       {"values": {"main.version": "1"}}, {"extra": "replace a => b v1\n"}, {"is_kubernetes": True},
                       {"programs": {"tool": "example.org/tool"}}):
            self.assertNotEqual(before, build.inputs_hash(dataclasses.replace(self.group, **change)), change)

    def test_a_source_of_ours_that_changes_is_built_again(self):
        with tempfile.TemporaryDirectory() as name, mock.patch.object(build, "HERE", Path(name)):
            Path(name, "own").mkdir()
            Path(name, "own", "main.go").write_text("package main")
            group = dataclasses.replace(self.group, sources=["own"])
            before = build.inputs_hash(group)
            Path(name, "own", "main.go").write_text("package main // changed")
            self.assertNotEqual(before, build.inputs_hash(group))

    def test_a_program_is_called_as_go_calls_it(self):
        for package, name in [("k8s.io/kubernetes/cmd/kubelet", "kubelet"), ("go.etcd.io/etcd/server/v3", "server"),
                              ("./coredns", "coredns"), ("helm.sh/helm/v3/cmd/helm", "helm")]:
            self.assertEqual(build.built_name(package), name)

    def test_kubernetes_takes_its_parts_from_where_they_are_published(self):
        with tempfile.TemporaryDirectory() as name, mock.patch.object(build, "module_folder", return_value=name):
            Path(name, "go.mod").write_text("module k8s.io/kubernetes\n\ngo 1.24.0\n\ngodebug default=go1.24\n\nreplace (\n"
                                            "\tk8s.io/api => ./staging/src/k8s.io/api\n"
                                            "\texample.org/else => example.org/fork v1.0.0\n)\n")
            text = build.kubernetes_go_mod(Path(name))
        _, minor, patch = build.KUBERNETES.split(".")
        self.assertIn(f"\tk8s.io/api => k8s.io/api v0.{minor}.{patch}\n", text)
        self.assertIn("\ngo 1.24.0\ngodebug default=go1.24\n", text)
        self.assertNotIn("example.org", text)


def pod(*containers, phase="Running", ready=False, conditions=()):
    return {"metadata": {"name": "gateway-1"},
            "status": {"phase": phase, "containerStatuses": list(containers),
                       "conditions": [{"type": "Ready", "status": str(ready)}, *conditions]}}


def container(name="gateway", ready=False, **states):
    return {"name": name, "ready": ready, "state": {key: value for key, value in states.items() if key != "before"},
            "lastState": {"terminated": states["before"]} if "before" in states else {}}


class Troubles(unittest.TestCase):
    def test_what_is_well_or_has_succeeded_is_not_told(self):
        self.assertEqual(kubectl.troubles(pod(container(ready=True, running={}), ready=True)), [])
        self.assertEqual(kubectl.troubles(pod(phase="Succeeded")), [])

    def test_an_image_that_is_missing(self):
        waiting = {"reason": "ErrImageNeverPull", "message": "Container image is not present"}
        self.assertEqual(kubectl.troubles(pod(container(waiting=waiting))),
                         [("gateway", "ErrImageNeverPull: Container image is not present")])

    def test_a_container_that_ends_again_and_again(self):
        looping = container(waiting={"reason": "CrashLoopBackOff"}, before={"exitCode": 2, "reason": "Error"})
        self.assertEqual(kubectl.troubles(pod(looping)),
                         [("gateway", "CrashLoopBackOff; before that, ended with status 2 (Error)")])

    def test_those_behind_the_one_that_does_not_start_are_not_told(self):
        first = container("users", running={})
        behind = container("redis", waiting={"reason": "PodInitializing"})
        self.assertEqual(kubectl.troubles(pod(first, behind)), [("users", "runs, but is not ready")])

    def test_a_pod_that_no_node_takes(self):
        unscheduled = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: insufficient cpu"}
        self.assertEqual(kubectl.troubles(pod(phase="Pending", conditions=[unscheduled])),
                         [(None, "0/1 nodes are available: insufficient cpu")])


class Rollouts(unittest.TestCase):
    def workload(self, wanted, **status):
        return {"metadata": {"name": "gateway", "generation": 2}, "spec": {"replicas": wanted},
                "status": {"observedGeneration": 2, **status}}

    def test_only_what_is_as_its_template_says_and_ready_is_rolled_out(self):
        self.assertTrue(run.is_rolled_out(self.workload(2, updatedReplicas=2, readyReplicas=2)))
        self.assertFalse(run.is_rolled_out(self.workload(2, updatedReplicas=1, readyReplicas=2)))
        self.assertFalse(run.is_rolled_out(self.workload(2, updatedReplicas=2, readyReplicas=1)))
        self.assertFalse(run.is_rolled_out(self.workload(2, updatedReplicas=2, readyReplicas=2, observedGeneration=1)))
        self.assertFalse(run.is_rolled_out(self.workload(2)))


class Apps(unittest.TestCase):
    def test_each_has_an_overlay_with_and_without_keda(self):
        for app in apps.APPS.values():
            for status, end in ((0, "-keda"), (1, "")):
                with mock.patch.object(run, "attempt", return_value=mock.Mock(returncode=status)):
                    overlay = run.overlay_of(None, app)
                self.assertTrue((overlay / "kustomization.yaml").exists(), overlay)
                self.assertTrue(overlay.name.endswith(end))

    def test_only_the_images_of_its_processes_are_built(self):
        weather = ["kafka-producer", "redis-writer", "consumer", "gateway", "console"]
        self.assertEqual(run.images_of(apps.APPS["weather"]), weather)
        self.assertEqual(run.images_of(apps.APPS["guild"]), [*weather, "guild"])

    def test_only_an_app_with_tables_has_postgresql(self):
        self.assertEqual([app.name for app in apps.APPS.values() if "postgres" in run.stores_of(app)], ["guild"])

    def test_what_it_is_called_and_where_it_goes_is_checked(self):
        for variables, words in (({"APP": "vote"}, "should be one of"), ({"ROUTES": "votes"}, "begin with a slash"),
                                 ({"APP": "guild", "ROUTES": "/ventas"}, "leave ROUTES out")):
            with mock.patch.dict(run.os.environ, variables), self.assertRaisesRegex(run.Failure, words):
                run.chosen()
        with mock.patch.dict(run.os.environ, {"APP": "votes", "ROUTES": "/votes/wasm"}):
            self.assertEqual(run.chosen(), (apps.APPS["votes"], "/votes/wasm"))
        with mock.patch.dict(run.os.environ, {"APP": "guild", "ROUTES": ""}):
            self.assertEqual(run.chosen(), (apps.APPS["guild"], ""))

    def test_its_paths_are_those_of_its_routes_or_streams(self):
        self.assertEqual([run.paths(app) for app in apps.APPS.values()], [
            ["/input"], ["/votes/grpc", "/votes/wasm"], ["/miembros", "/ventas", "/reportes", "/ubicaciones"]])


class Stored(unittest.TestCase):
    stream = {"routes": {"/votes/grpc": "grpc", "/votes/wasm": "wasm"}}

    def stored(self, *answers, stream=stream, accepted=10):
        answers = [[({"container": name}, float(count)) for name, count in answer.items()] for answer in answers]
        with mock.patch.object(monitoring, "ask", side_effect=answers), mock.patch.object(monitoring, "POLL_SECONDS", 0):
            return monitoring.stored(None, stream, accepted)

    def test_it_waits_until_prometheus_has_seen_all(self):
        found = self.stored({"kafka-producer": 3}, {"kafka-producer": 6, "wasm-producer": 4})
        self.assertEqual(found, {"grpc": ("kafka-producer", 6), "wasm": ("wasm-producer", 4)})

    def test_what_is_never_seen_is_told_as_it_is(self):
        with mock.patch.object(monitoring, "SEEN_SECONDS_MAX", 0):
            self.assertEqual(self.stored({"kafka-producer": 3}), {"grpc": ("kafka-producer", 3), "wasm": ("wasm-producer", 0)})

    def test_where_there_is_one_producer_nobody_is_asked(self):
        self.assertEqual(self.stored(stream={"routes": {"/input": "grpc"}}), {})


class Answers(unittest.TestCase):
    def test_redis(self):
        self.assertEqual(stores.parse_redis('{"events":"12"}\n{}\n{"Perú":"7",\n"Chile":"3"}\n'),
                         [{"events": 12}, {}, {"Perú": 7, "Chile": 3}])
        self.assertEqual(stores.parse_redis("{}\n{}\n{}\n"), [{}, {}, {}])

    def test_kafka(self):
        self.assertEqual(stores.parse_offsets("messages:0:10\nsome warning: 7\nmessages:1:5\n", "messages"), {0: 10, 1: 5})


class Guild(unittest.TestCase):
    """What is asked of Kafka and PostgreSQL for the guild's day."""

    def test_records_are_whole_whatever_their_header_has(self):
        header = b"aguacero:\x01\x1e\n\t:\xff\x06ventas"
        record = guild_stores.PART.encode().join([b"CreateTime:1700000000123", b"Partition:1", b"Offset:42", header, b"other:x", b'{"a": "\xc3\xb1"}'])
        self.assertEqual(guild_stores.parse_records(2 * (record + guild_stores.RECORD.encode())),
                         2 * [(1, 42, 1700000000123, header.removeprefix(b"aguacero:"), b'{"a": "\xc3\xb1"}')])

    def test_rows_are_as_the_calculation_has_them(self):
        columns = [{"name": "id", "type": "uuid"}, {"name": "visto", "type": "timestamptz"}, {"name": "ubicacion", "type": "point"},
                   {"name": "stock", "type": "integer"}, {"name": "otra", "type": "point"}]
        asked = mock.Mock(ask=mock.Mock(return_value='["7a", 1700000000123, "(-33.45,-70.66)", 5, null]\n'))
        self.assertEqual(guild_stores.rows(asked, "s.carritos", columns), [("7a", 1700000000123, (-33.45, -70.66), 5, None)])
        query = asked.ask.call_args.args[2][-1]
        self.assertEqual(query, 'SELECT json_build_array("id", round(extract(epoch FROM "visto") * 1000)::bigint, "ubicacion", "stock", "otra") '
                                "FROM s.carritos")

    def test_who_has_not_read_all_is_told(self):
        declared = {"tables_group": "aguacero-tables", "streams": [{"name": "ventas", "topic": "ventas"}, {"name": "miembros", "topic": "miembros"}]}
        read = [["aguacero-tables", "ventas", 0, 5], ["aguacero-tables", "miembros", 0, 3], ["aguacero-daily-sales", "ventas", 0, 5],
                ["aguacero-daily-sales", "miembros", 0, 2], ["aguacero-stock", "ventas", 0, 5]]
        asked = mock.Mock(ask=mock.Mock(return_value="\n".join(map(str, read)).replace("'", '"')),
                          offsets=lambda topic, _: {"ventas": {0: 5, 1: 0}, "miembros": {0: 3}}[topic])
        self.assertEqual(list(guild_stores.unread(asked, declared)), ["aguacero-daily-sales has read 2 of 3 in miembros/0"])


class Ports(unittest.TestCase):
    def test_a_port_is_below_those_of_outgoing_connections(self):
        self.assertIn(node.free_port(), node.PORTS)


if __name__ == "__main__":
    unittest.main()

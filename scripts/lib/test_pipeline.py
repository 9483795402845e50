"""What starting and stopping the processes promises. Run with: python3 -m unittest discover scripts/lib"""

import socket
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import pipeline
from pipeline import Failure, Pipeline

READY = """
import http.server, os, signal, sys
name = sys.argv[0].rpartition("/")[2].upper().replace("-", "_")
if "apply" in sys.argv: sys.exit(os.environ.get("APPLY"))
if os.environ.get("STUBBORN"): signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.environ.get("BROKEN") == name: sys.exit("no such topic")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self): self.send_response(200); self.end_headers()
told = dict(zip(sys.argv, sys.argv[1:]))
host, port = (told.get("--admin") or os.environ[f"AGUACERO_{name}_ADMIN"]).split(":")
http.server.HTTPServer((host, int(port)), Handler).serve_forever()
"""


class Processes(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        states = mock.patch.object(pipeline, "STATES", Path(folder.name, "states"))
        states.start()
        self.addCleanup(states.stop)
        self.pipeline = Pipeline.plan("test")
        self.programs = {process: self.program(Path(folder.name, process)) for process in self.pipeline.processes}
        self.addCleanup(lambda: self.pipeline.stop())

    def program(self, path, first=""):
        path.write_text(f"#!{sys.executable}\n{first}\n{READY}")
        path.chmod(0o755)
        return path

    def test_all_are_ready_and_a_stop_leaves_nothing(self):
        self.pipeline.start(self.programs, {})
        self.pipeline.wait_ready()
        self.assertTrue(self.pipeline.all_alive())
        self.pipeline.stop()
        self.assertFalse(any(map(self.pipeline.is_alive, self.pipeline.processes)))
        self.assertFalse(self.pipeline.folder.exists())
        self.assertIsNone(Pipeline.load("test"))

    def test_what_a_killed_demo_left_is_found_and_stopped_by_the_next(self):
        self.pipeline.start(self.programs, {})
        found = Pipeline.load("test")
        self.assertTrue(found.all_alive())
        found.stop()
        self.assertFalse(self.pipeline.all_alive())

    def test_logs_that_are_kept_are_known_to_the_next_stop(self):
        self.pipeline.start(self.programs, {})
        self.pipeline.stop(keep_logs=True)
        self.assertFalse(any(map(self.pipeline.is_alive, self.pipeline.processes)))
        self.assertTrue(self.pipeline.folder.exists())
        Pipeline.load("test").stop()
        self.assertFalse(self.pipeline.folder.exists())

    def test_a_route_by_wasm_brings_the_wasm_producer_and_what_it_is_to_run(self):
        self.assertNotIn("wasm-producer", self.pipeline.processes)
        self.assertFalse([name for name in self.pipeline.environment() if "WASM" in name])
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder, "both.toml")
            config.write_text((pipeline.ROOT / "aguacero.toml").read_text()
                              + '\n[[streams.weather.routes]]\npath = "/input/wasm"\nvia = "wasm"\n')
            both = Pipeline.plan("both", config)
        self.addCleanup(both.stop)
        self.assertEqual(list(both.processes)[:2], ["kafka-producer", "wasm-producer"])
        found = {name: value for name, value in both.environment().items() if "WASM" in name}
        self.assertEqual(found, {
            "AGUACERO_WASM_PRODUCER_ADMIN": both.processes["wasm-producer"]["admin"],
            "AGUACERO_WASM_PRODUCER_SOCKET": f"{both.folder}/wasm-producer.sock",
            "AGUACERO_WASM_PRODUCER_MODULE": str(pipeline.MODULE),
            "AGUACERO_WASM_PRODUCER_SHA256_FILE": f"{pipeline.MODULE}.sha256",
        })

    def with_tables(self):
        """The weather with a table, and where its programs are."""
        folder = Path(self.folder)
        config = folder / "tables.toml"
        config.write_text((pipeline.ROOT / "aguacero.toml").read_text() + "\n[streams.weather.table]\ncolumns = []\n")
        planned = Pipeline.plan("tables", config)
        self.addCleanup(planned.stop)
        return planned, {process: self.program(folder / process) for process in planned.processes}

    def test_tables_are_made_before_the_process_that_fills_them_is_started(self):
        self.assertNotIn("tables", self.pipeline.processes)
        planned, programs = self.with_tables()
        planned.start(programs, {})
        planned.wait_ready()
        self.assertTrue(planned.is_alive("tables"))
        self.assertEqual(planned.environment()["AGUACERO_TABLES_ADMIN"], planned.processes["tables"]["admin"])
        told = Path(f"/proc/{planned.processes['tables']['pid']}/cmdline").read_text().split("\0")
        self.assertIn(["tables", "run"], [told[at:at + 2] for at in range(len(told))])

    def test_where_tables_cannot_be_made_nothing_is_started_and_the_reason_is_told(self):
        planned, programs = self.with_tables()
        with self.assertRaisesRegex(Failure, "would lose data"):
            planned.start(programs, {"APPLY": "would lose data"})
        self.assertFalse(any(map(planned.is_alive, planned.processes)))

    def test_one_that_is_started_later_has_an_output_of_its_own_and_is_stopped_with_the_others(self):
        self.pipeline.start(self.programs, {})
        program = self.program(Path(self.folder, "stock"), 'print("reparto 1", flush=True)')
        self.pipeline.launch_more("stock", [program], {})
        self.pipeline.wait_ready(["stock"])
        self.assertEqual(self.pipeline.output("stock").read_text(), "reparto 1\n")
        self.assertFalse([name for name in self.pipeline.environment() if "STOCK" in name])
        found = Pipeline.load("test")
        self.assertTrue(found.is_alive("stock"))
        found.stop()
        self.assertFalse(self.pipeline.is_alive("stock"))

    def test_what_a_producer_has_stored_is_read_from_its_metrics(self):
        text = ('# TYPE aguacero_producer_records_total counter\naguacero_producer_records_total{outcome="failed"} 2\n'
                'aguacero_producer_records_total{outcome="stored"} 5000\n')
        self.assertEqual(pipeline.counted(text, pipeline.STORED), 5000)
        self.assertIsNone(pipeline.counted("", pipeline.STORED))
        self.assertIsNone(self.pipeline.stored("kafka-producer"))

    def test_a_process_that_ignores_the_signal_is_killed(self):
        self.pipeline.start(self.programs, {"STUBBORN": "1"})
        self.pipeline.wait_ready()
        with mock.patch.object(pipeline, "DRAIN_SECONDS_MAX", 0.2):
            self.pipeline.stop()
        self.assertFalse(any(map(self.pipeline.is_alive, self.pipeline.processes)))

    def test_a_process_that_ends_is_named_with_the_end_of_its_log(self):
        self.pipeline.start(self.programs, {"BROKEN": "CONSUMER"})
        with self.assertRaisesRegex(Failure, "(?s)consumer.*no such topic"):
            self.pipeline.wait_ready()

    def test_a_pid_that_was_given_to_another_process_is_not_touched(self):
        other = subprocess.Popen(["sleep", "60"])
        self.addCleanup(other.wait)
        self.addCleanup(other.kill)
        self.pipeline.processes["gateway"].update(pid=other.pid, born="1")
        self.pipeline.stop()
        self.assertIsNone(other.poll())

    def test_a_port_that_is_taken_is_refused(self):
        with self.assertRaisesRegex(Failure, "PORT="):
            with socket.socket() as taken:
                taken.bind(("127.0.0.1", 0))
                taken.listen()
                pipeline.check_listen(f"127.0.0.1:{taken.getsockname()[1]}")

    def test_the_url_is_one_that_a_client_can_use(self):
        for listen, scheme, url in [
            ("127.0.0.1:8080", "http", "http://127.0.0.1:8080"),
            ("0.0.0.0:8443", "https", "https://127.0.0.1:8443"),
            ("[::]:8443", "https", "https://[::1]:8443"),
        ]:
            self.pipeline.state.update(listen=listen)
            self.pipeline.state["declared"].update(scheme=scheme)
            self.assertEqual(self.pipeline.url, url)

    def test_an_admin_port_that_is_taken_is_replaced(self):
        with socket.socket() as taken, mock.patch.object(pipeline, "say") as said:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            wanted = taken.getsockname()[1]
            self.assertEqual(pipeline.admin_port("gateway", wanted, [7]), 7)
        self.assertIn(str(wanted), said.call_args.args[0])
        self.assertEqual(pipeline.admin_port("gateway", None, [8]), 8)


if __name__ == "__main__":
    unittest.main()

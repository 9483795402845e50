"""What starting and stopping the four processes promises. Run with: python3 -m unittest discover scripts/lib"""

import socket
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import pipeline
from pipeline import PROCESSES, Failure, Pipeline

READY = """
import http.server, os, signal, sys
name = sys.argv[0].rpartition("/")[2].upper().replace("-", "_")
if os.environ.get("STUBBORN"): signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.environ.get("BROKEN") == name: sys.exit("no such topic")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self): self.send_response(200); self.end_headers()
host, port = os.environ[f"AGUACERO_{name}_ADMIN"].split(":")
http.server.HTTPServer((host, int(port)), Handler).serve_forever()
"""


class Processes(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.programs = {process: self.program(Path(folder.name, process)) for process in PROCESSES}
        states = mock.patch.object(pipeline, "STATES", Path(folder.name, "states"))
        states.start()
        self.addCleanup(states.stop)
        self.pipeline = Pipeline.plan("test")
        self.addCleanup(lambda: self.pipeline.stop())

    def program(self, path):
        path.write_text(f"#!{sys.executable}\n{READY}")
        path.chmod(0o755)
        return path

    def test_all_are_ready_and_a_stop_leaves_nothing(self):
        self.pipeline.start(self.programs, {})
        self.pipeline.wait_ready()
        self.assertTrue(self.pipeline.all_alive())
        self.pipeline.stop()
        self.assertFalse(any(map(self.pipeline.is_alive, PROCESSES)))
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
        self.assertFalse(any(map(self.pipeline.is_alive, PROCESSES)))
        self.assertTrue(self.pipeline.folder.exists())
        Pipeline.load("test").stop()
        self.assertFalse(self.pipeline.folder.exists())

    def test_a_process_that_ignores_the_signal_is_killed(self):
        self.pipeline.start(self.programs, {"STUBBORN": "1"})
        self.pipeline.wait_ready()
        with mock.patch.object(pipeline, "DRAIN_SECONDS_MAX", 0.2):
            self.pipeline.stop()
        self.assertFalse(any(map(self.pipeline.is_alive, PROCESSES)))

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

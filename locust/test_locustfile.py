"""What a run of Locust promises: how many requests, which bytes, which exit status.

These start scripts/locust, which installs Locust in the cache folder when it is not there yet.
"""

import json
import subprocess
import tempfile
import threading
import unittest
from collections import Counter
from pathlib import Path

from stub_gateway import Stub

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "locust"
WRITTEN = [
    json.dumps({"texto": f"Llueve ☔ {number}", "país": "México"}, ensure_ascii=number % 2 == 0).encode()
    for number in range(40)
]


class TheRun(unittest.TestCase):
    def locust(self, answers, *options, file=b"[\n" + b",\n".join(WRITTEN) + b"\n]\n"):
        """Exit status, summary and what was said, and the bodies that arrived."""
        bodies, lock = [], threading.Lock()

        def answer(body):
            with lock:
                bodies.append(body)
                return answers(len(bodies))

        stub = Stub(answer)
        try:
            with tempfile.TemporaryDirectory() as folder:
                records, summary = Path(folder, "records.json"), Path(folder, "summary.json")
                records.write_bytes(file)
                done = subprocess.run(
                    [SCRIPT, "--host", stub.host, "--records", records, "--summary", summary, *options],
                    capture_output=True, text=True, timeout=120,
                )
                figures = json.loads(summary.read_text()) if summary.exists() else None
                self.paths = Counter(stub.paths)
                return done, figures, bodies
        finally:
            stub.shutdown()
            stub.server_close()

    def test_exactly_the_requests_asked_for_are_sent_each_record_once_with_its_own_bytes(self):
        done, figures, bodies = self.locust(lambda count: (200, {}), "--requests", "40")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(Counter(bodies), Counter(WRITTEN))
        self.assertEqual((figures["requests"], figures["accepted"], figures["failures"]), (40, 40, 0))
        self.assertLessEqual(figures["p50_ms"], figures["p99_ms"])
        self.assertGreater(figures["cpu_seconds"], 0)

    def test_the_records_are_used_again_only_after_all_were_sent(self):
        done, _, bodies = self.locust(lambda count: (200, {}), "--requests", "101", "--users", "13", "--spawn-rate", "13")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(bodies), 101)
        self.assertEqual(set(Counter(bodies).values()), {2, 3})

    def test_one_answer_that_is_not_2xx_makes_the_exit_status_1_and_is_named(self):
        problem = {"title": "Overloaded", "detail": "Kafka is away"}
        done, figures, bodies = self.locust(lambda count: (503, problem) if count == 7 else (200, {}), "--requests", "40")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(len(bodies), 40)
        self.assertEqual(figures["failures_by_kind"], {"503 Overloaded: Kafka is away": 1})
        self.assertIn("503 Overloaded", done.stdout)

    def test_each_route_gets_its_share_and_its_figures_stand_beside_the_others(self):
        problem = {"title": "Overloaded"}
        done, figures, bodies = self.locust(lambda count: (503, problem) if count == 9 else (200, {}), "--requests", "80",
                                            "--routes", "/votes/grpc=3", "--routes", "/votes/wasm=1")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(self.paths, {"/votes/grpc": 60, "/votes/wasm": 20})
        self.assertEqual([(route["path"], route["requests"]) for route in figures["routes"]],
                         [("/votes/grpc", 60), ("/votes/wasm", 20)])
        self.assertEqual(sum(route["failures"] for route in figures["routes"]), 1)
        self.assertEqual(Counter(bodies), Counter(WRITTEN * 2))
        for words in ("p99.9 ms", "/votes/grpc", "/votes/wasm"):
            self.assertIn(words, done.stdout)

    def test_without_routes_all_go_to_one_and_there_is_no_table(self):
        done, figures, _ = self.locust(lambda count: (200, {}), "--requests", "10")
        self.assertEqual((self.paths, len(figures["routes"])), ({"/input": 10}, 1))
        self.assertNotIn("p99.9", done.stdout)

    def test_records_that_say_where_they_go_are_sent_there(self):
        file = b"[" + b",\n".join(b'{"/%b": %b}' % (path, record) for path, record in zip([b"a", b"b", b"b"], WRITTEN)) + b"]"
        done, figures, bodies = self.locust(lambda count: (200, {}), "--requests", "3", file=file)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.paths, {"/a": 1, "/b": 2})
        self.assertEqual(Counter(bodies), Counter(WRITTEN[:3]))
        self.assertEqual([(route["path"], route["requests"]) for route in figures["routes"]], [("/a", 1), ("/b", 2)])
        done, _, bodies = self.locust(lambda count: (200, {}), "--routes", "/c", file=file)
        self.assertEqual((done.returncode, bodies), (2, []))
        self.assertIn("leave --routes out", done.stderr)

    def test_a_route_that_is_none_is_refused_before_anything_is_sent(self):
        done, _, bodies = self.locust(lambda count: (200, {}), "--routes", "/a=none")
        self.assertEqual((done.returncode, bodies), (2, []))
        self.assertIn("the weight of /a", done.stderr)

    def test_a_redirect_is_a_failure(self):
        done, figures, _ = self.locust(lambda count: (302, {}), "--requests", "10")
        self.assertEqual((done.returncode, figures["accepted"]), (1, 0))

    def test_a_connection_that_is_closed_without_an_answer_is_a_failure_and_not_sent_again(self):
        done, figures, bodies = self.locust(lambda count: None if count == 5 else (200, {}), "--requests", "20")
        self.assertEqual(done.returncode, 1)
        self.assertEqual((figures["requests"], figures["failures"], len(bodies)), (20, 1, 20))

    def test_the_given_sample_is_refused_before_anything_is_sent(self):
        sample = '{"texto": "Su lluvia", "país": "Argentina"},\n'.encode() * 3
        done, _, bodies = self.locust(lambda count: (200, {}), file=sample)
        self.assertEqual((done.returncode, bodies), (2, []))
        self.assertIn("line 1, column 44", done.stderr)
        done, _, bodies = self.locust(lambda count: (200, {}), "--lenient", "--requests", "3", file=sample)
        self.assertEqual((done.returncode, len(bodies)), (0, 3))


if __name__ == "__main__":
    unittest.main()

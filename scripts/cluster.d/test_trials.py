"""The judge of the trials, two clusters at once, and what is read of kubectl's and of logs' words."""

import sys
import unittest
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lib"), str(HERE.parent / "services.d")]

import node  # noqa: E402
from reckoning import Counts  # noqa: E402
from trials.judge import verdict  # noqa: E402
from trials.load import PROBLEM, Load, Request, texts_of, told  # noqa: E402
from trials.policies import complaint  # noqa: E402
from trials.report import lines_of  # noqa: E402
from trials.usage import mebibytes, millicores, workload_of  # noqa: E402


def request(text, outcome, events=1, started=0.0):
    return Request(text, events, started, 0.01, outcome)


def counts(mongodb, redis=None, countries=None):
    return Counts(kafka=0, mongodb=mongodb, total=mongodb if redis is None else redis,
                  counters={"by_country": {"Chile": mongodb if countries is None else countries}})


class Judge(unittest.TestCase):
    def test_an_acknowledged_event_that_is_not_archived_is_lost(self):
        found = verdict([request("a", "200"), request("b", "200")], Counter(["a"]), counts(1))
        self.assertEqual((found.lost, found.is_good), (["b"], False))

    def test_an_event_may_not_be_archived_twice_whatever_its_answer_was(self):
        for outcome in ("200", "504", "ConnectionResetError"):
            found = verdict([request("a", outcome)], Counter(["a", "a"]), counts(2))
            self.assertEqual((found.doubled, found.is_good), (["a"], False), outcome)

    def test_a_refused_event_may_not_be_archived(self):
        found = verdict([request("a", "503")], Counter(["a"]), counts(1))
        self.assertEqual((found.denied, found.is_good), (["a"], False))

    def test_without_an_answer_that_says_an_event_may_be_archived_or_not(self):
        requests = [request("a", "504"), request("b", "TimeoutError"), request("c", "502")]
        found = verdict(requests, Counter(["a"]), counts(1))
        self.assertEqual((found.unknown, found.unknown_stored, found.is_good), (3, 1, True))

    def test_a_proxy_that_says_503_promises_nothing(self):
        self.assertEqual((told(200, "application/json"), told(503, PROBLEM)), ("200", "503"))
        found = verdict([request("a", told(503, "text/plain"))], Counter(["a"]), counts(1))
        self.assertEqual((found.denied, found.unknown_stored, found.is_good), ([], 1, True))

    def test_each_event_of_a_body_is_judged(self):
        found = verdict([request("a", "200", events=3)], Counter(texts_of("a", 2)), counts(2))
        self.assertEqual((found.acknowledged, found.lost), (3, ["a-2"]))

    def test_what_redis_shows_has_to_be_what_is_archived(self):
        for wrong in (counts(1, redis=2), counts(1, countries=0)):
            self.assertFalse(verdict([request("a", "200")], Counter(["a"]), wrong).is_good)


class Windows(unittest.TestCase):
    def test_a_window_has_the_requests_that_began_in_it(self):
        load = Load(0, "", users=1)
        load.requests = [request("a", "200", started=1), request("b", "503", started=2), request("c", "200", started=3)]
        window = load.between(1, 3)
        self.assertEqual((window.requests, window.failed, window.failures), (2, 1, Counter({"503": 1})))
        self.assertTrue(load.stored_since(3))
        self.assertFalse(load.stored_since(3.5))
        self.assertIn("1 × 503", lines_of([{"what": "a fault", "seconds": 2.0, "window": window}])[0])


class Two(unittest.TestCase):
    def test_clusters_of_two_clones_have_different_cgroups(self):
        """One that ended would otherwise wait for the processes of the other, and remove its empty groups."""
        first, second = ({"data": f"/tmp/aguacero-cluster-{name}"} for name in ("ab_c1", "x7k2p"))
        self.assertFalse(set(node.cgroup_folders(first)) & set(node.cgroup_folders(second)))
        self.assertNotIn("_", node.cgroup(first))


class Words(unittest.TestCase):
    def test_the_first_complaint_about_a_store_is_found(self):
        log = ('{"level":"INFO","message":"Kafka is asked"}\n{"level":"WARN","message":"a route is slow"}\n'
               '{"level":"ERROR","message":"Kafka does not answer"}\n')
        self.assertIn("does not answer", complaint(log))
        self.assertIn("cannot start", complaint("consumer cannot start: MongoDB: no such host"))
        self.assertIsNone(complaint('{"level":"INFO","message":"Kafka is there"}'))

    def test_amounts_are_read_as_kubernetes_writes_them(self):
        self.assertEqual([millicores(text) for text in ("250m", "2", "0.5", None)], [250, 2000, 500, 0])
        self.assertEqual([mebibytes(text) for text in ("64Mi", "1Gi", "512Ki", None)], [64, 1024, 0, 0])
        self.assertEqual([workload_of(pod) for pod in ("gateway-5d4f9-x7k2p", "mongodb-0")], ["gateway", "mongodb"])


if __name__ == "__main__":
    unittest.main()

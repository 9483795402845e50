"""What the reckoning promises: that it says when anything is not as it was sent. Run with: python3 -m unittest discover scripts/lib"""

import contextlib
import io
import json
import sys
import unittest
from collections import Counter
from dataclasses import replace
from pathlib import Path

import apps
import reckoning
import streams
from reckoning import Counts, Reckoning, records

import routes  # whose folder reckoning has added

ROOT = Path(__file__).resolve().parents[2]
STREAM = {
    "name": "votes", "routes": {"/votes/grpc": "grpc", "/votes/wasm": "wasm"},
    "fields": {name: [name] for name in ("name", "album", "year", "rank")},
    "counters": {"by_name": ["name"], "by_name_rank": ["name", "rank"]},
}
VOTES = [{"name": "a|b", "album": "\\", "year": "1981", "rank": "1st"}, {"name": "a", "album": "", "year": "", "rank": "9.5"}]
WEATHER = {"name": "weather", "routes": {"/input": "grpc"}, "counters": {"by_country": ["país"]},
           "fields": {"texto": ["texto", "text"], "país": ["país", "pais", "country"]}}


def summary(grpc, wasm):
    figures = {"failures": 0, "requests_per_second": 1.0, "p50_ms": 1.0, "p95_ms": 1.0, "p99_ms": 1.0, "p99_9_ms": 2.0}
    routes = [{"path": "/votes/grpc", "requests": grpc, "accepted": grpc, **figures},
              {"path": "/votes/wasm", "requests": wasm, "accepted": wasm, **figures}]
    return {**figures, "requests": grpc + wasm, "accepted": grpc + wasm, "seconds": 1.0, "failures_by_kind": {}, "routes": routes}


class Expected(unittest.TestCase):
    def test_records_are_sent_in_turn_under_any_of_a_fields_names(self):
        records = ['{"texto": "a", "país": "Perú"}', '{"text": "b", "country": "Chile"}']
        values, counters = reckoning.expected(apps.APPS["weather"], WEATHER, reckoning.repeated(records, 3))
        self.assertEqual(values, Counter({("a",): 2, ("b",): 1}))
        self.assertEqual(counters, {"by_country": Counter({"Perú": 2, "Chile": 1})})

    def test_keys_of_several_fields_are_escaped_as_the_gateway_does(self):
        fields = [["name"], ["rank"]]
        self.assertEqual(reckoning.key_of({"name": "a|b", "rank": "c"}, fields), "a\\|b|c")
        self.assertEqual(reckoning.key_of({"name": "a", "rank": "b|c"}, fields), "a|b\\|c")
        self.assertEqual(reckoning.key_of({"name": "a\\", "rank": "|"}, fields), "a\\\\|\\|")
        self.assertEqual(reckoning.key_of({"name": "a|b\\"}, [["name"]]), "a|b\\")

    def test_a_number_counts_as_its_text(self):
        self.assertEqual(reckoning.key_of({"rank": 1}, [["rank"]]), "1")

    def test_without_a_field_there_is_no_key(self):
        fields = [["name", "nombre"], ["rank"]]
        self.assertIsNone(reckoning.key_of({"nombre": "a"}, fields))
        self.assertIsNone(reckoning.key_of({"name": None, "rank": "1"}, fields))
        self.assertEqual(reckoning.key_of({"name": False, "rank": 0}, fields), "false|0")
        sent = [('{"name": "a", "rank": null}', 2), ('{"name": "a", "rank": "1"}', 3)]
        _, counters = reckoning.expected(apps.APPS["votes"], STREAM, sent)
        self.assertEqual(counters, {"by_name": {"a": 5}, "by_name_rank": {"a|1": 3}})

    def test_what_is_missing_or_too_many_is_counted(self):
        self.assertEqual(reckoning.differing(Counter(a=2, b=1), {"a": 1, "b": 1, "c": 1}), (2, "a"))
        self.assertEqual(reckoning.differing(Counter(a=2), {"a": 2}), (0, None))


class Shown(unittest.TestCase):
    def setUp(self):
        sent = [json.dumps(vote) for vote in VOTES]
        values, counters = reckoning.expected(apps.APPS["votes"], STREAM, reckoning.repeated(sent, 10))
        counts = Counts(kafka=10, mongodb=10, total=10, counters=counters, overflow={})
        stored = {"grpc": ("kafka-producer", 6), "wasm": ("wasm-producer", 4)}
        self.good = Reckoning(apps.APPS["votes"], STREAM, sent, 10, summary(6, 4), counts, values, stored)

    def show(self, reckoning_):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            agreed = reckoning_.show()
        return agreed, out.getvalue()

    def test_all_agree_and_both_routes_stand_beside_each_other(self):
        agreed, text = self.show(self.good)
        self.assertTrue(agreed, text)
        for words in ("sum over the bands", "bands' ranks as they were sent", "votes as they were sent", "stored by the wasm-producer",
                      "/votes/grpc", "/votes/wasm", "p99.9 ms", "All agree"):
            self.assertIn(words, text)

    def test_each_difference_is_seen_and_none_hides_another(self):
        counts, values = self.good.counts, self.good.values
        other = Counter(values)
        other[("a", "", "", "9,5")] = other.pop(("a", "", "", "9.5"))
        keys = {**counts.counters, "by_name": {"a|b": 6, "a": 4}}
        for change in (
            {"summary": summary(6, 3)}, {"summary": summary(5, 5)}, {"stored": {"wasm": ("wasm-producer", None)}},
            {"counts": replace(counts, kafka=11)}, {"counts": replace(counts, mongodb=9)}, {"counts": replace(counts, total=9)},
            {"counts": replace(counts, counters=keys)}, {"counts": replace(counts, overflow={"by_name": 1})}, {"values": other},
        ):
            agreed, text = self.show(replace(self.good, **change))
            self.assertFalse(agreed, change)
            self.assertIn("They do not agree", text)

    def test_an_example_of_a_difference_is_shown(self):
        _, text = self.show(replace(self.good, values=Counter()))
        self.assertIn("of the votes, missing or too many: ('a|b'", text)

    def test_keys_beyond_the_bound_of_a_counter_are_its_overflow(self):
        counts = self.good.counts
        bounded = replace(counts, counters={**counts.counters, "by_name": {"a": 5}}, overflow={"by_name": 5})
        self.assertTrue(bounded.all_are(10))
        self.assertTrue(self.show(replace(self.good, counts=bounded))[0])


class TheTable(unittest.TestCase):
    @unittest.skipIf(sys.version_info < (3, 11), "no tomllib")
    def test_what_an_app_names_is_there(self):
        for app in apps.APPS.values():
            self.assertTrue((ROOT / app.records).exists(), app.records)
            declared = streams.declared(ROOT / app.config)
            if not app.stream:
                paths = {path for path, _ in routes.addressed(records.read(ROOT / app.records))}
                self.assertEqual(paths, {path for stream in declared["streams"] for path in stream["routes"]})
                continue
            stream = streams.stream(declared, app.stream)
            self.assertTrue(set(app.fields) <= set(stream["fields"]), app.name)
            self.assertTrue(set(app.keys) <= set(stream["counters"]), app.name)

    def test_an_app_that_is_none_is_refused_with_those_that_are(self):
        self.assertEqual(apps.named(""), apps.APPS["weather"])
        self.assertEqual(apps.named("votes"), apps.APPS["votes"])
        with self.assertRaisesRegex(ValueError, "weather, votes"):
            apps.named("tweets")


if __name__ == "__main__":
    unittest.main()

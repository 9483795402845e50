"""What sending to several routes promises, without Locust."""

import json
import unittest
from collections import Counter

import figures
import routes
from routes import Route
from run import Run


class Reading(unittest.TestCase):
    def test_paths_with_and_without_weights(self):
        self.assertEqual(routes.parse(["/input"]), [Route("/input", 1)])
        self.assertEqual(routes.parse(["/votes/grpc=3, /votes/wasm=1"]), [Route("/votes/grpc", 3), Route("/votes/wasm", 1)])
        self.assertEqual(routes.parse(["/a", "/b=2,/c"]), [Route("/a", 1), Route("/b", 2), Route("/c", 1)])

    def test_what_is_no_route_is_refused_with_words(self):
        for texts, words in [([","], "no route"), (["votes"], "slash"), (["/a=0"], "weight of /a"), (["/a=x"], "weight of /a"),
                             (["/a="], "weight of /a"), (["/a=-1"], "weight of /a"), (["/a=1,/a=2"], "twice"),
                             (["/a=99999999"], "weight of /a")]:
            with self.assertRaisesRegex(ValueError, words):
                routes.parse(texts)


class Turns(unittest.TestCase):
    def test_each_route_gets_its_share_at_any_time(self):
        weighted = [Route("/a", 3), Route("/b", 1), Route("/c", 2)]
        turns, got = routes.Turns(weighted), Counter()
        for sent in range(1, 1_000):
            got[turns.next()] += 1
            for place, route in enumerate(weighted):
                self.assertLessEqual(abs(got[place] - sent * route.weight / 6), 1)

    def test_two_of_one_weight_alternate(self):
        turns = routes.Turns([Route("/a"), Route("/b")])
        self.assertEqual([turns.next() for _ in range(4)], [0, 1, 0, 1])


class Addressed(unittest.TestCase):
    WRITTEN = [b'{"/ventas": {"a":  "\\u00f1"}}', b'{ "/miembros" :\n{} }', b'{"/ventas":{"b": {"/ventas": {}}}}']

    def test_each_record_goes_where_it_says_with_its_own_bytes(self):
        parts = routes.addressed(self.WRITTEN)
        self.assertEqual(parts, [("/ventas", b'{"a":  "\\u00f1"}'), ("/miembros", b"{}"), ("/ventas", b'{"b": {"/ventas": {}}}')])
        self.assertEqual(routes.of(parts), [Route("/ventas", 2), Route("/miembros", 1)])
        run = Run.addressed(parts, 4)
        sent = [run.next() for _ in range(5)]
        self.assertEqual(sent, [(parts[0][1], 0), (parts[1][1], 1), (parts[2][1], 0), (parts[0][1], 0), None])

    def test_records_that_say_nothing_are_as_they_were(self):
        for record in (b'{"texto": {}}', b'{"/a": 1}', b'{"/a": {}, "/b": {}}', b'{"/a": {}, "b": 1}', b"{}", b'{"": {}}',
                       b'{"/\\u0061": {}}'):
            self.assertIsNone(routes.addressed([record]), record)

    def test_a_file_where_only_some_do_is_refused_with_the_first_that_does_not(self):
        with self.assertRaisesRegex(ValueError, "record 2 does not say"):
            routes.addressed([self.WRITTEN[0], b'{"texto": "a"}'])


class Told(unittest.TestCase):
    def run_of(self, weights, requests):
        run = Run([b"1", b"2", b"3"], requests, routes.parse([weights]))
        while (turn := run.next()) is not None:
            _, route = turn
            run.answered(route, 2.0 + route, "503" if run.sent == requests else None)
        return run

    def test_the_figures_of_the_routes_add_up_to_those_of_all(self):
        summary = self.run_of("/a=3,/b=1", 100).summary()
        self.assertEqual([(route["path"], route["requests"]) for route in summary["routes"]], [("/a", 75), ("/b", 25)])
        for figure in ("requests", "accepted", "failures"):
            self.assertEqual(sum(route[figure] for route in summary["routes"]), summary[figure])
        self.assertEqual([route["p50_ms"] for route in summary["routes"]], [2.0, 3.0])
        json.dumps(summary)

    def test_a_failure_says_of_which_route_it_is_where_there_are_several(self):
        self.assertEqual(self.run_of("/a", 10).summary()["failures_by_kind"], {"503": 1})
        self.assertEqual(list(self.run_of("/a,/b", 10).summary()["failures_by_kind"]), ["/b: 503"])

    def test_records_go_by_turns_whatever_the_route(self):
        run = Run([b"1", b"2", b"3"], 6, routes.parse(["/a,/b"]))
        self.assertEqual([run.next() for _ in range(7)],
                         [(b"1", 0), (b"2", 1), (b"3", 0), (b"1", 1), (b"2", 0), (b"3", 1), None])

    def test_the_table_has_a_column_for_each_figure(self):
        head, *lines = figures.route_lines(self.run_of("/votes/grpc,/votes/wasm", 10).summary()["routes"])
        self.assertEqual(head.split("  ")[0], "route")
        self.assertEqual(head.split()[-2:], ["p99.9", "ms"])
        self.assertEqual({len(line) for line in lines}, {len(head)})
        self.assertEqual([line.split()[:3] for line in lines], [["/votes/grpc", "5", "0"], ["/votes/wasm", "5", "1"]])


class Percentiles(unittest.TestCase):
    def test_they_are_values_that_occurred(self):
        self.assertEqual([figures.percentile(list(range(1, 101)), p) for p in (50, 95, 99)], [50, 95, 99])
        self.assertEqual([figures.percentile([7.0], p) for p in (50, 99, 99.9)], [7.0, 7.0, 7.0])
        self.assertEqual(figures.percentile([], 50), 0.0)

    def test_one_in_a_thousand_is_above_the_last_of_them(self):
        for count in (1_000, 7_000, 10_000, 123_000):
            self.assertEqual(figures.percentile(range(1, count + 1), 99.9), count * 999 // 1000)
        self.assertEqual(figures.key(99.9), "p99_9_ms")


if __name__ == "__main__":
    unittest.main()

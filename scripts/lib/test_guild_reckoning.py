"""What the reckoning of the guild promises: that it says when anything is not as it was sent.
Run with: python3 -m unittest discover scripts/lib"""

import contextlib
import copy
import io
import sys
import unittest
import uuid
from collections import Counter
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import apps
import guild_day
import guild_reckoning
import streams
from guild_reckoning import Found, GuildReckoning, Map
from reckoning import Counts, expected, repeated

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "locust"), str(ROOT / "locust" / "data")]

import guild  # noqa: E402
import routes  # noqa: E402

BEGAN_MS = round(datetime(2026, 11, 21, 15, tzinfo=timezone.utc).timestamp() * 1000)
RECORDS = 1000
GUILD = apps.APPS["guild"]


def as_kafka_has_them(parts, declared):
    """A record every ten milliseconds; the reserved partitions as they should be, the others by turns."""
    of_path = {path: stream for stream in declared for path in stream["routes"]}
    ends = Counter()
    for number, (path, record) in enumerate(parts):
        stream, name = of_path[path], of_path[path]["name"].encode()
        header = b"\1" + uuid.UUID(int=number).bytes + bytes([len(name)]) + name
        read = guild_day.arrival(stream["topic"], 0, 0, BEGAN_MS + 10 * number, header, record, declared)
        premium = [stream["reserved"][part] for part, of in guild_reckoning.OF.items()
                   if part in stream["reserved"] and stream["name"] in of and of[stream["name"]](read)]
        partition = premium[0] if premium else number % 2
        yield replace(read, partition=partition, offset=ends[stream["topic"], partition])
        ends[stream["topic"], partition] += 1


def on_the_map(found, lat, lon):
    plate = found.fields.get("Patente carrito")
    yield f"2026-11-21 12:00:00 {f'carrito {guild_day.on_screen(plate)}' if plate else 'extraviado'} en {lat:.5f},{lon:.5f}"


def all_well(requests=RECORDS):
    declared = streams.declared(ROOT / GUILD.config)["streams"]
    parts = routes.addressed([line.rstrip(",").encode() for line in guild.document(RECORDS).split("\n")[1:-2]])
    in_turn = (parts * 2)[:requests]
    arrivals = list(as_kafka_has_them(in_turn, declared))
    events = guild_day.each_once(arrivals)
    names = {path: stream["name"] for stream in declared for path in stream["routes"]}
    counts, values = {}, {}
    for stream in declared:
        sent = [(record, times) for (path, record), times in repeated(parts, requests) if names[path] == stream["name"]]
        app = replace(GUILD, fields=tuple(stream["fields"]))
        values[stream["name"]], counters = expected(app, stream, sent)
        count = sum(times for _, times in sent)
        counts[stream["name"]] = Counts(0, count, count, counters)
    rows = {stream["table"]: [right[0] for right in guild_day.rows(stream["row"], events[stream["name"]]).values()]
            for stream in declared}
    day = guild_day.days(events)[0]
    sales = events["ventas"]
    groups = [(place // 5 + 1, place % 5 + 1, sale.id) for place, sale in enumerate(sales)]
    due = guild_day.deliveries([(place // 5 + 1, sales[place:place + 5]) for place in range(0, len(sales), 5)], True)
    lines = [words for stream, field in (("ubicaciones", "Ubicación del carrito"), ("reportes", "Coordenadas"))
             for found in events[stream] for words in on_the_map(found, *guild_day.in_degrees(found.fields[field]))]
    at_its_end = Map("\n".join([*lines, *(f"{line.partition(' en ')[0] if 'carrito' in line else line} se fue" for line in lines)]))
    found = Found(counts, values, arrivals, rows, {day.isoformat(): guild_day.report(day, events).lines()}, groups,
                  [(plate, stock) for _, plate, stock in due], True, at_its_end)
    figures = {"failures": 0, "requests_per_second": 1.0, "p50_ms": 1.0, "p95_ms": 1.0, "p99_ms": 1.0, "p99_9_ms": 2.0}
    told = [{"path": path, "requests": count, "accepted": count, **figures}
            for path, count in Counter(path for path, _ in in_turn).items()]
    summary = {**figures, "requests": requests, "accepted": requests, "seconds": 1.0, "failures_by_kind": {}, "routes": told}
    return GuildReckoning(GUILD, declared, parts, requests, summary, found)


@unittest.skipIf(sys.version_info < (3, 11), "no tomllib")
class Shown(unittest.TestCase):
    def show(self, reckoning, **found):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            agreed = replace(reckoning, found=replace(reckoning.found, **found), examples=[]).show()
        return agreed, out.getvalue()

    @classmethod
    def setUpClass(cls):
        cls.good = all_well()

    def test_all_agree_and_it_is_one_screen(self):
        agreed, text = self.show(self.good)
        self.assertTrue(agreed, text)
        self.assertIn("All agree", text)
        self.assertLessEqual(text.count("\n"), 32)
        self.assertGreaterEqual(text.count("✓"), 14)
        for words in ("miembros", "carritos", "premium in 2", "extraviados in 2", "daily sales", "2026-11-21", "groups of five",
                      "gone a minute"):
            self.assertIn(words, text)

    def test_records_that_are_sent_again_are_expected_again(self):
        for requests in (RECORDS - 1, RECORDS + 300):
            agreed, text = self.show(all_well(requests))
            self.assertTrue(agreed, text)
        agreed, text = self.show(replace(self.good, requests=RECORDS + 300))
        self.assertFalse(agreed)

    def changed_arrival(self, index, **change):
        arrivals = list(self.good.found.arrivals)
        arrivals[index] = replace(arrivals[index], **change)
        return {"arrivals": arrivals}

    def changed_map(self, change):
        map_ = copy.deepcopy(self.good.found.map)
        change(map_)
        return {"map": map_}

    def test_each_difference_is_seen(self):
        found = self.good.found
        index = {name: next(place for place, one in enumerate(found.arrivals) if one.stream == name) for name in found.counts}
        premium, ordinary = (next(place for place, one in enumerate(found.arrivals)
                                  if one.stream == "miembros" and (one.partition == 2) == is_reserved) for is_reserved in (True, False))
        counts = found.counts["ventas"]
        members = found.rows["public.miembros"]
        day, = found.reports
        cart = next(iter(found.map.shown))
        changes = {
            "a record is missing": {"arrivals": found.arrivals[:-1]},
            "a record has other bytes": self.changed_arrival(index["ventas"], value=b"{}"),
            "an ordinary member is in the reserved partition": self.changed_arrival(ordinary, partition=2),
            "a premium member is elsewhere": self.changed_arrival(premium, partition=0),
            "a stray is among the carts": self.changed_arrival(index["reportes"], partition=1),
            "a cart is among the strays": self.changed_arrival(index["ubicaciones"], partition=2),
            "a document is missing": {"counts": {**found.counts, "ventas": replace(counts, mongodb=counts.mongodb - 1)}},
            "a document is another": {"values": {**found.values, "reportes": Counter()}},
            "an event is not counted": {"counts": {**found.counts, "ventas": replace(counts, total=counts.total - 1)}},
            "a key is counted twice": {"counts": {**found.counts, "ventas": replace(
                counts, counters={"by_cart": counts.counters["by_cart"] + Counter([cart])})}},
            "a row is missing": {"rows": {**found.rows, "public.ventas": found.rows["public.ventas"][1:]}},
            "a row is there twice": {"rows": {**found.rows, "public.reportes": [*found.rows["public.reportes"]] * 2}},
            "a row is an earlier one": {
                "rows": {**found.rows, "public.miembros": [(*members[0][:-1], BEGAN_MS - 1), *members[1:]]}},
            "a row is of nobody": {"rows": {**found.rows, "public.miembros": [("0-0", *members[0][1:]), *members[1:]]}},
            "there is no report": {"reports": {}},
            "a line of the report is another": {"reports": {day: [*found.reports[day][:-1], "otra"]}},
            "lines of the report are in another order": {"reports": {day: found.reports[day][::-1]}},
            "a sale is in two groups": {"groups": found.groups + found.groups[:1]},
            "a sale is in no group": {"groups": found.groups[1:]},
            "a group has six": {"groups": [*found.groups[:-1], (1, 6, found.groups[-1][2])]},
            "a delivery is missing": {"deliveries": found.deliveries[1:]},
            "a delivery nobody asked for": {"deliveries": [*found.deliveries, ("XX", 1)]},
            "deliveries are in another order": {"deliveries": found.deliveries[::-1]},
            "deliveries were not made": {"is_auto": False},
            "a cart is still there": self.changed_map(lambda map_: map_.gone.remove(cart)),
            "a cart was never there": self.changed_map(lambda map_: map_.shown.pop(cart)),
            "a cart is somewhere else": self.changed_map(lambda map_: map_.shown.update({cart: (0.0, 0.0)})),
            "a stray is still there": self.changed_map(lambda map_: map_.strays_gone.popitem()),
            "a stray is shown that nobody has reported": self.changed_map(lambda map_: map_.strays.update([(0.0, 0.0)])),
        }
        for what, change in changes.items():
            with self.subTest(what):
                agreed, text = self.show(self.good, **change)
                self.assertFalse(agreed, text)
                self.assertIn("✗", text)
                self.assertIn("They do not agree", text)

    def test_what_locust_says_is_judged(self):
        for name in ("requests", "accepted"):
            told = [{**route, name: route[name] - 1} for route in self.good.summary["routes"]]
            agreed, text = self.show(replace(self.good, summary={**self.good.summary, "routes": told}))
            self.assertFalse(agreed, text)

    def test_a_difference_is_shown_with_an_example(self):
        _, text = self.show(self.good, rows={**self.good.found.rows, "public.carritos": self.good.found.rows["public.carritos"][1:]})
        self.assertIn("carritos: missing: (", text)


class TheMap(unittest.TestCase):
    LINES = ["2026-11-29 20:00:01 carrito AB-12 en -33.45000,-70.66000", "2026-11-29 20:00:01 extraviado en -33.45000,-70.66000",
             "2026-11-29 20:00:02 carrito con espacio en 1 en 0.00000,-1.50000", "2026-11-29 20:00:03 carrito AB-12 en -33.46000,-70.66000"]

    def map(self, *lines):
        return guild_reckoning.Map("".join(f"{line}\n" for line in lines))

    def test_carts_are_where_they_were_last(self):
        found = self.map(*self.LINES)
        self.assertEqual(found.shown, {"AB-12": (-33.46, -70.66), "con espacio en 1": (0.0, -1.5)})
        self.assertEqual((found.gone, found.is_empty, str(found)), (set(), False, "2 of 2 carts, 1 of 1 strays are shown"))

    def test_it_is_empty_when_all_have_gone_and_none_has_come_back(self):
        gone = ["2026-11-29 20:01:03 carrito AB-12 se fue", "2026-11-29 20:01:03 carrito con espacio en 1 se fue",
                "2026-11-29 20:01:03 extraviado en -33.45000,-70.66000 se fue"]
        self.assertTrue(self.map(*self.LINES, *gone).is_empty)
        self.assertFalse(self.map(*self.LINES, *gone[:1]).is_empty)
        self.assertFalse(self.map(*self.LINES, *gone[:2]).is_empty)
        back = self.map(*self.LINES, *gone, self.LINES[0])
        self.assertEqual((back.is_empty, back.gone), (False, {"con espacio en 1"}))

    def test_a_line_that_is_not_whole_yet_says_nothing(self):
        self.assertEqual(self.map("2026-11-29 20:00:01 carrito AB-12 e").shown, {})


class TheReport(unittest.TestCase):
    def test_it_begins_behind_the_line_that_says_until_when_it_goes(self):
        self.assertEqual(guild_reckoning.report_lines("Provisorio, hasta 2026-11-29 20:00:00\nVentas del …\n\nRut\n\n"),
                         ["Ventas del …", "", "Rut"])


if __name__ == "__main__":
    unittest.main()

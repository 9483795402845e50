"""What watches Aguacero is true: run with `scripts/services run -- scripts/watch test`."""

import json
import math
import re
import signal
import subprocess
import time
import unittest
import urllib.request
from contextlib import ExitStack

import dashboards
import panels
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus import program
from watched import HERE, ROOT, watched

ALERTS = [rule for group in yaml.safe_load((HERE / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]
RECORDED = {rule["record"] for group in yaml.safe_load((HERE / "energy.yaml").read_text())["groups"]
            for rule in group["rules"]}
# What others than our processes serve.
OTHERS = {"up", "container_cpu_usage_seconds_total", "kepler_pod_cpu_joules_total"}
# One request each 40 ms for each stream: enough for every figure, and no load.
RATE = 25


def documented():
    """Names of docs/metrics.md, with those that a histogram is stored under."""
    names = set()
    for row in (ROOT / "docs/metrics.md").read_text().splitlines():
        if match := re.match(r"\| `(\w+)` \| (\w+) \|", row):
            names |= {match[1] + end for end in (("_bucket", "_sum", "_count") if match[2] == "histogram" else ("",))}
    return names


def named_in(expr):
    """Metrics that an expression asks for: names with an underscore or a colon that are no function's, label's or text's."""
    bare = re.sub(r'"[^"]*"', "", expr)
    bare = re.sub(r"\b(by|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", bare)
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]", "", bare)
    names = re.findall(r"[a-z_][a-z0-9_:]*[_:][a-z0-9_:]*(?!\w|\s*\()", bare)
    return {name for name in names if name not in ("group_left", "group_right")} | set(re.findall(r"\bup\b", bare))


class Rules(unittest.TestCase):
    def promtool(self, *arguments, given=None):
        done = subprocess.run([program("promtool"), *arguments], cwd=HERE, input=given, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_promtool_finds_no_mistake_in_the_rules(self):
        self.promtool("check", "rules", "alerts.yaml", "energy.yaml")

    def test_each_alert_fires_for_what_it_is_for_and_none_while_all_is_well(self):
        self.promtool("test", "rules", "alerts_test.yaml")

    def test_energy_is_measured_where_it_can_be_and_else_modelled(self):
        self.promtool("test", "rules", "energy_test.yaml")

    def test_each_alert_is_tested_says_what_to_do_and_has_a_section_in_the_book(self):
        tests = yaml.safe_load((HERE / "alerts_test.yaml").read_text())["tests"]
        fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case["exp_alerts"]}
        quiet = {case["alertname"] for test in tests for case in test["alert_rule_test"] if not case["exp_alerts"]}
        sections = set(re.findall(r"^### (\w+)$", (ROOT / "docs/operations.md").read_text(), re.M))
        names = {rule["alert"] for rule in ALERTS}
        self.assertEqual(fired, names)
        self.assertEqual(quiet, names)
        self.assertEqual(sections, names)
        for rule in ALERTS:
            with self.subTest(rule["alert"]):
                self.assertIn(rule["labels"]["severity"], ("critical", "warning"))
                self.assertTrue(rule["annotations"]["summary"] and rule["annotations"]["do"])
                self.assertEqual(rule["annotations"]["runbook_url"], f"docs/operations.md#{rule['alert'].lower()}")

    def test_the_model_is_the_same_in_rules_perf_and_docs(self):
        rules = yaml.safe_load((HERE / "energy.yaml").read_text())["groups"][0]["rules"]
        value = {(rule["record"], rule.get("labels", {}).get("region")): rule["expr"].removeprefix("vector(").removesuffix(")")
                 for rule in rules}
        page = (ROOT / "docs/energy.md").read_text()
        for (name, region), number in value.items():
            with self.subTest(name, region=region):
                self.assertIn(f"| {region or f'`{name}`'} | {number} |", page)
        joules = value["energy:joules_per_cpu_second:model", None]
        self.assertIn(f"JOULES_OF_A_SECOND: f64 = {joules};", (ROOT / "benches/figures/src/cpu.rs").read_text())

    def test_rules_and_dashboards_ask_only_for_metrics_that_there_are(self):
        known = documented() | RECORDED | OTHERS
        asked = [rule["expr"] for rule in ALERTS]
        asked += [target["expr"] for path in panels.FILES for panel in panels.dashboard(path)["panels"]
                  for target in panel.get("targets", []) if "expr" in target]
        for expr in asked:
            with self.subTest(expr):
                self.assertEqual(named_in(expr) - known, set())
                for pattern in re.findall(r'__name__=~"([^"]*)"', expr):
                    self.assertTrue(any(re.fullmatch(pattern, name) for name in known), pattern)


class Dashboards(unittest.TestCase):
    def test_each_is_as_its_source_says(self):
        there = {path.name: path.read_text() for path in panels.FILES}
        self.assertEqual(there, dashboards.written(), "scripts/watch dashboards writes them anew")

    def test_each_fits_grafanas_schema(self):
        register_default_plugins()
        for path in panels.FILES:
            with self.subTest(path.name):
                read = json.loads(path.read_text())
                again = json.loads(json.dumps(Dashboard.from_json(read), cls=JSONEncoder))
                self.assertEqual(again, read, "the schema knows no such field")

    def test_no_panel_lies_over_another_or_beyond_the_page(self):
        for path in panels.FILES:
            cells = [(x, y) for panel in panels.dashboard(path)["panels"] for place in [panel["gridPos"]]
                     for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])]
            self.assertEqual(len(cells), len(set(cells)), path.name)
            self.assertLess(max(x for x, _ in cells), dashboards.COLUMNS, path.name)


class WithEverythingUp(unittest.TestCase):
    """A real pipeline under traffic, a real Prometheus, the real Redis."""

    @classmethod
    def setUpClass(cls):
        cls.stack = ExitStack()
        cls.all = cls.stack.enter_context(watched(RATE))
        cls.addClassCleanup(cls.stack.close)
        # Rates need some scrapes, and lines some of them; then every event has gone its way.
        cls.all.until("lines of energy for a million events", lambda: cls.all.prometheus.instant(
            "count_over_time((aguacero:joules_per_million_events > 0)[1m:1s]) > 5"))
        cls.all.until("votes in Redis", lambda: cls.all.redis.hget("{votes}:total", "events"))
        cls.all.until("the archive's figures", lambda: cls.all.prometheus.instant(
            "count_over_time((rate(aguacero_consumer_freshness_seconds_count[20s]) > 0)[1m:1s]) > 5"))

    def test_prometheus_scrapes_every_process_and_finds_nothing_that_it_cannot_read(self):
        targets = self.all.prometheus.ask("targets")["activeTargets"]
        self.assertEqual({target["labels"]["pod"] for target in targets}, set(self.all.pipeline.processes))
        self.assertEqual([target["lastError"] for target in targets], [""] * len(self.all.pipeline.processes))
        infos = self.all.prometheus.instant("aguacero_build_info")
        self.assertEqual({labels["process"] for labels, _ in infos}, set(self.all.pipeline.processes))

    def test_promtool_finds_nothing_to_say_of_the_names_and_types(self):
        for process in self.all.pipeline.processes:
            with urllib.request.urlopen(f"http://{self.all.pipeline.processes[process]['admin']}/metrics") as answer:
                text = answer.read().decode()
                # Without it Prometheus 3 takes nothing.
                self.assertEqual(answer.headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8", process)
            done = subprocess.run([program("promtool"), "check", "metrics"], input=text, capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""), process)

    def test_no_alert_fires_while_all_is_well(self):
        rules = [rule for group in self.all.prometheus.ask("rules", type="alert")["groups"] for rule in group["rules"]]
        self.assertEqual({rule["name"] for rule in rules}, {rule["alert"] for rule in ALERTS})
        self.assertEqual([rule["lastError"] for rule in rules if rule.get("lastError")], [])
        self.assertEqual([rule["name"] for rule in rules if rule["state"] != "inactive"], [])

    def test_each_panel_gets_what_it_needs(self):
        for path in panels.FILES:
            for panel in panels.dashboard(path)["panels"]:
                if panel["type"] == "text":
                    continue
                with self.subTest(f"{path.stem}: {panel['title']}"):
                    answer = panels.ask(panel, self.all.prometheus, self.all.redis)
                    {"stat": self.number, "bargauge": self.bars, "piechart": self.bars, "table": self.table,
                     "timeseries": self.lines}[panel["type"]](panel, answer)

    def number(self, panel, answer):
        self.assertEqual(len(answer.values), 1, "one number")
        value = answer.values[0][1]
        self.assertFalse(math.isnan(value))
        if panel["title"] in ("Messages", "Votes", "Events stored a second"):
            self.assertGreater(value, 0)

    def bars(self, _, answer):
        self.assertGreater(len(answer.values), 1)
        self.assertEqual([name for name, value in answer.values if not value > 0], [])
        self.assertEqual([name for name, _ in answer.values if not name], [])

    def table(self, _, answer):
        self.assertGreater(len(answer.rows), 1)
        self.assertGreaterEqual(len(answer.columns), 2)
        for row in answer.rows:
            self.assertEqual(len(row), len(answer.columns))
            self.assertIsInstance(row[0], str)
            self.assertGreater(sum(row[1:]), 0)

    def lines(self, panel, answer):
        asked = len(panel["targets"])
        named = {name for name, _ in answer.lines}
        self.assertGreaterEqual(len(named), asked, named)
        self.assertEqual(len(named), len(answer.lines), "two lines of one name")
        self.assertTrue(any(len(points) > 1 for _, points in answer.lines))
        self.assertTrue(all(name.strip() and "{{" not in name for name in named), named)

    def test_the_pie_the_total_and_the_table_are_the_same_messages(self):
        """Once nothing is pending they are one figure; while traffic goes on, they rise together."""
        board = {panel["title"]: panel for panel in panels.dashboard(panels.FOLDER / "weather.json")["panels"]}

        def agree():
            before, pie, table, after = (panels.ask(board[title], self.all.prometheus, self.all.redis) for title in
                                         ("Messages", "Messages by country", "Messages per Country", "Messages"))
            (_, least), (_, most) = before.values[0], after.values[0]
            sums = sum(value for _, value in pie.values), sum(row[1] for row in table.rows)
            self.assertEqual([row[1] for row in table.rows], sorted((row[1] for row in table.rows), reverse=True))
            return all(least <= each <= most for each in sums)

        self.all.until("pie, table and total agree", agree)


class WithAProcessGone(unittest.TestCase):
    def test_alerts_begin_where_the_redis_writer_is_killed(self):
        with watched(RATE) as all_up:
            links = 'aguacero_gateway_links{to="redis-writer"} > 0'
            all_up.until("the gateway's link to it", lambda: all_up.prometheus.instant(links))
            all_up.pipeline.signal(["redis-writer"], signal.SIGKILL, 5)

            def begun():
                rules = [rule for group in all_up.prometheus.ask("rules", type="alert")["groups"] for rule in group["rules"]]
                return {rule["name"] for rule in rules if rule["state"] != "inactive"}

            wanted = {"AguaceroTargetDown", "AguaceroLinkDown"}
            deadline = time.monotonic() + 60
            while not wanted <= begun() and time.monotonic() < deadline:
                time.sleep(0.2)
            self.assertEqual(begun(), wanted)

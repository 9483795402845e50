"""What the panels of a dashboard ask, and what Grafana makes of the answers before it draws them.

A hash of Redis is one row with a column for each field; a query of PromQL is an instant's values or lines over time, each under
its legend."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "dashboards"
FILES = sorted(FOLDER.glob("*.json"))


@dataclass
class Answer:
    """Of one panel: `values` as (name, number), `lines` as (name, [(time, number)]), or the `columns` and `rows` of a table."""
    values: list = field(default_factory=list)
    lines: list = field(default_factory=list)
    columns: list = field(default_factory=list)
    rows: list = field(default_factory=list)


def dashboard(path):
    return json.loads(path.read_text())


def ask(panel, prometheus, redis, seconds=60, rate="20s"):
    answer = Answer()
    for target in panel.get("targets", []):
        if target["datasource"]["type"] == "redis-datasource":
            answer.values += row(redis.execute_command(target["command"], target["keyName"]))
            continue
        expr = target["expr"].replace("$__rate_interval", rate)
        if target.get("instant"):
            answer.values += [(named(target, labels), value) for labels, value in prometheus.instant(expr)]
        else:
            answer.lines += [(named(target, labels), points) for labels, points in prometheus.range(expr, seconds)]
    transform(answer, panel.get("transformations", []))
    name = panel.get("fieldConfig", {}).get("defaults", {}).get("displayName")
    if name:
        answer.values = [(name, value) for _, value in answer.values]
    return answer


def row(fields):
    """Numbers where they are numbers, as the plugin has it."""
    def number(text):
        return float(text) if re.fullmatch(r"-?\d+(\.\d+)?", text) else text

    return [(name, number(value)) for name, value in fields.items()]


def named(target, labels):
    return re.sub(r"\{\{(\w+)\}\}", lambda m: labels.get(m[1], ""), target.get("legendFormat", ""))


def transform(answer, transformations):
    for step in transformations:
        options = step["options"]
        match step["id"]:
            case "reduce":
                answer.columns = ["Field", "Last *"]
                answer.rows, answer.values = [list(value) for value in answer.values], []
            case "organize":
                answer.columns = [options["renameByName"].get(name, name) for name in answer.columns]
            case "sortBy":
                for by in reversed(options["sort"]):
                    at = answer.columns.index(by["field"])
                    answer.rows.sort(key=lambda row: row[at], reverse=by["desc"])
            case "extractFields":
                pattern = re.compile(options["regExp"].strip("/").replace("(?<", "(?P<"))
                at = answer.columns.index(options["source"])
                answer.columns += list(pattern.groupindex)
                answer.rows = [row + list(pattern.match(row[at]).groups()) for row in answer.rows]
            case "groupingToMatrix":
                matrix(answer, options)
            case other:
                raise ValueError(f"this page does not know Grafana's transformation {other}")


def matrix(answer, options):
    down, across, value = (answer.columns.index(options[f"{name}Field"]) for name in ("row", "column", "value"))
    cells = {(row[down], row[across]): row[value] for row in answer.rows}
    names = sorted({name for _, name in cells}, key=lambda name: (len(name), name))
    answer.columns = [f"{options['rowField']}\\{options['columnField']}", *names]
    answer.rows = [[name, *(cells.get((name, column), 0) for column in names)]
                   for name in sorted({name for name, _ in cells})]

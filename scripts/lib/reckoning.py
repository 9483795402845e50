"""What has arrived in Kafka, MongoDB and Redis, held against what was sent: the counts, and how they are told."""

import json
import os
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "locust"))

import figures  # noqa: E402
import records  # noqa: E402

TOP_KEYS = 10
LABEL_WIDTH_MIN = 28
BAR_WIDTH = 30


@dataclass
class Counts:
    kafka: int
    mongodb: int
    total: int
    counters: dict = field(default_factory=dict)  # of each counter, what its keys have
    overflow: dict = field(default_factory=dict)

    @property
    def sums(self):
        """Of each counter, over its keys and what is not among them."""
        return {name: sum(keys.values()) + self.overflow.get(name, 0) for name, keys in self.counters.items()}

    @property
    def agree(self):
        """MongoDB and Redis; what Kafka has may be asked later."""
        return {self.mongodb, self.total, *self.sums.values()} == {self.total}

    def all_are(self, number):
        return self.agree and self.kafka == self.total == number

    def __str__(self):
        sums = "  ".join(f"{name} {count:,}" for name, count in self.sums.items())
        return f"Kafka {self.kafka:,}  MongoDB {self.mongodb:,}  Redis {self.total:,}  {sums}".rstrip()


def repeated(sent, requests):
    """Each record with how often it is sent: in turn, again from the first after the last."""
    rounds, rest = divmod(requests, len(sent))
    times = ((record, rounds + (index < rest)) for index, record in enumerate(sent))
    return [(record, count) for record, count in times if count]


def expected(app, stream, sent):
    """How often the values of each event, and each key of each counter, are sent; `sent` as repeated() has it."""
    values, counters = Counter(), {name: Counter() for name in stream["counters"]}
    for record, times in sent:
        decoded = json.loads(record)
        values[values_of(decoded, app, stream)] += times
        for counter, by in stream["counters"].items():
            key = key_of(decoded, [stream["fields"][name] for name in by])
            if key is not None:
                counters[counter][key] += times
    return values, counters


def values_of(document, app, stream):
    """Of the app's fields, as they were sent or as they are archived."""
    return tuple(value_of(document, stream["fields"][name]) for name in app.fields)


def value_of(document, names):
    value = next((document[name] for name in names if name in document), None)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def key_of(document, fields):
    """What an event counts under, as core/src/counts.rs has it; None if a field is absent or null."""
    if any(all(document.get(name) is None for name in names) for names in fields):
        return None
    values = [value_of(document, names) for names in fields]
    return values[0] if len(values) == 1 else "|".join(value.replace("\\", "\\\\").replace("|", "\\|") for value in values)


def differing(wanted, found):
    """How many are missing or too many, and one of them."""
    missing, surplus = wanted - Counter(found), Counter(found) - wanted
    example = next(iter(missing or surplus), None)
    return sum(missing.values()) + sum(surplus.values()), example


@dataclass
class Reckoning:
    """What was sent, to the stream of an app, and what came of it."""

    app: object
    stream: dict
    sent: list
    requests: int
    summary: dict  # Locust's
    counts: Counts
    values: Counter  # how often each event's values are archived
    stored: dict = field(default_factory=dict)  # what each producer says that it stored, where there are several

    def rows(self):
        """What is to be equal, and to what: labels, counts and what they should be. And an example of each difference."""
        requests, counts = self.requests, self.counts
        values, counters = expected(self.app, self.stream, repeated(self.sent, requests))
        wrong, example = differing(values, self.values)
        examples = {f"of the {self.app.values}": example} if wrong else {}
        rows = [
            ("requests sent", self.summary["requests"], requests),
            ("2xx answers", self.summary["accepted"], requests),
            *self.producers(),
            ("records in Kafka", counts.kafka, requests),
            ("documents in MongoDB", counts.mongodb, requests),
            ("total in Redis", counts.total, requests),
            *((f"sum over the {self.called(name)}", count, requests) for name, count in counts.sums.items()),
            (f"{self.app.values} as they were sent", requests - wrong, requests),
        ]
        for name, keys in counters.items():
            wrong, example = differing(keys, counts.counters.get(name, {}))
            if wrong:
                examples[f"of the {self.called(name)}"] = example
            right = requests - max(wrong - counts.overflow.get(name, 0), 0)
            rows.append((f"{self.called(name)} as they were sent", right, requests))
        return rows, examples

    def producers(self):
        """That a route goes by the producer that it should."""
        accepted = Counter()
        for route in self.summary["routes"]:
            accepted[self.stream["routes"].get(route["path"])] += route["accepted"]
        for via, (process, count) in self.stored.items():
            yield f"stored by the {process}", count or 0, accepted[via]

    def called(self, counter):
        return self.app.keys.get(counter, f"keys of {counter}")

    def show(self):
        """The counts beside each other, with what Locust measured; whether all of them agree."""
        rows, examples = self.rows()
        width = max(LABEL_WIDTH_MIN, *(len(label) + 1 for label, _, _ in rows))
        print()
        for label, value, wanted in rows:
            print(f"  {label:<{width}}{value:>11,}  {tick(value == wanted)}" + (f"  not {wanted:,}" if value != wanted else ""))
        print_times(self.summary)
        for what, example in examples.items():
            print(f"  {what}, missing or too many: {example!r}")
        if counter := next(iter(self.counts.counters), None):
            print_top(self.counts.counters[counter])
        agreed = all(value == wanted for _, value, wanted in rows)
        print(f"\n  {'All agree: not one is missing.' if agreed else 'They do not agree.'}\n", flush=True)
        return agreed


def print_times(summary):
    print(f"\n  {summary['requests_per_second']:,.0f} requests/s in {summary['seconds']:.1f} s:  p50 {summary['p50_ms']:.1f} ms"
          f"  p95 {summary['p95_ms']:.1f} ms  p99 {summary['p99_ms']:.1f} ms")
    if len(summary["routes"]) > 1:
        print("\n" + "\n".join(f"  {line}" for line in figures.route_lines(summary["routes"])))
    for kind, count in list(summary["failures_by_kind"].items())[:10]:
        print(f"  {count:,} × {kind}")


def tick(good):
    sign, color = ("✓", 32) if good else ("✗", 31)
    return f"\x1b[{color}m{sign}\x1b[0m" if sys.stdout.isatty() and "NO_COLOR" not in os.environ else sign


def print_top(keys):
    top = sorted(keys.items(), key=lambda item: -item[1])[:TOP_KEYS]
    print()
    for key, count in top:
        name = "".join(c if c.isprintable() else "·" for c in key)[:24]
        padding = " " * (24 - records.width(name))
        print(f"  {name}{padding}{count:>7,}  {'█' * max(1, round(count / top[0][1] * BAR_WIDTH))}")

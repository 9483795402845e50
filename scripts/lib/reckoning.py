"""What has arrived in Kafka, MongoDB and Redis, held against what was sent: the counts, and how they are told."""

import json
import os
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "locust"))

import records  # noqa: E402

TOPIC = "messages"
DATABASE, COLLECTION = "aguacero", "messages"
TOTAL, BY_COUNTRY, OVERFLOW = "{weather}:total", "{weather}:by_country", "{weather}:overflow"
TEXT_NAMES = ("texto", "text")
COUNTRY_NAMES = ("país", "pais", "country")
TOP_COUNTRIES = 10
BAR_WIDTH = 30


@dataclass
class Counts:
    kafka: int
    mongodb: int
    total: int
    countries: dict = field(default_factory=dict)
    overflow: int = 0

    @property
    def over_countries(self):
        return sum(self.countries.values()) + self.overflow

    def all_are(self, number):
        return self.kafka == self.mongodb == self.total == self.over_countries == number

    def __str__(self):
        return (f"Kafka {self.kafka:,}  MongoDB {self.mongodb:,}  Redis {self.total:,}"
                f"  over the countries {self.over_countries:,}")


def expected(sent, requests):
    """How often each text and each country is sent: the records in turn, again from the first after the last."""
    rounds, rest = divmod(requests, len(sent))
    texts, countries = Counter(), Counter()
    for index, record in enumerate(sent):
        times = rounds + (index < rest)
        if times:
            decoded = json.loads(record)
            texts[value_of(decoded, TEXT_NAMES)] += times
            countries[value_of(decoded, COUNTRY_NAMES)] += times
    return texts, countries


def value_of(document, names):
    value = next((document[name] for name in names if name in document), None)
    return value if isinstance(value, str) else repr(value)  # what is no text is still counted, and equal to none


def differing(wanted, found):
    """How many are missing or too many, and one of them."""
    missing, surplus = wanted - Counter(found), Counter(found) - wanted
    example = next(iter(missing or surplus), None)
    return sum(missing.values()) + sum(surplus.values()), example


def print_reckoning(counts, texts_found, summary, sent, requests):
    """The counts beside each other, with what Locust measured; whether all of them agree. `texts_found` says how
    often each text is archived, `sent` has the records that were sent in turn."""
    texts, countries = expected(sent, requests)
    wrong_texts, text = differing(texts, texts_found)
    wrong_countries, country = differing(countries, counts.countries)
    rows = [
        ("requests sent", summary["requests"]),
        ("2xx answers", summary["accepted"]),
        ("records in Kafka", counts.kafka),
        ("documents in MongoDB", counts.mongodb),
        ("total in Redis", counts.total),
        ("sum over the countries", counts.over_countries),
        ("texts as they were sent", requests - wrong_texts),
        ("countries as they were sent", requests - max(wrong_countries - counts.overflow, 0)),
    ]
    print()
    for label, value in rows:
        print(f"  {label:<28}{value:>11,}  {tick(value == requests)}")
    print(f"\n  {summary['requests_per_second']:,.0f} requests/s in {summary['seconds']:.1f} s:  p50 {summary['p50_ms']:.1f} ms"
          f"  p95 {summary['p95_ms']:.1f} ms  p99 {summary['p99_ms']:.1f} ms")
    for kind, count in list(summary["failures_by_kind"].items())[:10]:
        print(f"  {count:,} × {kind}")
    if wrong_texts:
        print(f"  a text that is missing or too many: {text!r}")
    if wrong_countries:
        print(f"  a country that is missing or counted otherwise: {country!r}")
    print_top(counts.countries)
    agreed = all(value == requests for _, value in rows)
    print(f"\n  {'All agree: not one is missing.' if agreed else 'They do not agree.'}\n", flush=True)
    return agreed


def tick(good):
    sign, color = ("✓", 32) if good else ("✗", 31)
    return f"\x1b[{color}m{sign}\x1b[0m" if sys.stdout.isatty() and "NO_COLOR" not in os.environ else sign


def print_top(countries):
    top = sorted(countries.items(), key=lambda item: -item[1])[:TOP_COUNTRIES]
    print()
    for country, count in top:
        name = "".join(c if c.isprintable() else "·" for c in country)[:24]
        padding = " " * (24 - records.width(name))
        print(f"  {name}{padding}{count:>7,}  {'█' * max(1, round(count / top[0][1] * BAR_WIDTH))}")

"""One run of exactly so many requests: which record is next and where to, how each was answered, what came of it."""

import time
from array import array
from collections import Counter

from figures import in_ms, percentile, percentiles
from routes import Turns, of

RECENT = 20_000


class Tally:
    """What came of the requests to one route, or to all."""

    def __init__(self):
        self.accepted = 0
        self.failures = Counter()
        self.times_ms = array("d")

    def answered(self, milliseconds, failure):
        self.times_ms.append(milliseconds)
        if failure is None:
            self.accepted += 1
        else:
            self.failures[failure] += 1

    @property
    def failed(self):
        return len(self.times_ms) - self.accepted

    def figures(self, seconds):
        return {
            "requests": len(self.times_ms),
            "accepted": self.accepted,
            "failures": self.failed,
            "failures_by_kind": dict(self.failures.most_common()),
            "requests_per_second": round(len(self.times_ms) / seconds, 1) if seconds else 0.0,
            **percentiles(self.times_ms),
        }


class Run:
    """Shared by all users. They are greenlets of one thread, so nothing here needs a lock."""

    def __init__(self, records, requests, routes, places=None):
        """`places`: for each record, that of its route; without them the routes take turns."""
        self.records = records
        self.requests = requests
        self.routes = routes
        self.places = places
        self.turns = Turns(routes)
        self.sent = 0
        self.all = Tally()
        self.of_route = [Tally() for _ in routes]
        self.started = self.ended = None
        self.cpu_started = self.cpu_ended = 0.0

    @classmethod
    def addressed(cls, parts, requests):
        """Of records that each say where they go, as routes.addressed() has them."""
        routes = of(parts)
        at = {route.path: place for place, route in enumerate(routes)}
        return cls([record for _, record in parts], requests, routes, [at[path] for path, _ in parts])

    def next(self):
        """The record to send now and the place of its route, or None when all are sent. No record is sent twice before
        each was sent once."""
        if self.sent == self.requests:
            return None
        if self.started is None:
            self.started, self.cpu_started = time.perf_counter(), time.process_time()
        index = self.sent % len(self.records)
        self.sent += 1
        return self.records[index], self.places[index] if self.places else self.turns.next()

    def answered(self, route, milliseconds, failure=None):
        self.ended, self.cpu_ended = time.perf_counter(), time.process_time()
        self.of_route[route].answered(milliseconds, failure)
        if failure is not None and len(self.routes) > 1:
            failure = f"{self.routes[route].path}: {failure}"
        self.all.answered(milliseconds, failure)

    @property
    def done(self):
        return len(self.all.times_ms) == self.requests

    @property
    def flawless(self):
        return self.done and self.all.accepted == self.requests

    @property
    def seconds(self):
        return 0.0 if self.ended is None else self.ended - self.started

    def progress(self):
        tally = self.all
        per_second = len(tally.times_ms) / self.seconds if self.seconds else 0.0
        times = sorted(tally.times_ms[-RECENT:])
        return (
            f"requests {len(tally.times_ms)}/{self.requests}  failures {tally.failed}  {per_second:.0f}/s"
            f"  p50 {in_ms(percentile(times, 50))}  p99 {in_ms(percentile(times, 99))}"
        )

    def summary(self):
        return {
            "requests_asked": self.requests,
            "seconds": round(self.seconds, 3),
            "cpu_seconds": round(self.cpu_ended - self.cpu_started, 3),
            **self.all.figures(self.seconds),
            "routes": [
                {"path": route.path, "weight": route.weight, **tally.figures(self.seconds)}
                for route, tally in zip(self.routes, self.of_route)
            ],
        }

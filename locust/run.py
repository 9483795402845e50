"""One run of exactly so many requests: which record is next, how each was answered, what came of it."""

import time
from array import array
from collections import Counter

RECENT = 20_000


class Run:
    """Shared by all users. They are greenlets of one thread, so nothing here needs a lock."""

    def __init__(self, records, requests):
        self.records = records
        self.requests = requests
        self.sent = 0
        self.accepted = 0
        self.failures = Counter()
        self.times_ms = array("d")
        self.started = self.ended = None
        self.cpu_started = self.cpu_ended = 0.0

    def next_record(self):
        """The record to send now, or None when all are sent. No record is sent twice before each was sent once."""
        if self.sent == self.requests:
            return None
        if self.started is None:
            self.started, self.cpu_started = time.perf_counter(), time.process_time()
        self.sent += 1
        return self.records[(self.sent - 1) % len(self.records)]

    def answered(self, milliseconds, failure=None):
        self.times_ms.append(milliseconds)
        self.ended, self.cpu_ended = time.perf_counter(), time.process_time()
        if failure is None:
            self.accepted += 1
        else:
            self.failures[failure] += 1

    @property
    def done(self):
        return len(self.times_ms) == self.requests

    @property
    def flawless(self):
        return self.done and self.accepted == self.requests

    @property
    def failed(self):
        return len(self.times_ms) - self.accepted

    @property
    def seconds(self):
        return 0.0 if self.ended is None else self.ended - self.started

    @property
    def per_second(self):
        return len(self.times_ms) / self.seconds if self.seconds else 0.0

    def progress(self):
        times = sorted(self.times_ms[-RECENT:])
        return (
            f"requests {len(self.times_ms)}/{self.requests}  failures {self.failed}  {self.per_second:.0f}/s"
            f"  p50 {in_ms(percentile(times, 50))}  p99 {in_ms(percentile(times, 99))}"
        )

    def summary(self):
        times = sorted(self.times_ms)
        return {
            "requests_asked": self.requests,
            "requests": len(times),
            "accepted": self.accepted,
            "failures": self.failed,
            "failures_by_kind": dict(self.failures.most_common()),
            "seconds": round(self.seconds, 3),
            "requests_per_second": round(self.per_second, 1),
            "cpu_seconds": round(self.cpu_ended - self.cpu_started, 3),
            **{f"p{p}_ms": round(percentile(times, p), 3) for p in (50, 95, 99)},
        }


def percentile(ordered, percent):
    """By nearest rank: the smallest value that at least `percent` of all do not exceed."""
    if not ordered:
        return 0.0
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(rank, 1) - 1]


def in_ms(value):
    return f"{value:.1f} ms" if value < 10 else f"{value:.0f} ms"

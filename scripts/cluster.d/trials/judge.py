"""Whether each event is where its answer says, once."""

import time
from collections import Counter
from dataclasses import dataclass

from progress import Waiting

from .load import texts_of

SETTLE_SECONDS_MAX = 180
POLL_SECONDS = 2


@dataclass
class Verdict:
    acknowledged: int
    lost: list  # acknowledged, and not in the archive
    doubled: list  # more than once in the archive
    denied: list  # refused, and in the archive
    unknown: int  # without an answer that says
    unknown_stored: int
    mongodb: int
    redis: int
    countries: int

    @property
    def is_good(self):
        return not (self.lost or self.doubled or self.denied) and self.mongodb == self.redis == self.countries

    def lines(self):
        return [f"{self.acknowledged:,} events acknowledged: {len(self.lost)} lost, {len(self.doubled)} twice in the archive",
                f"{self.unknown:,} without an answer that says, of which {self.unknown_stored:,} are archived; "
                f"{len(self.denied)} refused and archived all the same",
                f"documents in MongoDB {self.mongodb:,}, total in Redis {self.redis:,}, sum over the countries {self.countries:,}"]


def settled(stores):
    """The counts when the archive and Redis agree twice in a row, or at the deadline."""
    deadline, before = time.monotonic() + SETTLE_SECONDS_MAX, None
    with Waiting("waiting for the archive and the counters to agree") as waiting:
        while True:
            counts = stores.counts(with_kafka=False)
            agree = counts.agree
            if agree and before == counts.mongodb or time.monotonic() > deadline:
                return counts
            before = counts.mongodb if agree else None
            waiting.tick(f"MongoDB {counts.mongodb:,}  Redis {counts.total:,}")
            time.sleep(POLL_SECONDS)


def judge(stores, loads):
    """What became of everything that `loads` have sent."""
    counts, archived = settled(stores), stores.texts()
    return verdict([request for load in loads for request in load.requests], archived, counts)


def verdict(requests, archived, counts):
    stored, refused, unknown = [], [], []
    for request in requests:
        kind = stored if request.is_stored else refused if request.is_refused else unknown
        kind += texts_of(request.text, request.events)
    archived = Counter(archived)
    sent = [*stored, *refused, *unknown]
    return Verdict(
        acknowledged=len(stored),
        lost=[text for text in stored if not archived[text]],
        doubled=[text for text in sent if archived[text] > 1],
        denied=[text for text in refused if archived[text]],
        unknown=len(unknown),
        unknown_stored=sum(archived[text] > 0 for text in unknown),
        mongodb=counts.mongodb, redis=counts.total, countries=counts.sums["by_country"])

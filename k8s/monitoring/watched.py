"""The processes with the streams of weather and votes, under traffic, scraped by a real Prometheus with our rules."""

import os
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis
from pipeline import Pipeline, free_ports
from prometheus import Prometheus
from traffic import Traffic

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
PROGRAMS = ROOT / "target" / "debug"
RULES = [HERE / "alerts.yaml", HERE / "energy.yaml"]


@dataclass
class Watched:
    pipeline: Pipeline
    prometheus: Prometheus
    redis: redis.Redis
    traffic: Traffic

    def until(self, what, holds, seconds=60):
        """What `holds` gives, once it is true."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if held := holds():
                return held
            self.pipeline.check_alive()
            time.sleep(0.2)
        raise AssertionError(f"not within {seconds} s: {what}")


@contextmanager
def watched(rate):
    with tempfile.TemporaryDirectory(prefix="aguacero-watch-") as folder:
        config = Path(folder, "aguacero.toml")
        config.write_text(both())
        pipeline = Pipeline.plan("watch", config)
        programs = {process: PROGRAMS / process for process in pipeline.processes}
        try:
            if "AGUACERO_REDIS_URL" not in os.environ or not all(map(Path.exists, programs.values())):
                raise SystemExit("first cargo build --workspace --all-targets, then scripts/services run -- scripts/watch …")
            pipeline.start(programs, {})
            pipeline.wait_ready()
            port, = free_ports(1)
            targets = {process: pipeline.processes[process]["admin"] for process in programs}
            store = redis.Redis.from_url(os.environ["AGUACERO_REDIS_URL"], decode_responses=True)
            with Prometheus(port, targets, RULES) as prometheus, store, Traffic(pipeline.url, rate) as traffic:
                yield Watched(pipeline, prometheus, store, traffic)
        finally:
            pipeline.stop()


def both():
    """aguacero.toml, and the topic and the stream of examples/votes.toml, which anybody may write to. What goes by the
    wasm-producer goes by the kafka-producer here."""
    votes = (ROOT / "examples/votes.toml").read_text().replace('topic = "votes"', 'topic = "votes"\naccess = "open"')
    votes = votes.replace('via  = "wasm"', 'via  = "grpc"')
    return (ROOT / "aguacero.toml").read_text() + "\n" + votes

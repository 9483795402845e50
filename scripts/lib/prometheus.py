"""A Prometheus of one's own, on this machine and for as long as a `with` lasts.

The programs are those on PATH, or Debian's, unpacked into the cache folder."""

import contextlib
import json
import math
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import debian
from cache import Failure, fetched

HINT = "Put prometheus and promtool (2.42 or later) on PATH (on Debian and Ubuntu: apt-get install prometheus)."
READY_SECONDS_MAX = 60
SCRAPE_SECONDS = 1


def program(name):
    """The path of `prometheus` or `promtool`."""
    found = shutil.which(name)
    if found:
        return found
    folder = fetched(f"prometheus-{debian.release()}", "Prometheus from the system's package archive",
                     lambda folder: debian.unpack(folder, ["prometheus"], HINT))
    return f"{folder}/usr/bin/{name}"


class Prometheus:
    """`targets` are addresses of admin ports by the name of the process, `rules` files of rules."""

    def __init__(self, port, targets, rules=()):
        self.url = f"http://127.0.0.1:{port}"
        self.address = f"127.0.0.1:{port}"
        self.config = {
            "global": {"scrape_interval": f"{SCRAPE_SECONDS}s", "scrape_timeout": "1s",
                       "evaluation_interval": f"{SCRAPE_SECONDS}s"},
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [{"job_name": "aguacero", "static_configs": [
                {"targets": [address], "labels": {"namespace": "project", "pod": name}}
                for name, address in targets.items()]}],
        }

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="aguacero-prometheus-")
        folder = Path(self.folder.name)
        (folder / "prometheus.yml").write_text(json.dumps(self.config))  # which is YAML, too
        self.log = folder / "log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [program("prometheus"), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
                 f"--web.listen-address={self.address}"], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self.wait_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.folder.cleanup()

    def wait_ready(self):
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError):
                with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2) as answer:
                    if answer.status == 200:
                        return
            time.sleep(0.1)
        raise Failure(f"Prometheus did not become ready:\n{self.log.read_text(errors='replace')[-2000:]}")

    def ask(self, path, **parameters):
        """`data` of an answer of the HTTP API. An expression that is wrong is a Failure with Prometheus' words."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise Failure(f"{parameters}: {error.read().decode(errors='replace')}") from None

    def instant(self, expr):
        """[({label: value}, number), …]"""
        result = self.ask("query", query=expr)["result"]
        return [(sample["metric"], float(sample["value"][1])) for sample in result]

    def range(self, expr, seconds, step=1):
        """[({label: value}, [(time, number), …]), …], up to now."""
        end = time.time()
        result = self.ask("query_range", query=expr, start=end - seconds, end=end, step=step)["result"]
        return [(series["metric"], [(at, float(value)) for at, value in series["values"]]) for series in result]


def is_number(value):
    return not math.isnan(value)

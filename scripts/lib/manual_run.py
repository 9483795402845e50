"""Runs the commands of the manuals beside a real pipeline, as `make up` starts it: `scripts/manuals test`.

They run in a folder of their own that has everything of the project by links, and copies of the configurations, so that a
command may write what it wants. `target/demo`, where `make up` leaves its programs, leads to PROGRAMS there."""

import contextlib
import os
import re
import subprocess
import tempfile
from pathlib import Path

from pipeline import Pipeline, is_free, reachable
from progress import say

ROOT = Path(__file__).resolve().parents[2]
SECONDS_MAX = 120
# With what each is run beside, in this order; None: no process of ours. "last" is what ends it all.
CONFIGS = {"alone": None, "weather": "aguacero.toml", "votes": "examples/votes.toml", "guild": "examples/guild.toml", "last": None}
KEYS = '[gateway]\nkeys = "keys.toml"\n'
ROUTE_BY_WASM = re.compile(r'\[\[streams\.votes\.routes\]\]\npath = "/votes/wasm"\n.*\n')


def run_all(commands):
    """Of each command what was done, and its mistakes."""
    if not commands:
        return {}
    told = {}
    with tempfile.TemporaryDirectory(prefix="aguacero-manuals-") as folder:
        scratch = make_scratch(Path(folder))
        with nothing_left(scratch):
            for beside, config in CONFIGS.items():
                chosen = {name: entry for name, entry in commands.items() if entry["run"] == beside}
                if not chosen:
                    continue
                if config:
                    start(scratch, config)
                for name, entry in chosen.items():
                    told[name] = run(scratch, name, entry, config)
    return told


def make_scratch(folder):
    for path in ROOT.iterdir():
        if path.name not in ("target", "examples", "aguacero.toml", "keys.toml", ".git"):
            (folder / path.name).symlink_to(path)
    programs = Path(os.environ.get("PROGRAMS") or ROOT / "target" / "debug").absolute()
    (folder / "target").mkdir()
    (folder / "target" / "demo").symlink_to(programs)
    configure(folder, keys=False)
    (folder / "examples").mkdir()
    for path in (ROOT / "examples").glob("*.toml"):
        # The module of the other route is built by scripts/wasm, in minutes.
        (folder / "examples" / path.name).write_text(ROUTE_BY_WASM.sub("", path.read_text()))
    return folder


def configure(scratch, keys):
    """With keys as the manual says: a file of them under the [gateway] that is there."""
    text = (ROOT / "aguacero.toml").read_text()
    (scratch / "aguacero.toml").write_text(text.replace("[gateway]\n", KEYS) if keys else text)


@contextlib.contextmanager
def nothing_left(scratch):
    if Pipeline.load("up"):
        raise SystemExit("Something is up in this folder, and would be disturbed. To stop it: make down")
    try:
        yield
    finally:
        subprocess.run([ROOT / "scripts" / "demo", "down"], cwd=scratch, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def start(scratch, config):
    say(f"starting the pipeline with {config}")
    environment = {**os.environ, "CONFIG": str(scratch / config), "PROGRAMS": str(scratch / "target" / "demo")}
    environment |= {} if is_free(8080) or Pipeline.load("up") else {"PORT": "8089"}
    started = subprocess.run([ROOT / "scripts" / "demo", "up"], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if started.returncode != 0:
        raise SystemExit(f"scripts/demo up failed:\n{started.stdout}")


def run(scratch, name, entry, config):
    """What was done, and what is wrong with it."""
    say(f"$ {entry['text'].strip().splitlines()[0]}")
    environment = {**os.environ, **stores(scratch)}
    configure(scratch, entry.get("keys", False))
    ran = subprocess.run(["bash", "-euo", "pipefail", "-c", addressed(entry["text"])], cwd=scratch, env=environment, text=True,
                         errors="replace", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS_MAX)
    mistakes = [] if ran.returncode == 0 else [f"status {ran.returncode}:\n{ran.stdout}"]
    if not mistakes and not re.search(entry.get("says", ""), ran.stdout):
        mistakes.append(f"does not print {entry['says']}, but:\n{ran.stdout}")
    return f"run beside {config}" if config else "run alone", mistakes


def stores(scratch):
    """Where the stores of what is up are, as `eval "$(scripts/services env --name up)"` has it."""
    if not Pipeline.load("up"):
        return {}
    asked = subprocess.run([ROOT / "scripts" / "services", "env", "--name", "up"], cwd=scratch, text=True, stdout=subprocess.PIPE)
    return dict(re.findall(r"^export (\w+)='?(.*?)'?$", asked.stdout, re.MULTILINE))


def addressed(text):
    """The same with the addresses of what is up, where others than usual were taken."""
    up = Pipeline.load("up")
    if not up:
        return text
    usual = {"localhost:8080": up.listen, "localhost:8090": up.state["console"],
             "localhost:9180": up.processes["gateway"]["admin"], "localhost:9183": up.processes["consumer"]["admin"]}
    for there, here in usual.items():
        text = text.replace(there, reachable(here))
    return text

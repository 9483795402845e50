"""The cache folder, and the clients (Maven, pip, apt-get) that fill it."""

import contextlib
import fcntl
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


class Failure(Exception):
    """Something for the user to read and act on: shown without a traceback."""


def say(text):
    """Progress, to stderr: what goes to stdout is the answer that a verb was asked for."""
    print(text, file=sys.stderr, flush=True)


def last_lines(text, count):
    return "\n".join(f"  | {line}" for line in text.splitlines()[-count:]) or "  (nothing)"


def cache():
    if os.environ.get("AGUACERO_CACHE"):
        return Path(os.environ["AGUACERO_CACHE"]).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "aguacero"


def is_fetched(name):
    return (cache() / name).is_dir()


def fetched(name, what, fill):
    """The folder `name` of the cache; if it is not there yet, `fill(folder)` makes its content.

    It appears under its name only when it is whole, so that an interrupted fetch does no harm."""
    folder = cache() / name
    if folder.is_dir():
        return folder
    with locked(cache() / ".lock"):
        if folder.is_dir():  # somebody else has just fetched it
            return folder
        for stale in cache().glob(".partial-*"):  # of a fetch that was killed
            shutil.rmtree(stale, ignore_errors=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=cache()))
        try:
            start = time.monotonic()
            say(f"fetching {what} …")
            fill(partial)
            partial.rename(folder)
            say(f"fetched  {what}: {megabytes(folder)} in {time.monotonic() - start:.0f} s")
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def megabytes(folder):
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return f"{size / 1e6:.0f} MB"


@contextlib.contextmanager
def locked(path, byte=0):
    """Hold one byte of the file; the system gives it back even if we are killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except OSError:
            say("waiting for another run that is at the same …")
            fcntl.lockf(file, fcntl.LOCK_EX, 1, byte)
        yield


def client(argv, hint, **options):
    """Run a client and return what it said; the user sees that only if it fails."""
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=subprocess.STDOUT, **options)
        try:
            wait_counting(process)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        output.seek(0)
        text = output.read()
    if process.returncode != 0:
        command = shlex.join(map(str, argv))
        raise Failure(f"this failed with status {process.returncode}: {command}\n"
                      f"{last_lines(text, 15)}\n{hint}")
    return text


def wait_counting(process):
    """On a terminal, count the seconds."""
    start = time.monotonic()
    while process.poll() is None:
        time.sleep(0.1)
        if sys.stderr.isatty():
            print(f"\r  {time.monotonic() - start:.0f} s", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def require(*tools):
    """Let scripts/prerequisites find these, or install them, or say how to."""
    status = subprocess.run([HERE.parent / "prerequisites", *tools], stdout=sys.stderr).returncode
    if status != 0:
        sys.exit(status)

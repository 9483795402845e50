"""Python environments for the tools, each made once in the cache folder from a file of requirements.

    python3 scripts/lib/python_env.py NAME REQUIREMENTS
"""

import contextlib
import fcntl
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import progress
from progress import Waiting, say

PYTHON_LEAST = (3, 10)
COMPLETE = "aguacero-complete"


def cache():
    if os.environ.get("AGUACERO_CACHE"):
        return Path(os.environ["AGUACERO_CACHE"]).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "aguacero"


def python_of(name, requirements):
    """The interpreter of the environment `name`, which is made or renewed if it is not as `requirements` says."""
    text = requirements.read_text()
    folder = cache() / f"venv-{name}-{version_in(text)}"
    python = folder / "bin" / "python"
    wanted = f"Python {sys.version_info.major}.{sys.version_info.minor}\n{text}"
    with locked(cache() / f".lock-venv-{name}"):
        if not is_complete(folder, wanted):
            make(folder, name, requirements)
            (folder / COMPLETE).write_text(wanted)
    return python


def version_in(requirements):
    """The version of the first requirement, for the name of the folder."""
    return re.search(r"==([0-9.]*[0-9])", requirements).group(1)


def is_complete(folder, wanted):
    with contextlib.suppress(OSError):
        return (folder / COMPLETE).read_text() == wanted and (folder / "bin" / "python").exists()
    return False


def make(folder, name, requirements):
    if sys.version_info < PYTHON_LEAST:
        least = ".".join(map(str, PYTHON_LEAST))
        sys.exit(f"Python {least} or newer is needed, and {sys.executable} is {sys.version.split()[0]}.")
    if not importlib.util.find_spec("ensurepip"):
        sys.exit("This Python cannot make environments. On Debian or Ubuntu: apt-get install python3-venv")
    shutil.rmtree(folder, ignore_errors=True)
    start = time.monotonic()
    with Waiting(f"installing the Python packages of {name} from PyPI") as waiting:
        quietly([sys.executable, "-m", "venv", folder], waiting)
        quietly([folder / "bin" / "python", "-m", "pip", "install", "--disable-pip-version-check", "--no-input",
                 "--requirement", requirements], waiting)
    say(f"installed the Python packages of {name} in {time.monotonic() - start:.0f} s")


def quietly(command, waiting):
    """Runs a command whose words are only shown if it fails."""
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                time.sleep(0.1)
                waiting.tick()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        if process.returncode != 0:
            output.seek(0)
            told = "".join(f"  | {line}" for line in output.readlines()[-15:])
            sys.exit(f"\nThis failed: {' '.join(map(str, command))}\n{told}"
                     "Look at the network and at pip's settings, and try again.")


@contextlib.contextmanager
def locked(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":  # NAME REQUIREMENTS: makes it, if it is not there, beside what others are at
    progress.LINE_SECONDS = float("inf")
    python_of(sys.argv[1], Path(sys.argv[2]))

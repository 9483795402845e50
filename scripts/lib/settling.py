"""Waiting until what was sent has come to where it belongs."""

import time

from progress import Waiting

SECONDS_MAX = 60
POLL_SECONDS = 0.25


def settled(what, read, is_right, pipeline, seconds_max=SECONDS_MAX):
    """What `read` gives when it is as it should be, and still so a moment later; or as it is when there is no hope left: at
    the deadline, or if a process has ended."""
    deadline = time.monotonic() + seconds_max
    agreed = False
    with Waiting(f"waiting for {what}") as waiting:
        while True:
            found = read()
            if agreed and is_right(found) or time.monotonic() > deadline or not pipeline.all_alive():
                return found
            agreed = is_right(found)
            waiting.tick(str(found))
            time.sleep(POLL_SECONDS)

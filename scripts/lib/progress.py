"""What somebody who waits gets to see: one line that is redrawn, or a line now and then where nothing can be redrawn."""

import sys
import time

LINE_SECONDS = 5.0


def say(text):
    print(text, file=sys.stderr, flush=True)


class Waiting:
    """`with Waiting("what") as waiting: … waiting.tick("detail")` until it is over."""

    def __init__(self, what):
        self.what = what
        self.tty = sys.stderr.isatty()
        self.start = self.last = time.monotonic()

    def __enter__(self):
        say_without_end(f"{self.what} …") if self.tty else say(f"{self.what} …")
        return self

    def tick(self, detail=""):
        now = time.monotonic()
        line = f"{self.what} … {now - self.start:.0f} s  {detail}".rstrip()
        if self.tty:
            say_without_end(f"\r\x1b[2K{line}")
        elif now - self.last >= LINE_SECONDS:
            self.last = now
            say(line)

    def __exit__(self, *_):
        if self.tty:
            say_without_end("\r\x1b[2K")


def say_without_end(text):
    print(text, end="", file=sys.stderr, flush=True)

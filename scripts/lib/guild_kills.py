"""Processors of the guild that are killed while they work, and started again at once: what they come to is to be the same."""

import random
import time

from pipeline import Failure
from progress import Waiting

BATCH_RECORDS = 20  # in a batch: thousands of records are hundreds of transactions to be killed in
PROGRESS_SECONDS_MAX = 60
MAP_SECONDS_MAX = 30  # what was shown first is gone after a minute, and the last life is to show all of it
LOOK_SECONDS = 0.005


class Kills:
    """So many of each processor, by SIGKILL. A processor keeps its name in the group: nobody waits for the one before."""

    def __init__(self, pipeline, services, kills):
        self.pipeline, self.kills = pipeline, kills
        self.services = {**services, "AGUACERO_CONSUMER_BATCH_RECORDS_MAX": str(BATCH_RECORDS)}

    def start(self, processor, command):
        self.pipeline.launch_more(processor, [*command, "--instance", f"demo-{processor}"], self.services)
        self.wait(processor, lambda: self.pipeline.is_ready(processor))

    def run(self, processor, command, taken, records):
        """Starts it; kills it whenever it has come to one of the places that were drawn, wherever in its work it is then,
        and starts it again. `taken` tells how many of the `records` it has taken."""
        places = sorted(random.choices(range(1, max(records, 2)), k=self.kills))
        self.start(processor, command)
        with Waiting(f"{processor} is killed {self.kills} times while it takes {records:,} records") as waiting:
            for number, place in enumerate(places, 1):
                self.wait(processor, lambda: taken() >= place)
                self.pipeline.kill(processor)
                self.start(processor, command)
                waiting.tick(f"{number} kills")

    def run_map(self, processor, command):
        """The same of one whose state lies in memory: each life shows all of it anew, so each is killed after so many lines
        of its own, and the last one's are what counts. As often as the time allows; tells how often."""
        output = self.pipeline.output(processor)
        shown, until = output.read_text().count("\n"), time.monotonic() + MAP_SECONDS_MAX
        killed = 0
        with Waiting(f"{processor} is killed, up to {self.kills} times, while it shows {shown:,} lines") as waiting:
            while killed < self.kills and time.monotonic() < until:
                lines = random.randrange(shown + 1)
                self.wait(processor, lambda: output.read_text().count("\n") >= lines)
                self.pipeline.kill(processor)
                output.unlink()
                self.start(processor, command)
                killed += 1
                waiting.tick(f"{killed} kills")
        return killed

    def wait(self, processor, holds):
        deadline = time.monotonic() + PROGRESS_SECONDS_MAX
        while not holds():
            if time.monotonic() > deadline:
                raise Failure(f"{processor} does not go on.\n{self.pipeline.log_tail(processor)}")
            self.pipeline.check_alive()
            time.sleep(LOOK_SECONDS)

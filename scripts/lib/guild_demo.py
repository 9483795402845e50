"""The guild's day in the demo: sends it, runs the three processors, and reckons up."""

import time
from collections import Counter
from dataclasses import dataclass, replace

import guild_day
import reconcile
from guild_kills import Kills
from guild_reckoning import Found, GuildReckoning, Map, report_lines
from pipeline import Failure
from progress import say
from settling import SECONDS_MAX, settled

PROGRAM = "guild"
READS = {"daily-sales": ("miembros", "ventas", "reportes"), "stock": ("ventas",)}  # topics
STOCK_GROUP = "aguacero-stock"
SHOWN_MS = 60_000  # how long a cart is shown after its last word


@dataclass
class GuildDemo:
    pipeline: object
    services: dict
    guild: str  # the program
    app: object
    parts: list  # what is sent: a path and a record each
    kills: int = 0  # of each processor, while it works

    def run(self, requests, send):
        """`send` sends it and gives Locust's summary. Returns whether all agrees."""
        declared = self.pipeline.state["declared"]
        self.streams = declared["streams"]
        self.stores = {stream["name"]: reconcile.Stores(self.services, declared["database"], stream) for stream in self.streams}
        self.kafka = reconcile.Kafka(self.services)
        self.postgres = reconcile.Postgres(self.services)
        self.killing = Kills(self.pipeline, self.services, self.kills)
        try:
            self.start("locations")
            summary = send()
            if self.kills:
                self.kill_map()
            self.settle_stores(summary)
            arrivals = self.arrivals()
            self.settle_group("the tables", declared["tables_group"], len(arrivals))
            say("what was sent is stored; two of the processors begin only now, and catch up")
            self.catch_up(arrivals)
            return GuildReckoning(self.app, self.streams, self.parts, requests, summary, self.found(arrivals)).show()
        finally:
            for store in (*self.stores.values(), self.kafka, self.postgres):
                store.close()

    def command(self, processor):
        options = {"daily-sales": ["--reports", self.pipeline.folder], "stock": ["--autorepo"]}
        return [self.guild, processor, *options.get(processor, [])]

    def start(self, processor):
        if self.kills:
            self.killing.start(processor, self.command(processor))
        else:
            self.pipeline.launch_more(processor, self.command(processor), self.services)
            self.pipeline.wait_ready([processor])

    def catch_up(self, arrivals):
        """The two that begin when all is there."""
        for processor, topics in READS.items():
            if not self.kills:
                self.start(processor)
                continue
            records = sum(found.topic in topics for found in arrivals)
            self.killing.run(processor, self.command(processor), lambda: self.postgres.read(f"aguacero-{processor}"), records)

    def kill_map(self):
        killed = self.killing.run_map("locations", self.command("locations"))
        say(f"locations was killed {killed} times")
        self.map_began_ms = time.time() * 1000

    # ------------------------------------------------------------ the stores

    def settle_stores(self, summary):
        accepted = Counter({route["path"]: route["accepted"] for route in summary["routes"]})
        wanted = {stream["name"]: sum(accepted[path] for path in stream["routes"]) for stream in self.streams}

        def read():
            return {name: (store.documents.count_documents({}), store.hash("total").get("events", 0))
                    for name, store in self.stores.items()}

        settled("the archive and the counters", read, lambda found: found == {name: (n, n) for name, n in wanted.items()}, self.pipeline)

    def settle_group(self, what, group, records):
        """Until a group that keeps its offsets in PostgreSQL has taken so many."""
        settled(what, lambda: self.postgres.read(group), lambda taken: taken >= records, self.pipeline)

    def arrivals(self):
        topics = dict.fromkeys(stream["topic"] for stream in self.streams)
        return [guild_day.arrival(topic, *record, self.streams) for topic in topics for record in self.kafka.records(topic)]

    def found(self, arrivals):
        events = guild_day.each_once(arrivals)
        days = [day.isoformat() for day in guild_day.days(events)[:1]]
        reports = {day: self.report(day) for day in days}
        sales = sum(found.topic == "ventas" for found in arrivals)
        self.settle_group("the deliveries", STOCK_GROUP, sales)
        at_its_end = self.map_at_its_end(arrivals)
        return Found(
            counts={name: store.counts() for name, store in self.stores.items()},
            values={stream["name"]: self.stores[stream["name"]].values(replace(self.app, fields=tuple(stream["fields"])))
                    for stream in self.streams},
            arrivals=arrivals,
            rows={stream["table"]: self.postgres.rows(stream["table"], [column["name"] for column in stream["row"]["columns"]])
                  for stream in self.streams if stream["table"]},
            reports=reports,
            groups=self.postgres.rows("guild.stock_sales", ["group_number", "place", "id"]),
            deliveries=[row[1:] for row in sorted(self.postgres.rows("guild.deliveries", ["id", "plate", "stock"]))],
            is_auto=True, map=at_its_end)

    # ------------------------------------------------------------ the processors

    def report(self, day):
        """As it stands when the processor has read everything, which it waits for; or, if the day was closed meanwhile, at
        its end."""
        asked = self.ask_daily_sales("--preview", "--day", day)
        if asked.returncode == 0:
            return report_lines(asked.stdout)
        closed = self.ask_daily_sales("--day", day, "--reports", self.pipeline.folder)
        if closed.returncode == 0:
            return closed.stdout.rstrip("\n").split("\n")
        raise Failure(f"guild daily-sales does not tell {day}:\n{asked.stderr}{closed.stderr}\n{self.pipeline.log_tail('daily-sales')}")

    def ask_daily_sales(self, *options):
        return self.pipeline.ask([self.guild, "daily-sales", *options], self.services)

    def map_at_its_end(self, arrivals):
        """What was shown on it, when all should have disappeared."""
        shown = [found.at_ms for found in arrivals if found.topic == "reportes"]
        if self.kills and self.map_began_ms > min(shown, default=self.map_began_ms) + SHOWN_MS:
            raise Failure("The map was killed for longer than a minute, after which carts are gone: take fewer KILLS or REQUESTS.")
        last_ms = max(shown, default=0)
        seconds = max(last_ms + SHOWN_MS - time.time() * 1000, 0) / 1000
        output = self.pipeline.output("locations")
        return settled("the carts to disappear, a minute after their last word", lambda: Map(output.read_text()),
                       lambda map_: map_.is_empty, self.pipeline, seconds + SECONDS_MAX)

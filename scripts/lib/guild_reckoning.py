"""What came of the guild's day, held against what was sent and what guild_day.py calculates from it; told on one screen."""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from functools import cached_property

import guild_day
from reckoning import differing, expected, print_times, records, repeated, tick

# Of each reserved partition, the streams and what of them belongs there.
OF = {"premium": {"miembros": lambda found: found.fields["Registro premium"] in guild_day.PREMIUM},
      "extraviados": {"reportes": lambda found: True}}
ROWS = {"miembros": "each member as the last registration says", "ubicaciones": "each cart where it was last seen"}
EXAMPLE_LENGTH_MAX = 150
AT = re.compile(r"\S+ \S+ carrito (.*) en (-?[0-9.]+),(-?[0-9.]+)")
GONE = re.compile(r"\S+ \S+ carrito (.*) se fue")
STRAY = re.compile(r"\S+ \S+ extraviado en (-?[0-9.]+),(-?[0-9.]+)( se fue)?")


@dataclass
class Found:
    """What the stores have, and what the processors tell."""

    counts: dict  # of each stream, as reckoning.Counts
    values: dict  # of each stream, how often the values of all its fields are archived
    arrivals: list  # the records in Kafka, as guild_day.Arrival
    rows: dict  # of each table, in the order of its columns
    reports: dict  # of each day, the lines of the processor's report
    groups: list  # number, place and sale's id of each sale that was taken for a group
    deliveries: list  # plate, and what the cart had left, in the order in which they were prepared
    is_auto: bool  # whether deliveries were made at once
    map: "Map"  # what was shown, to the end


@dataclass
class Line:
    """Figures beside what they should be, and words."""

    name: str
    cells: list  # pairs of a value and the wanted one; a wanted one of None is told, and not judged
    note: str = ""
    is_wrong: bool = False  # whatever the figures say

    @property
    def is_right(self):
        return not self.is_wrong and all(wanted is None or value == wanted for value, wanted in self.cells)


@dataclass
class GuildReckoning:
    app: object
    streams: list  # as streams.py has them
    parts: list  # what was sent: a path and a record each
    requests: int
    summary: dict  # Locust's
    found: Found
    examples: list = field(default_factory=list)  # of what is not as it should be

    @cached_property
    def sent(self):
        """Of each stream its records, with how often each was sent."""
        names = {path: stream["name"] for stream in self.streams for path in stream["routes"]}
        of = defaultdict(list)
        for (path, record), times in repeated(self.parts, self.requests):
            of[names[path]].append((record, times))
        return of

    @cached_property
    def events(self):
        return guild_day.each_once(self.found.arrivals)

    def sections(self):
        return [
            (["stream", "requests", "2xx", "Kafka", "MongoDB", "as sent", "Redis", "by key"], [*map(self.of_stream, self.streams)]),
            (["topic", *(f"partition {number}" for number in range(self.partitions))], self.of_topics()),
            (["table", "rows", "as sent"], [self.of_table(stream) for stream in self.streams if stream["table"]]),
            (["processor", "told", "calculated"], [*map(self.of_day, self.days()), *self.of_stock(), *self.of_locations()]),
        ]

    # ------------------------------------------------------------ Kafka, MongoDB, Redis

    def of_stream(self, stream):
        name, sent = stream["name"], self.sent[stream["name"]]
        counts, wanted = self.found.counts[name], sum(times for _, times in sent)
        app = replace(self.app, fields=tuple(stream["fields"]))
        values, counters = expected(app, stream, sent)
        told = [route for route in self.summary["routes"] if route["path"] in stream["routes"]]
        arrived = [found for found in self.found.arrivals if found.stream == name]
        bytes_sent = Counter()
        for record, times in sent:
            bytes_sent[record] += times
        in_kafka = self.differing(f"{name} in Kafka", bytes_sent, Counter(found.value for found in arrived))
        in_mongodb = self.differing(f"{name} in MongoDB", values, self.found.values[name])
        by_key = sum(count for keys in counters.values() for count in keys.values())
        wrong_keys = sum(self.differing(f"{name} {counter}", keys, counts.counters[counter]) for counter, keys in counters.items())
        return Line(name, [
            (sum(route["requests"] for route in told), wanted), (sum(route["accepted"] for route in told), wanted),
            (len(arrived), wanted), (counts.mongodb, wanted), (wanted - max(in_kafka, in_mongodb), wanted),
            (counts.total, wanted), (by_key - wrong_keys, by_key)], is_wrong=bool(in_kafka or in_mongodb or wrong_keys))

    @property
    def partitions(self):
        return max((found.partition for found in self.found.arrivals), default=0) + 1

    def of_topics(self):
        """How many records each partition has. Those that belong into a reserved one are there, and no others."""
        for topic in dict.fromkeys(stream["topic"] for stream in self.streams):
            arrived = [found for found in self.found.arrivals if found.topic == topic]
            of = Counter(found.partition for found in arrived)
            line = Line(topic, [(of[number], None) for number in range(max(of, default=0) + 1)])
            reserved = next((stream["reserved"] for stream in self.streams if stream["topic"] == topic), {})
            for name, number in reserved.items():
                own = {found.order for found in arrived if found.stream in OF[name] and OF[name][found.stream](found)}
                elsewhere = [found for found in arrived if (found.order in own) != (found.partition == number)]
                line.cells[number:number + 1] = [(of[number], len(own))]
                line.note = f"{name} in {number}, and nothing else there"
                line.is_wrong = bool(elsewhere)
                self.examples += [f"{topic}: not in partition {found.partition}: {short(found.value.decode())}" for found in elsewhere[:1]]
            yield line

    # ------------------------------------------------------------ PostgreSQL

    def of_table(self, stream):
        name, declared = stream["table"].removeprefix("public."), stream["row"]
        right = guild_day.rows(declared, self.events.get(stream["name"], []))
        names = [column["name"] for column in declared["columns"]]
        key = [names.index(column) for column in declared["primary_key"]]
        rows = self.found.rows[stream["table"]]
        wrong = [row for row in rows if row not in right.get(tuple(row[place] for place in key), [])]
        missing = right.keys() - {tuple(row[place] for place in key) for row in rows}
        for row in wrong[:1]:
            wanted = right.get(tuple(row[place] for place in key), ["none"])[0]
            self.examples.append(f"{name}: {short(row)}, and it should be {short(wanted)}")
        self.examples += [f"{name}: missing: {short(right[key][0])}" for key in sorted(missing, key=str)[:1]]
        return Line(name, [(len(rows), len(right)), (len(rows) - len(wrong), len(right))], ROWS.get(stream["name"], ""),
                    is_wrong=bool(wrong or missing))

    # ------------------------------------------------------------ the processors

    def days(self):
        """The first one, and no other: what a later one has depends on whether this one is closed by then."""
        return guild_day.days(self.events)[:1]

    def of_day(self, day):
        """Line by line, as the processor tells the day."""
        wanted, told = guild_day.report(day, self.events), self.found.reports.get(day.isoformat()) or []
        lines = wanted.lines()
        wrong = self.differing(f"daily sales of {day}", Counter(lines), Counter(told))
        total, sold = wanted.total, [cart.sales for cart in wanted.of_nobody.values()]
        note = (f"lines: {len(wanted.members):,} members, {total.sold:,} sopaipillas; {wanted.by_place:,} sales known by their place, "
                f"{sum(sold):,} of nobody's carts, {len(wanted.unmatched):,} of none")
        if told != lines and not wrong:
            self.examples.append(f"daily sales of {day}: lines are not in their order")
        return Line(f"daily sales of {day}", [(len(told), len(lines)), (len(lines), None)], note, is_wrong=told != lines)

    def of_stock(self):
        """Each sale is in one group; groups have five, but the last; deliveries are those that the groups ask for."""
        sales = {sale.id: sale for sale in self.events.get("ventas", [])}
        of = defaultdict(list)
        for number, place, sale in sorted(self.found.groups):
            of[number].append((place, sale))
        full, open_ = divmod(len(sales), guild_day.GROUP)
        wanted = [guild_day.GROUP] * full + [open_] * bool(open_)
        are_whole = [[place for place, _ in of.get(number, [])] == [*range(1, size + 1)] for number, size in enumerate(wanted, 1)]
        once = self.differing("sales in groups", Counter(list(sales)), Counter(sale for *_, sale in self.found.groups))
        if not all(are_whole):
            self.examples.append(f"groups: number {are_whole.index(False) + 1} has not the places that it should")
        yield Line("stock", [(len(of), len(wanted)), (len(wanted), None)],
                   f"groups of five; each of the {len(sales):,} sales is in one", is_wrong=bool(once) or not all(are_whole))
        groups = [(number, [sales[sale] for _, sale in of[number] if sale in sales]) for number in sorted(of)]
        due = [(plate, stock) for _, plate, stock in guild_day.deliveries(groups, self.found.is_auto)]
        wrong = self.differing("deliveries", Counter(due), Counter(self.found.deliveries))
        if due != self.found.deliveries and not wrong:
            self.examples.append("deliveries: not in the order in which the groups ask for them")
        yield Line("", [(len(self.found.deliveries), len(due)), (len(due), None)],
                   "deliveries to carts with fewer than 20 left", is_wrong=due != self.found.deliveries)

    def of_locations(self):
        last = {}
        for found in self.events.get("ubicaciones", []):
            last[guild_day.on_screen(found.fields["Patente carrito"])] = guild_day.in_degrees(found.fields["Ubicación del carrito"])
        map_ = self.found.map
        wrong = self.differing("carts where they were last", Counter(last.items()), Counter(map_.shown.items()))
        stay = sorted(map_.shown.keys() - map_.gone)
        self.examples += [f"locations: still shown: {short(stay[0])}"] if stay else []
        yield Line("locations", [(len(map_.gone), len(last)), (len(last), None)],
                   "carts: shown where they were last, gone a minute later", is_wrong=bool(wrong or stay))
        strays = Counter(guild_day.in_degrees(found.fields["Coordenadas"]) for found in self.events.get("reportes", []))
        wrong = self.differing("strays", strays, map_.strays)
        stay = self.differing("strays that are gone", strays, map_.strays_gone)
        yield Line("", [(map_.strays_gone.total(), strays.total()), (strays.total(), None)], "strays: the same",
                   is_wrong=bool(wrong or stay))

    # ------------------------------------------------------------ told

    def differing(self, what, wanted, found):
        wrong, example = differing(wanted, found)
        if wrong:
            self.examples.append(f"{what}: {wrong:,} missing or too many: {short(example)}")
        return wrong

    def show(self):
        """The counts beside each other, with what Locust measured; whether all of them agree."""
        self.examples.clear()
        sections = [(heads, list(lines)) for heads, lines in self.sections()]
        for heads, lines in sections:
            print("\n" + "\n".join(f"  {line}" for line in told(heads, lines)))
        print_times({**self.summary, "routes": []})
        for example in self.examples:
            print(f"  {example}")
        agreed = all(line.is_right for _, lines in sections for line in lines)
        print(f"\n  {'All agree: not one is missing.' if agreed else 'They do not agree.'}\n", flush=True)
        return agreed


def told(heads, lines):
    """A table whose figures say what they should be where they are not, with a tick or a cross behind each line."""
    cells = [heads] + [[line.name, *map(figure, line.cells)] for line in lines]
    cells = [row + [""] * (len(heads) - len(row)) for row in cells]
    widths = [max(map(records.width, column)) for column in zip(*cells)]

    def row_of(row):
        padded = [cell + " " * (width - records.width(cell)) if place == 0 else " " * (width - records.width(cell)) + cell
                  for place, (cell, width) in enumerate(zip(row, widths))]
        return "  ".join(padded)

    rows = [f"{row_of(row)}  {tick(line.is_right)}  {line.note}".rstrip() for row, line in zip(cells[1:], lines)]
    return [row_of(cells[0]).rstrip(), *rows]


def figure(cell):
    value, wanted = cell
    return f"{value:,}" if wanted in (None, value) else f"{value:,}, not {wanted:,}"


def short(value):
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= EXAMPLE_LENGTH_MAX else text[:EXAMPLE_LENGTH_MAX] + "…"


# ---------------------------------------------------------------- what the processors say

class Map:
    """What the lines of `guild locations` come to: where each cart was last, which are gone and have not come back, and the
    same of strays, each report by itself."""

    def __init__(self, text):
        self.shown, self.gone = {}, set()
        self.strays, self.strays_gone = Counter(), Counter()
        for line in text.split("\n"):
            if at := AT.fullmatch(line):
                self.shown[at[1]] = (float(at[2]), float(at[3]))
                self.gone.discard(at[1])
            elif gone := GONE.fullmatch(line):
                self.gone.add(gone[1])
            elif stray := STRAY.fullmatch(line):
                (self.strays_gone if stray[3] else self.strays)[float(stray[1]), float(stray[2])] += 1

    @property
    def is_empty(self):
        return self.shown.keys() <= self.gone and self.strays == self.strays_gone

    def __str__(self):
        strays = self.strays.total()
        return (f"{len(self.shown) - len(self.gone):,} of {len(self.shown):,} carts, "
                f"{strays - self.strays_gone.total():,} of {strays:,} strays are shown")


def report_lines(text):
    """Without the first line, which says until when it goes, and the blank one at the end."""
    return text.rstrip("\n").split("\n")[1:]

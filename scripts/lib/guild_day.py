"""What the guild's day comes to, calculated from the records as they arrived: rows, the daily report, deliveries.

Written from what is promised, and apart from the programs that it is held against. Reads nothing itself."""

import json
import math
import uuid
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

PREMIUM = (True, "si", "sí")
ZONE = ZoneInfo("America/Santiago")
CLOSES = time(23, 59, fold=1)  # where that comes twice in a night, the second
SEEN_MS_MAX, NEAR_METRES = 60_000, 100
NEAR_DEGREES = 0.001  # of latitude: 111 m, more than what is near
EARTH_METRES = 6_371_008.8
LINES_MAX = 1000
TURNS = {"\u2028", "\u2029", *map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}
GROUP, STOCK_LEAST, STOCK_FULL = 5, 20, 100


@dataclass(frozen=True)
class Arrival:
    """A record in Kafka."""

    stream: str
    topic: str
    partition: int
    offset: int
    at_ms: int
    id: str
    value: bytes
    fields: dict  # by their declared names; None where they are absent

    @property
    def order(self):
        """By arrival; where two are of one millisecond, as they stand in Kafka."""
        return self.at_ms, self.partition, self.offset


def arrival(topic, partition, offset, at_ms, header, value, streams):
    """Of a record with this header `aguacero` (docs/record.md); `streams` as streams.py has them."""
    name = header[18 : 18 + header[17]].decode()
    document = json.loads(value)
    declared = next(stream for stream in streams if stream["name"] == name)["fields"]
    fields = {field: next((document[name] for name in names if name in document), None) for field, names in declared.items()}
    return Arrival(name, topic, partition, offset, at_ms, str(uuid.UUID(bytes=header[1:17])), value, fields)


def each_once(arrivals):
    """An event may stand in Kafka more than once; by stream, in the order in which they arrived."""
    of = defaultdict(dict)
    for found in sorted(arrivals, key=lambda found: found.order):
        of[found.stream].setdefault(found.id, found)
    return {stream: list(found.values()) for stream, found in of.items()}


def in_degrees(value):
    """Latitude and longitude of any form that the gateway takes."""
    if isinstance(value, dict):
        value = [value.get("lat", value.get("latitud")), value.get("lon", value.get("longitud"))]
    return tuple(map(float, value.split(",") if isinstance(value, str) else value))


# ---------------------------------------------------------------- tables

def rows(declared, arrivals):
    """By primary key, the rows that are right, of a stream's `row` as streams.py has it: one each, or those of several events
    of the same millisecond, of which any may be the later one."""
    key = [place for place, column in enumerate(declared["columns"]) if column["name"] in declared["primary_key"]]
    latest = defaultdict(lambda: (-1, []))
    for found in arrivals:
        row = tuple(cell(column, found) for column in declared["columns"])
        at = tuple(row[place] for place in key)
        before, right = latest[at]
        if declared["on_conflict"] != "update" or found.at_ms == before:
            latest[at] = (found.at_ms, [*right, row])
        elif found.at_ms > before:
            latest[at] = (found.at_ms, [row])
    return {key: right for key, (_, right) in latest.items()}


def cell(column, found):
    """As PostgreSQL has it, in Python's words: a place as two numbers, a time as milliseconds since 1970."""
    if "value" in column:
        return {"id": found.id, "arrival": found.at_ms, "topic": found.topic, "partition": found.partition,
                "offset": found.offset}[column["value"]]
    value = found.fields[column["field"]]
    if value is None:
        return None
    if column["type"] == "point":
        return in_degrees(value)
    if column["type"] == "text" and not isinstance(value, str):
        return json.dumps(value)
    return value


def plain(value):
    """The same of what a client of PostgreSQL gives."""
    if isinstance(value, datetime):
        return round(value.timestamp() * 1000)
    return str(value) if isinstance(value, uuid.UUID) else value


def point(text):
    return None if text is None else tuple(map(float, text.strip("()").split(",")))


# ---------------------------------------------------------------- daily sales

@lru_cache(maxsize=None)
def closing(day):
    """Milliseconds since 1970."""
    return round(datetime.combine(day, CLOSES, ZONE).timestamp() * 1000)


def day_of(at_ms):
    day = datetime.fromtimestamp(at_ms / 1000, ZONE).date()
    return day if at_ms < closing(day) else day + timedelta(days=1)


def days(arrivals):
    """Those on which something was sold."""
    return sorted({day_of(sale.at_ms) for sale in arrivals.get("ventas", [])})


@dataclass
class Report:
    day: date
    members: list  # rut, name and Sum of each, by name
    of_nobody: dict  # of each plate that no member has, its Sum
    unmatched: list  # sales that name no cart, and at whose place none was seen
    total: "Sum"
    by_place: int  # sales that name no cart, and were given to the one that was there

    def lines(self):
        """As the processor tells it."""
        opening, closing_ = closing(self.day - timedelta(days=1)), closing(self.day)
        heads = ("Rut", "Nombre", "Sopaipillas", "Ventas", "Clientes", "Promedio por cliente")
        members = [(on_screen(rut), on_screen(name), *sum_.cells()) for rut, name, sum_ in self.members]
        of_nobody = self.of_nobody.values()
        return [
            f"Ventas del {self.day}: desde {local(opening):%F %H:%M} hasta {local(closing_):%F %H:%M}, hora de {ZONE}", "",
            *aligned([heads, *members, ("Total", "todas las ventas", *self.total.cells())]), "",
            "Ventas de carritos que no son de ningún socio: " + sold(sum(s.sales for s in of_nobody), sum(s.sold for s in of_nobody)),
            *first(f"  {on_screen(plate)}: {sold(s.sales, s.sold)}" for plate, s in sorted(self.of_nobody.items())),
            "Ventas sin patente donde no se vio ningún carrito: " + sold(len(self.unmatched), sum(map(amount, self.unmatched))),
            *first(map(unmatched, self.unmatched)),
            f"Ventas sin patente asignadas por su ubicación: {self.by_place}",
            "Ventas de días anteriores que llegaron después de su informe: 0",
        ]


class Sum:
    def __init__(self):
        self.sold, self.sales, self.customers = 0, 0, set()

    def add(self, sale):
        self.sold += amount(sale)
        self.sales += 1
        self.customers.add(sale.fields["Cliente"])

    def cells(self):
        hundredths = (self.sold * 100 + len(self.customers) // 2) // max(len(self.customers), 1)
        return str(self.sold), str(self.sales), str(len(self.customers)), f"{hundredths // 100}.{hundredths % 100:02}"


def report(day, arrivals):
    """Of `each_once`."""
    names, owners = members_at(closing(day), arrivals.get("miembros", []))
    seen = Sightings(arrivals.get("ubicaciones", []))
    of_member, of_nobody = {rut: Sum() for rut in names}, defaultdict(Sum)
    found = Report(day, [(rut, name, of_member[rut]) for name, rut in sorted((name, rut) for rut, name in names.items())],
                   of_nobody, [], Sum(), 0)
    for sale in arrivals.get("ventas", []):
        if day_of(sale.at_ms) != day:
            continue
        found.total.add(sale)
        plate = sale.fields["Patente carrito"]
        if plate is None:
            plate = seen.at(sale)
            found.by_place += plate is not None
        if plate is None:
            found.unmatched.append(sale)
        elif plate in owners:
            of_member[owners[plate]].add(sale)
        else:
            of_nobody[plate].add(sale)
    return found


def amount(sale):
    return sale.fields["Cantidad de Sopaipillas"]


def local(at_ms):
    return datetime.fromtimestamp(at_ms / 1000, ZONE)


def sold(sales, sopaipillas):
    return f"{sales} ({sopaipillas} sopaipillas)"


def unmatched(sale):
    lat, lon = in_degrees(sale.fields["Ubicación del carrito"])
    return (f"  {local(sale.at_ms // 1000 * 1000):%F %T}, {lat:.5f},{lon:.5f}, {on_screen(sale.fields['Cliente'])}: "
            f"{amount(sale)} sopaipillas")


def first(lines):
    lines = list(lines)
    more = [f"  … y {len(lines) - LINES_MAX} más"] if len(lines) > LINES_MAX else []
    return [*lines[:LINES_MAX], *more]


def aligned(rows):
    """The first two columns are words, the others figures; characters are counted, whatever place they take."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(cell.ljust(width) if place < 2 else cell.rjust(width)
                      for place, (cell, width) in enumerate(zip(row, widths))).rstrip(" ") for row in rows]


def on_screen(text):
    """As the processors show what came from outside: without what would move the cursor or turn the writing round."""
    return "".join("\ufffd" if c in TURNS or ord(c) < 32 or 127 <= ord(c) < 160 else c for c in text)


def members_at(closing_ms, registrations):
    """As they were then: names by rut, and whose a plate is, which is who registered it last."""
    last = {found.fields["Rut"]: found for found in registrations if found.at_ms < closing_ms}
    names = {rut: f"{found.fields['Nombre']} {found.fields['Apellido']}".strip() for rut, found in last.items()}
    by_age = sorted(last.values(), key=lambda found: found.order)
    return names, {found.fields["Patente carrito"]: found.fields["Rut"] for found in by_age if found.fields["Patente carrito"]}


class Sightings:
    """Where carts were seen, asked for times that only go forward."""

    def __init__(self, positions):
        self.positions, self.taken, self.last = positions, 0, {}

    def at(self, sale):
        """The cart nearest to the place of a sale, of those that were seen near it within a minute before."""
        while self.taken < len(self.positions) and self.positions[self.taken].at_ms <= sale.at_ms:
            found = self.positions[self.taken]
            self.last[found.fields["Patente carrito"]] = (found.at_ms, in_degrees(found.fields["Ubicación del carrito"]))
            self.taken += 1
        place = in_degrees(sale.fields["Ubicación del carrito"])
        near = [(metres(place, here), plate) for plate, (at_ms, here) in self.last.items()
                if sale.at_ms - at_ms <= SEEN_MS_MAX and abs(place[0] - here[0]) < NEAR_DEGREES]
        return min((found for found in near if found[0] <= NEAR_METRES), default=(0, None))[1]


def metres(one, other):
    (lat, lon), (other_lat, other_lon) = (map(math.radians, place) for place in (one, other))
    a = math.sin((other_lat - lat) / 2) ** 2 + math.cos(lat) * math.cos(other_lat) * math.sin((other_lon - lon) / 2) ** 2
    return 2 * EARTH_METRES * math.asin(min(1, math.sqrt(a)))


# ---------------------------------------------------------------- stock

def deliveries(groups, is_auto):
    """What is to be delivered, by the group that brings it about: pairs of a plate and what the cart has left. `groups` has
    the sales of each, in the order in which they were taken; only those of five ask for anything. `is_auto`: a delivery is
    made as soon as it is prepared."""
    stock, awaiting, due = {}, set(), []
    for number, sales in groups:
        stock.update((sale.fields["Patente carrito"], sale.fields["Stock restante"]) for sale in sales)
        plates = dict.fromkeys(sale.fields["Patente carrito"] for sale in sales)
        for plate in plates if len(sales) == GROUP else ():
            if plate is None or plate in awaiting or stock[plate] >= STOCK_LEAST:
                continue
            due.append((number, plate, stock[plate]))
            if is_auto:
                stock[plate] = STOCK_FULL
            else:
                awaiting.add(plate)
    return due

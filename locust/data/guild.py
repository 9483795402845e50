#!/usr/bin/env python3
"""Writes a day of a guild of street vendors, always the same for the same seed.

    python3 locust/data/guild.py [--records 10000] [--seed 20261130] [--out locust/data/guild.json]

Members register before anything is sold, some of them again later. Carts say where they are, and sell, from eight in the
morning until half past eleven at night; anyone reports stray carts. Every record is written as {"/ventas": {…}}, with the
route that it goes to, and fits its stream in examples/guild.toml, the odd ones too. What is sent about one cart or member
stands so far apart in the file that several clients do not overtake each other with it.
"""

from dataclasses import dataclass
from itertools import cycle

import making
import people
from making import Dice

SEED = 20261130
RECORDS = 10_000
OPENS, CLOSES = 8 * 60, 23 * 60 + 30  # minutes

# Of all records; the rest is sold.
REGISTRATION_SHARE, REGISTRATION_AGAIN_SHARE = 0.048, 0.012
POSITION_SHARE, REPORT_SHARE = 0.29, 0.05
CARTS_SHARE = 0.03
APART = 50  # records between two about the same cart or member

PREMIUM_SHARE, PREMIUM_LATER_SHARE = 0.25, 0.3
PREMIUM, ORDINARY = (True, "si", "sí"), (False, "no", None)
WITHOUT_CART_SHARE, SHARED_CART_SHARE, OF_NO_MEMBER_SHARE, DOTTED_SHARE = 0.12, 0.02, 0.06, 0.2
OTHER_CART_SHARE = 0.05  # of those who register again
STANDING_SHARE = 0.5  # of the carts, those that stay at their place
ODD_MEMBERS_EVERY, ODD_CUSTOMERS_SHARE = 11, 0.02

# Of the sales.
WITHOUT_PLATE_SHARE, FAR_SHARE = 0.12, 0.02
CUSTOMERS = 300
STOCK_LOW, REFILL_CHANCE, REFILL = 20, 0.3, 80

ESCAPED_SHARE, COMPACT_SHARE, ALIAS_SHARE, NOTE_SHARE = 0.4, 0.25, 0.05, 0.01
ALIASES = {
    "Nombre": ["nombre"], "Apellido": ["apellido"], "Rut": ["rut"], "Correo del dueño": ["correo"], "Patente carrito": ["patente"],
    "Registro premium": ["premium"], "Cliente": ["cliente"], "Cantidad de Sopaipillas": ["cantidad"], "Hora": ["hora"],
    "Stock restante": ["stock"], "Ubicación del carrito": ["ubicación", "ubicacion"],
    "Coordenadas": ["coordenadas", "Ubicación del carrito", "ubicación", "ubicacion"],
}


def check_digit(number):
    """Of a rut: its digits from the right times 2 to 7 and again, to eleven."""
    total = sum(int(digit) * (2 + place % 6) for place, digit in enumerate(reversed(str(number))))
    return "0123456789K0"[11 - total % 11]


@dataclass
class Member:
    name: str
    surname: str
    rut: str
    plate: str | None
    premium: bool
    last_at: int = 0  # the record that was last sent about them


@dataclass
class Cart:
    plate: str
    home: tuple
    stands: bool
    place: tuple
    stock: int
    last_at: int = 0


class Day:
    """What there is of the guild, and what happens next."""

    def __init__(self, count, seed):
        self.count = count
        self.dice = Dice(seed)
        self.members = self.register(max(round(count * REGISTRATION_SHARE), 1))
        self.carts = self.put_up(max(round(count * CARTS_SHARE), 2))
        first = [person(self.dice) for _ in range(CUSTOMERS)]
        self.customers = [f"{name} {surname[:1]}." for name, surname in first]
        self.odd_customers = cycle(name for names in people.ODD_NAMES for name in names)

    def register(self, count):
        dice, ruts, plates = self.dice, set(), list(people.ODD_PLATES)
        members = []
        for index in range(count):
            odd = index % ODD_MEMBERS_EVERY == ODD_MEMBERS_EVERY - 1
            names = people.ODD_NAMES[index // ODD_MEMBERS_EVERY % len(people.ODD_NAMES)] if odd else person(dice)
            has_cart = odd or not dice.chance(WITHOUT_CART_SHARE)
            shares = members and dice.chance(SHARED_CART_SHARE)
            own = members[-1].plate if shares else plates.pop() if odd and plates else plate(dice) if has_cart else None
            members.append(Member(*names, rut(dice, ruts), own, dice.chance(PREMIUM_SHARE)))
        return members

    def put_up(self, count):
        """Carts that sell: of members, and some of nobody who has registered."""
        dice = self.dice
        plates = list(dict.fromkeys(member.plate for member in self.members if member.plate))
        own = round(count * (1 - OF_NO_MEMBER_SHARE))
        plates = [*plates[:own], *(plate(dice) for _ in range(count - min(own, len(plates))))]
        return [self.cart(plate_, index) for index, plate_ in enumerate(plates)]

    def cart(self, plate_, index):
        row, column = divmod(index, people.CELLS_A_ROW)
        home = place(people.SOUTH + row * people.CELL_DEGREES, people.WEST + column * people.CELL_DEGREES)
        return Cart(plate_, home, self.dice.chance(STANDING_SHARE), home, 30 + self.dice.below(70))

    def records(self):
        """Pairs of a route and a record."""
        for index in range(self.count):
            if index < len(self.members):
                yield "/miembros", self.registration(index, self.members[index])
            elif index < len(self.members) + len(self.carts):
                yield "/ubicaciones", self.position(index, self.carts[index - len(self.members)])
            else:
                yield self.next(index)

    def next(self, index):
        dice = self.dice
        cart = self.rested(index)
        # The first positions are among all of them, and the registrations before.
        left = self.count - len(self.members) - len(self.carts)
        shares = [(self.count * POSITION_SHARE - len(self.carts)) / left, self.count * REPORT_SHARE / left,
                  self.count * REGISTRATION_AGAIN_SHARE / left]
        chance = dice.random()
        if chance < shares[0]:
            return "/ubicaciones", self.position(index, cart)
        if chance < shares[0] + shares[1]:
            return "/reportes", {"Coordenadas": coordinates(dice, near(dice, cart.place, 0.05))}
        if chance < sum(shares):
            return "/miembros", self.registration_again(index)
        return "/ventas", self.sale(index, cart)

    def rested(self, index):
        """A cart of which nothing was sent among the last records; the first ones sell most."""
        return rested(lambda: self.dice.zipf(self.carts) if self.dice.chance(0.3) else self.dice.pick(self.carts), index)

    def registration(self, index, member):
        dice = self.dice
        member.last_at = index
        record = {"Nombre": member.name, "Apellido": member.surname, "Rut": member.rut}
        if dice.chance(0.9):
            record["Correo del dueño"] = mail(dice, member)
        if member.plate:
            record["Patente carrito"] = member.plate
        if member.premium or dice.chance(0.7):
            record["Registro premium"] = dice.pick(PREMIUM if member.premium else ORDINARY)
        return record

    def registration_again(self, index):
        """Another address, a better sort of member, or another cart: the one before is nobody's then."""
        member = rested(lambda: self.dice.pick(self.members), index)
        member.premium = member.premium or self.dice.chance(PREMIUM_LATER_SHARE)
        if self.dice.chance(OTHER_CART_SHARE):
            member.plate = plate(self.dice)
        return self.registration(index, member)

    def position(self, index, cart):
        cart.last_at = index
        if not cart.stands:
            cart.place = near(self.dice, cart.home, 0.003)
        return {"Patente carrito": cart.plate, "Ubicación del carrito": coordinates(self.dice, cart.place)}

    def sale(self, index, cart):
        dice = self.dice
        cart.last_at = index
        sold = 1 + min(dice.below(6), dice.below(6))
        if cart.stock < STOCK_LOW and dice.chance(REFILL_CHANCE) or cart.stock < sold:
            cart.stock += REFILL
        cart.stock -= sold
        minute = OPENS + (CLOSES - OPENS) * index // self.count
        customer = next(self.odd_customers) if dice.chance(ODD_CUSTOMERS_SHARE) else dice.zipf(self.customers)
        record = {"Cliente": customer, "Cantidad de Sopaipillas": sold, "Hora": hour(dice, minute), "Stock restante": cart.stock}
        if dice.chance(FAR_SHARE):
            return {**record, "Ubicación del carrito": coordinates(dice, dice.pick(people.FAR))}
        if cart.stands and dice.chance(WITHOUT_PLATE_SHARE / STANDING_SHARE):
            here = cart.place if dice.chance(0.7) else near(dice, cart.place, 0.0002)
            return {**record, "Ubicación del carrito": coordinates(dice, here)}
        record["Ubicación del carrito"] = coordinates(dice, cart.place)
        return {**record, "Patente carrito": cart.plate}


def rested(pick, index):
    """One about which nothing was sent among the last records, if there is one."""
    for _ in range(100):
        found = pick()
        if found.last_at <= index - APART:
            break
    return found


def person(dice):
    name = dice.pick(people.NAMES) + (f" {dice.pick(people.NAMES)}" if dice.chance(0.3) else "")
    return name, f"{dice.pick(people.SURNAMES)} {dice.pick(people.SURNAMES)}" if dice.chance(0.6) else dice.pick(people.SURNAMES)


def rut(dice, taken):
    number = 5_000_000 + dice.below(21_000_000)
    while number in taken:
        number += 1
    taken.add(number)
    text = f"{number:,}".replace(",", ".") if dice.chance(DOTTED_SHARE) else str(number)
    return f"{text}-{check_digit(number)}"


def plate(dice):
    return "".join(dice.pick(people.PLATE_LETTERS) for _ in range(4)) + f"-{dice.below(100):02}"


def mail(dice, member):
    plain = making.without_accents(f"{member.name}.{member.surname}").lower()
    before = "".join(c for c in plain if c.isascii() and (c.isalnum() or c in ".'-"))[:40].strip(".") or "x"
    return f"{before}{dice.below(100)}@{dice.pick(people.MAIL_HOSTS)}"


def place(lat, lon):
    return round(lat, 5), round(lon, 5)


def near(dice, here, degrees):
    lat, lon = here
    return place(lat + (2 * dice.random() - 1) * degrees, lon + (2 * dice.random() - 1) * degrees)


def coordinates(dice, here):
    """In any of the forms that the gateway takes."""
    lat, lon = here
    return dice.pick([{"lat": lat, "lon": lon}, {"lat": lat, "lon": lon}, [lat, lon], f"{lat},{lon}", f"{lat}, {lon}",
                      {"latitud": lat, "longitud": lon}, {"lon": lon, "lat": lat}])


def hour(dice, minute):
    hours, minutes = divmod(minute, 60)
    if dice.chance(0.9):
        return f"{hours:02}:{minutes:02}"
    return dice.pick([f"{hours:02}:{minutes:02}:{dice.below(60):02}", f"{hours}h{minutes:02}", hours, f"{hours}.{minutes:02} hrs"])


def encoded(dice, path, record):
    if dice.chance(ALIAS_SHARE):
        record = {dice.pick(ALIASES[name]): value for name, value in record.items()}
    if dice.chance(NOTE_SHARE):
        record = {**record, "Nota": "con pebre"}
    return making.encoded({path: record}, dice.chance(ESCAPED_SHARE), dice.chance(COMPACT_SHARE))


def document(count=RECORDS, seed=SEED):
    dice = Dice(seed + 1)
    return making.array(encoded(dice, path, record) for path, record in Day(count, seed).records())


if __name__ == "__main__":
    making.main(__doc__, document, "guild.json", RECORDS, SEED)

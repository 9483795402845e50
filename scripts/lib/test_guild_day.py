"""What the calculation of the guild's day promises. Run with: python3 -m unittest discover scripts/lib"""

import json
import sys
import unittest
import uuid
from datetime import date, datetime, timezone
from pathlib import Path

import guild_day
import streams
from guild_day import Arrival

ROOT = Path(__file__).resolve().parents[2]
NOON = round(datetime(2026, 11, 21, 15, tzinfo=timezone.utc).timestamp() * 1000)
HERE = [-33.45, -70.66]


class Log:
    """Records as they could stand in Kafka, a millisecond after each other unless told otherwise."""

    def __init__(self):
        self.arrivals = []

    def add(self, stream, partition=0, at=None, **fields):
        number = len(self.arrivals)
        at = NOON + number if at is None else at
        self.arrivals.append(Arrival(stream, stream, partition, number, at, str(uuid.UUID(int=number)), b"{}", fields))
        return self.arrivals[-1]

    def member(self, rut, name, plate, **more):
        return self.add("miembros", Rut=rut, Nombre=name, Apellido="Soto", **{"Patente carrito": plate}, **more)

    def sale(self, plate, sold=1, customer="Eva", stock=50, place=HERE, **more):
        return self.add("ventas", Cliente=customer, **{"Patente carrito": plate, "Cantidad de Sopaipillas": sold,
                                                       "Stock restante": stock, "Ubicación del carrito": place}, **more)

    def cart(self, plate, place, **more):
        return self.add("ubicaciones", **{"Patente carrito": plate, "Ubicación del carrito": place}, **more)

    def report(self, day=date(2026, 11, 21)):
        return guild_day.report(day, guild_day.each_once(self.arrivals))


class Days(unittest.TestCase):
    def at(self, *parts):
        return round(datetime(*parts, tzinfo=timezone.utc).timestamp() * 1000)

    def test_a_day_ends_at_23_59_in_santiago(self):
        self.assertEqual(guild_day.closing(date(2026, 11, 21)), self.at(2026, 11, 22, 2, 59))
        self.assertEqual(guild_day.day_of(self.at(2026, 11, 22, 2, 59) - 1), date(2026, 11, 21))
        self.assertEqual(guild_day.day_of(self.at(2026, 11, 22, 2, 59)), date(2026, 11, 22))
        self.assertEqual(guild_day.closing(date(2026, 6, 10)), self.at(2026, 6, 11, 3, 59))

    def test_where_23_59_comes_twice_it_is_the_second(self):
        self.assertEqual(guild_day.closing(date(2026, 4, 4)), self.at(2026, 4, 5, 3, 59))
        self.assertEqual(guild_day.day_of(self.at(2026, 4, 5, 2, 59, 30)), date(2026, 4, 4))

    def test_those_on_which_something_was_sold(self):
        log = Log()
        log.sale("A", at=NOON + 86_400_000)
        log.sale("A", at=NOON)
        self.assertEqual(guild_day.days(guild_day.each_once(log.arrivals)), [date(2026, 11, 21), date(2026, 11, 22)])
        self.assertEqual(guild_day.days({}), [])


class Records(unittest.TestCase):
    @unittest.skipIf(sys.version_info < (3, 11), "no tomllib")
    def test_a_record_is_read_under_the_declared_names(self):
        declared = streams.declared(ROOT / "examples" / "guild.toml")["streams"]
        header = b"\1" + bytes(range(16)) + b"\6ventas" + b"key"
        value = json.dumps({"cliente": "Eva", "ubicacion": "-33.45, -70.66", "stock": 3}).encode()
        found = guild_day.arrival("ventas", 1, 7, NOON, header, value, declared)
        self.assertEqual((found.stream, found.order, found.id), ("ventas", (NOON, 1, 7), str(uuid.UUID(bytes=bytes(range(16))))))
        self.assertEqual(found.fields["Cliente"], "Eva")
        self.assertIsNone(found.fields["Patente carrito"])
        self.assertEqual(guild_day.in_degrees(found.fields["Ubicación del carrito"]), (-33.45, -70.66))

    def test_what_stands_twice_is_one_event(self):
        log = Log()
        first = log.sale("A")
        log.arrivals.append(Arrival(**{**first.__dict__, "offset": 9}))
        self.assertEqual(guild_day.each_once(log.arrivals), {"ventas": [first]})

    def test_coordinates_have_three_forms(self):
        for value in ([1, 2.5], "1,2.5", " 1 , 2.5 ", {"lat": 1, "lon": 2.5}, {"longitud": 2.5, "latitud": 1}):
            self.assertEqual(guild_day.in_degrees(value), (1.0, 2.5))


class Rows(unittest.TestCase):
    def test_the_later_event_is_the_row_and_of_two_at_once_either(self):
        table = {"on_conflict": "update", "primary_key": ["patente"], "columns": [
            {"name": "patente", "field": "Patente carrito", "type": "text"},
            {"name": "ubicacion", "field": "Ubicación del carrito", "type": "point"},
            {"name": "visto", "value": "arrival", "type": "timestamptz"}]}
        log = Log()
        log.cart("A", [1, 1], at=NOON + 5)
        log.cart("A", [2, 2], at=NOON)
        log.cart("B", "3,3", at=NOON)
        log.cart("B", "4,4", at=NOON)
        self.assertEqual(guild_day.rows(table, log.arrivals), {
            ("A",): [("A", (1.0, 1.0), NOON + 5)], ("B",): [("B", (3.0, 3.0), NOON), ("B", (4.0, 4.0), NOON)]})

    def test_values_are_as_the_columns_hold_them(self):
        table = {"on_conflict": "insert", "primary_key": ["id"], "columns": [
            {"name": "id", "value": "id", "type": "uuid"}, {"name": "premium", "field": "p", "type": "text"},
            {"name": "hora", "field": "h", "type": "text"}, {"name": "n", "field": "n", "type": "integer"},
            {"name": "no", "field": "no", "type": "point"}, {"name": "particion", "value": "partition", "type": "integer"}]}
        found = Log().add("miembros", p=True, h=14, n=3, no=None, partition=2)
        self.assertEqual(guild_day.rows(table, [found]), {(found.id,): [(found.id, "true", "14", 3, None, 2)]})


    def test_what_postgresql_s_client_gives_compares_with_them(self):
        self.assertEqual(guild_day.point("(-33.45,-70.66)"), (-33.45, -70.66))
        self.assertIsNone(guild_day.point(None))
        self.assertEqual(guild_day.plain(datetime(2026, 11, 21, 0, 0, 0, 123000, timezone.utc)), 1795219200123)
        self.assertEqual(guild_day.plain(uuid.UUID(int=1)), "00000000-0000-0000-0000-000000000001")
        self.assertEqual([guild_day.plain(value) for value in ("a", 1, None)], ["a", 1, None])


class Reports(unittest.TestCase):
    def test_every_sale_is_in_one_place(self):
        log = Log()
        log.member("2-K", "Zoe", "ZZ")
        log.member("1-9", "Ana", "AA")
        log.member("3-5", "Eva\n", None)
        log.cart("AA", HERE)
        log.sale("AA", 3, "Juan")
        log.sale("AA", 2, "Juan")
        log.sale(None, 1, "Inés")
        log.sale("XX", 5, "Juan")
        log.sale(None, 6, "Inés", place="0, -1.5")
        log.sale("ZZ", 9, "Luz", at=NOON + 86_400_000)
        self.assertEqual("\n".join(log.report().lines()), """\
Ventas del 2026-11-21: desde 2026-11-20 23:59 hasta 2026-11-21 23:59, hora de America/Santiago

Rut    Nombre            Sopaipillas  Ventas  Clientes  Promedio por cliente
1-9    Ana Soto                    6       3         2                  3.00
3-5    Eva� Soto                   0       0         0                  0.00
2-K    Zoe Soto                    0       0         0                  0.00
Total  todas las ventas           17       5         2                  8.50

Ventas de carritos que no son de ningún socio: 1 (5 sopaipillas)
  XX: 1 (5 sopaipillas)
Ventas sin patente donde no se vio ningún carrito: 1 (6 sopaipillas)
  2026-11-21 12:00:00, 0.00000,-1.50000, Inés: 6 sopaipillas
Ventas sin patente asignadas por su ubicación: 1
Ventas de días anteriores que llegaron después de su informe: 0""")

    def test_averages_are_rounded_to_hundredths(self):
        for sold, customers, wanted in [(2, 3, "0.67"), (1, 3, "0.33"), (1, 8, "0.13"), (0, 0, "0.00"), (200, 1, "200.00")]:
            sum_ = guild_day.Sum()
            sum_.sold, sum_.customers = sold, set(range(customers))
            self.assertEqual(sum_.cells()[-1], wanted)

    def test_a_foot_of_thousands_ends(self):
        self.assertEqual(guild_day.first(map(str, range(1002)))[-2:], ["999", "  … y 2 más"])

    def test_members_are_as_they_were_when_the_day_closed(self):
        log = Log()
        log.member("1-9", "Ana", "AA")
        log.member("2-K", "Zoe", "AA")  # a cart is whose who registered it last
        log.member("1-9", "Anita", "AA", at=guild_day.closing(date(2026, 11, 21)))
        log.sale("AA", 3)
        self.assertEqual([(name, sum_.sold) for _, name, sum_ in log.report().members], [("Ana Soto", 0), ("Zoe Soto", 3)])

    def test_a_sale_without_a_plate_is_of_the_nearest_cart_that_was_there_within_a_minute(self):
        for at, metres, wanted in [(-60_000, 0, 1), (-60_001, 0, 0), (1, 0, 0), (0, 0, 1), (-1, 99.9, 1), (-1, 100.1, 0)]:
            log = Log()
            log.cart("AA", [HERE[0] + metres / 111_195.08, HERE[1]], at=NOON + at)
            log.sale(None, at=NOON)
            self.assertEqual(log.report().by_place, wanted, (at, metres))
        log = Log()
        log.cart("FAR", [HERE[0] + 0.0002, HERE[1]])
        log.cart("NEAR", [HERE[0] - 0.0001, HERE[1]])
        log.sale(None)
        self.assertEqual(list(log.report().of_nobody), ["NEAR"])


class Deliveries(unittest.TestCase):
    def groups(self, *sales):
        log = Log()
        sales = [log.sale(plate, stock=stock) for plate, stock in sales]
        return [(number + 1, sales[place:place + 5]) for number, place in enumerate(range(0, len(sales), 5))]

    def test_a_group_is_looked_at_when_it_is_whole(self):
        groups = self.groups(("A", 19), ("B", 20), (None, 5), ("A", 18), ("C", 0), ("D", 1))
        self.assertEqual(guild_day.deliveries(groups, False), [(1, "A", 18), (1, "C", 0)])

    def test_a_cart_that_awaits_one_gets_no_second(self):
        groups = self.groups(*[("A", stock) for stock in range(19, 9, -1)])
        self.assertEqual(guild_day.deliveries(groups, False), [(1, "A", 15)])
        self.assertEqual(guild_day.deliveries(groups, True), [(1, "A", 15), (2, "A", 10)])


if __name__ == "__main__":
    unittest.main()

"""What the generated day of the guild promises."""

import json
import sys
import tomllib
import unittest
from collections import Counter, defaultdict
from pathlib import Path

import records
import routes

LOCUST = Path(__file__).resolve().parent
DATA = LOCUST / "data"
sys.path.insert(0, str(DATA))
import guild  # noqa: E402
import people  # noqa: E402

TYPES = {"string": str, "integer": int, "boolean": bool}


def declared():
    """Of each route its stream."""
    config = tomllib.loads((LOCUST.parent / "examples" / "guild.toml").read_text(encoding="utf-8"))
    return {route["path"]: stream for stream in config["streams"].values() for route in stream["routes"]}


def in_degrees(value):
    """Latitude and longitude of any form that the gateway takes."""
    if isinstance(value, dict):
        value = [value.get("lat", value.get("latitud")), value.get("lon", value.get("longitud"))]
    return tuple(map(float, value.split(",") if isinstance(value, str) else value))


def canonical(record, stream):
    """Under the names that are declared; what is not declared stays as it is."""
    names = {name: field["name"] for field in stream["fields"] for name in [field["name"], *field.get("aliases", [])]}
    return {names.get(name, name): value for name, value in record.items()}


class TheFile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        streams = declared()
        cls.parts = routes.addressed(records.read(DATA / "guild.json"))
        cls.sent = [(path, canonical(json.loads(record), streams[path])) for path, record in cls.parts]
        cls.of = defaultdict(list)
        for path, record in cls.sent:
            cls.of[path].append(record)

    def plates(self, path):
        return [record["Patente carrito"] for record in self.of[path] if record.get("Patente carrito")]

    def test_it_is_what_the_generator_writes(self):
        self.assertEqual((DATA / "guild.json").read_text(encoding="utf-8"), guild.document())

    def test_it_has_ten_thousand_records_one_a_line_for_each_of_the_routes(self):
        data = (DATA / "guild.json").read_bytes()
        self.assertEqual((len(self.parts), data.count(b"\n")), (10_000, 10_002))
        self.assertLess(len(data), 2 * 2**20)
        self.assertEqual(set(self.of), set(declared()))
        self.assertGreater(len(self.of["/ventas"]), 5_500)
        self.assertGreater(min(map(len, self.of.values())), 400)

    def test_every_record_fits_its_stream(self):
        streams = declared()
        for path, record in self.parts:
            record = json.loads(record)
            declared_names = [[field["name"], *field.get("aliases", [])] for field in streams[path]["fields"]]
            self.assertTrue(all(sum(name in record for name in names) <= 1 for names in declared_names), record)
            record = canonical(record, streams[path])
            for field in streams[path]["fields"]:
                self.fits(record.get(field["name"]), field, record)

    def fits(self, value, field, record):
        if value is None:
            self.assertFalse(field.get("required"), record)
            return
        if field["type"] == "coordinates":
            lat, lon = in_degrees(value)
            self.assertTrue(abs(lat) <= 90 and abs(lon) <= 180, record)
            return
        types = [field["type"]] if isinstance(field["type"], str) else field["type"]
        self.assertIn(type(value), [TYPES[name] for name in types], record)
        if isinstance(value, str):
            self.assertTrue(field.get("min_bytes", 1) <= len(value.encode()) <= field.get("max_bytes", 2**20), record)
        elif type(value) is int:
            self.assertTrue(field.get("min", value) <= value <= field.get("max", value), record)
        self.assertIn(value, field.get("values", [value]))

    def test_check_digits_are_right_and_some_are_k(self):
        for number, digit in [(12_345_678, "5"), (11_111_111, "1"), (30_686_957, "4"), (10_000_013, "K"), (14_569_484, "1")]:
            self.assertEqual(guild.check_digit(number), digit, number)
        ruts = {record["Rut"] for record in self.of["/miembros"]}
        for rut in ruts:
            number, _, digit = rut.replace(".", "").partition("-")
            self.assertEqual(guild.check_digit(int(number)), digit)
        self.assertGreater(sum(rut.endswith("K") for rut in ruts), len(ruts) // 30)
        self.assertTrue(any("." in rut for rut in ruts))

    def test_members_are_of_both_sorts_in_every_word_and_some_register_again(self):
        sorts = Counter(json.dumps(record.get("Registro premium"), ensure_ascii=False) for record in self.of["/miembros"])
        self.assertEqual(set(sorts), {"true", "false", "null", '"si"', '"sí"', '"no"'})
        history = defaultdict(list)
        for record in self.of["/miembros"]:
            history[record["Rut"]].append(record)
        again = [records for records in history.values() if len(records) > 1]
        self.assertGreater(len(again), 50)
        premium = [[record.get("Registro premium") in guild.PREMIUM for record in records] for records in again]
        self.assertTrue(any(not first and last for first, *_, last in premium))
        self.assertTrue(any(records[0].get("Patente carrito") != records[-1].get("Patente carrito") for records in again))

    def test_all_have_registered_and_all_carts_were_seen_before_the_first_sale(self):
        first = next(place for place, (path, _) in enumerate(self.sent) if path == "/ventas")
        before = self.sent[:first]
        ruts = {record["Rut"] for path, record in before if path == "/miembros"}
        self.assertEqual(ruts, {record["Rut"] for record in self.of["/miembros"]})
        seen = {record["Patente carrito"] for path, record in before if path == "/ubicaciones"}
        self.assertEqual(seen, set(self.plates("/ubicaciones")))
        self.assertLessEqual(set(self.plates("/ventas")), seen)

    def test_sales_go_through_the_day(self):
        hours = [record["Hora"] for record in self.of["/ventas"]]
        plain = [hour for hour in hours if isinstance(hour, str) and len(hour) == 5 and hour[2] == ":"]
        self.assertEqual(plain, sorted(plain))
        self.assertLess(plain[0], "09:15")
        self.assertEqual(plain[-1], "23:29")
        self.assertIn(14, hours)

    def test_sales_without_a_plate_are_where_a_cart_stands_or_far_from_all(self):
        last, at, far = {}, 0, 0
        for path, record in self.sent:
            if path == "/ubicaciones":
                last[record["Patente carrito"]] = in_degrees(record["Ubicación del carrito"])
            elif path == "/ventas" and "Patente carrito" not in record:
                lat, lon = in_degrees(record["Ubicación del carrito"])
                near = [plate for plate, (a, b) in last.items() if max(abs(lat - a), abs(lon - b)) <= 0.00021]
                self.assertLessEqual(len(near), 1)
                at, far = at + len(near), far + (not near)
        self.assertGreater(at, 400)
        self.assertGreater(far, 80)

    def test_some_carts_belong_to_nobody_and_some_members_have_none(self):
        owned = set(self.plates("/miembros"))
        self.assertGreater(len(set(self.plates("/ventas")) - owned), 5)
        self.assertTrue(any(not record.get("Patente carrito") for record in self.of["/miembros"]))
        owners = {(record["Patente carrito"], record["Rut"]) for record in self.of["/miembros"] if record.get("Patente carrito")}
        self.assertGreater(max(Counter(plate for plate, _ in owners).values()), 1)

    def test_stock_falls_below_twenty_and_rises_again(self):
        stock = defaultdict(list)
        for record in self.of["/ventas"]:
            stock[record.get("Patente carrito")].append(record["Stock restante"])
        risen = sum(before < 20 <= after for plate, all_ in stock.items() if plate for before, after in zip(all_, all_[1:]))
        self.assertGreater(risen, 50)

    def test_records_about_one_cart_or_member_stand_apart(self):
        last = {}
        for place, (path, record) in enumerate(self.sent):
            plate = record.get("Patente carrito") if path != "/miembros" else None
            for about in filter(None, [record.get("Rut"), plate]):
                self.assertGreaterEqual(place - last.get(about, -guild.APART), guild.APART)
                last[about] = place

    def test_coordinates_have_every_form_and_fields_their_other_names(self):
        forms = {tuple(value) if isinstance(value, dict) else type(value) for path in ("/ventas", "/ubicaciones")
                 for record in self.of[path] for value in [record["Ubicación del carrito"]]}
        self.assertEqual(forms, {("lat", "lon"), ("lon", "lat"), ("latitud", "longitud"), list, str})
        aliases = sum(not set(json.loads(record)) & {"Rut", "Cliente", "Coordenadas", "Ubicación del carrito"} for _, record in self.parts)
        self.assertTrue(300 < aliases < 700, aliases)

    def test_hostile_values_are_there(self):
        names = {record[name] for record in self.of["/miembros"] for name in ("Nombre", "Apellido")}
        customers = {record["Cliente"] for record in self.of["/ventas"]}
        for name, surname in people.ODD_NAMES:
            self.assertIn(name, names)
            self.assertLessEqual({name, surname}, customers)
        self.assertIn("Robert'); DROP TABLE miembros;--", names)
        self.assertIn(128, [len(name.encode()) for name in names])
        self.assertLessEqual(set(people.ODD_PLATES), set(self.plates("/ventas")))
        # PostgreSQL's text cannot have it: such an event would rightly be a dead letter.
        self.assertFalse(any(rb"\u0000" in record for _, record in self.parts))


class TheGenerator(unittest.TestCase):
    def test_another_seed_gives_another_day_and_the_same_seed_the_same(self):
        self.assertEqual(guild.document(200, 1), guild.document(200, 1))
        self.assertNotEqual(guild.document(200, 1), guild.document(200, 2))

    def test_a_short_day_is_one_too(self):
        for count in (1, 3, 50):
            self.assertEqual(len(json.loads(guild.document(count))), count)


if __name__ == "__main__":
    unittest.main()

"""What is read from a configuration. Run with: python3 -m unittest discover scripts/lib"""

import os
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from streams import command, declared, listen, processes, processes_of_file, stream, tables

ROOT = Path(__file__).resolve().parents[2]


@unittest.skipIf(sys.version_info < (3, 11), "no tomllib")
class Declared(unittest.TestCase):
    def test_the_weather(self):
        found = declared(ROOT / "aguacero.toml")
        self.assertEqual((found["database"], found["dead_letters"]), ("aguacero", "dead_letters"))
        self.assertEqual(found["streams"], [{
            "name": "weather", "routes": {"/input": "grpc"}, "topic": "messages", "collection": "messages", "table": None,
            "fields": {"texto": ["texto", "text"], "país": ["país", "pais", "country"]}, "counters": {"by_country": ["país"]},
            "reserved": {}}])
        self.assertEqual(stream(found, "weather"), found["streams"][0])
        self.assertIsNone(stream(found, "votes"))

    def test_a_stream_without_counters_and_archive(self):
        reports = declared(ROOT / "examples" / "guild.toml")["streams"][2]
        del reports["fields"], reports["row"]
        self.assertEqual(reports, {"name": "reportes", "routes": {"/reportes": "grpc"}, "topic": "reportes",
                                   "collection": "reportes", "counters": {}, "table": "public.reportes",
                                   "reserved": {"extraviados": 2}})

    def test_what_the_rows_of_the_guild_have(self):
        found = declared(ROOT / "examples" / "guild.toml")
        self.assertEqual([stream["table"] for stream in found["streams"]],
                         ["public.miembros", "public.ventas", "public.reportes", "public.carritos"])
        self.assertEqual(stream(found, "reportes")["row"], {"on_conflict": "insert", "primary_key": ["id"], "columns": [
            {"name": "id", "value": "id", "type": "uuid"}, {"name": "llegada", "value": "arrival", "type": "timestamptz"},
            {"name": "ubicacion", "field": "Coordenadas", "type": "point"}]})
        self.assertEqual(stream(found, "ubicaciones")["row"]["on_conflict"], "update")

    def test_a_column_s_type_is_what_it_holds_unless_it_is_declared(self):
        found = declared(ROOT / "examples" / "guild.toml")
        types = {column["name"]: column["type"] for name in ("miembros", "ventas") for column in stream(found, name)["row"]["columns"]}
        self.assertEqual([types[name] for name in ("rut", "premium", "cantidad", "hora", "ubicacion", "particion")],
                         ["text", "text", "integer", "text", "point", "integer"])

    def test_a_table_is_called_like_its_stream_or_by_its_own_name_in_its_schema(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "file.toml")
            stream = '[streams.{0}]\ntopic = "t"\nroutes = [{{ path = "/{0}" }}]\n'
            path.write_text("".join(map(stream.format, "abcd")) + "[streams.a.table]\ncolumns = []\n"
                            '[streams.b.table]\nname = "ventas"\n[streams.c.table]\nname = "guild.ventas"\n')
            found = declared(path)
            self.assertEqual([stream["table"] for stream in found["streams"]], ["public.a", "public.ventas", "guild.ventas", None])
            self.assertEqual(tables(found), ["public.a", "public.ventas", "guild.ventas"])
            self.assertEqual((found["postgres_database"], found["tables_group"]), ("aguacero", "aguacero-tables"))
            path.write_text(path.read_text() + '[postgres]\nurl = "postgres://db:5432/guild?x=1"\n[tables]\ngroup = "g"\n')
            found = declared(path)
            self.assertEqual((found["postgres_database"], found["tables_group"]), ("guild", "g"))

    def test_a_gateway_with_a_certificate_is_called_by_https(self):
        self.assertEqual(declared(ROOT / "aguacero.toml")["scheme"], "http")
        with mock.patch.dict(os.environ, {"AGUACERO_GATEWAY_TLS_CERTIFICATE": "server.pem"}):
            self.assertEqual(declared(ROOT / "aguacero.toml")["scheme"], "https")


class Processes(unittest.TestCase):
    def of(self, *vias):
        return processes({"streams": [{"routes": {f"/{place}": via}} for place, via in enumerate(vias)]})

    def test_a_producer_runs_only_where_a_route_goes_by_it(self):
        others = ["redis-writer", "consumer", "gateway", "console"]
        self.assertEqual(self.of("grpc", "grpc"), ["kafka-producer", *others])
        self.assertEqual(self.of("wasm"), ["wasm-producer", *others])
        self.assertEqual(self.of("wasm", "grpc"), ["kafka-producer", "wasm-producer", *others])

    def test_tables_are_a_process_only_where_one_is_declared(self):
        self.assertEqual(processes({"streams": [{"routes": {}, "table": "public.a"}, {"routes": {}, "table": None}]}),
                         ["redis-writer", "consumer", "tables", "gateway", "console"])
        self.assertEqual(command("tables"), ("consumer", ["tables", "run"]))
        self.assertEqual(command("consumer"), ("consumer", ["run"]))

    @unittest.skipIf(sys.version_info < (3, 11), "no tomllib")
    def test_the_weather_needs_no_wasm_producer_and_no_tables(self):
        self.assertEqual(processes_of_file(ROOT / "aguacero.toml"), self.of("grpc"))

    def test_a_file_with_mistakes_is_left_to_the_gateway_to_tell(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "file.toml")
            for text in ["[streams", "", "streams = 1", "[streams.a]", '[streams.a]\ntopic = "a"\nroutes = [1]']:
                path.write_text(text)
                self.assertEqual(processes_of_file(path), self.of("grpc"))
        self.assertEqual(processes_of_file("/nowhere.toml"), self.of("grpc"))


@unittest.skipIf(sys.version_info < (3, 11), "no tomllib")
class Listen(unittest.TestCase):
    def of(self, text, port=None):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "file.toml")
            path.write_text(text)
            return listen(path, port)

    def test_the_address_of_the_file_is_taken_as_it_is(self):
        self.assertEqual(self.of('[gateway]\nlisten = "0.0.0.0:8443"'), "0.0.0.0:8443")
        self.assertEqual(self.of('[gateway]\nlisten = "[::]:8443"'), "[::]:8443")
        self.assertEqual(self.of("[gateway]"), "127.0.0.1:8080")

    def test_another_port_is_one_of_that_address(self):
        self.assertEqual(self.of('[gateway]\nlisten = "0.0.0.0:8443"', 9000), "0.0.0.0:9000")
        self.assertEqual(self.of("", 9000), "127.0.0.1:9000")

    def test_the_environment_overrides_the_file(self):
        with mock.patch.dict(os.environ, {"AGUACERO_GATEWAY_LISTEN": "127.0.0.2:81"}):
            self.assertEqual(self.of('[gateway]\nlisten = "0.0.0.0:8443"'), "127.0.0.2:81")

    def test_a_file_with_mistakes_is_left_to_the_gateway_to_tell(self):
        for text in ["[gateway", "gateway = 1", "[gateway]\nlisten = 8080", '[gateway]\nlisten = "here"']:
            self.assertEqual(self.of(text), "127.0.0.1:8080")
        self.assertEqual(listen("/nowhere.toml", 9000), "127.0.0.1:9000")


if __name__ == "__main__":
    unittest.main()

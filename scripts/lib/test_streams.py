"""What is read from a configuration. Run with: python3 -m unittest discover scripts/lib"""

import os
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from streams import declared, listen, processes, processes_of_file, stream

ROOT = Path(__file__).resolve().parents[2]


@unittest.skipIf(sys.version_info < (3, 11), "no tomllib")
class Declared(unittest.TestCase):
    def test_the_weather(self):
        found = declared(ROOT / "aguacero.toml")
        self.assertEqual((found["database"], found["dead_letters"]), ("aguacero", "dead_letters"))
        self.assertEqual(found["streams"], [{
            "name": "weather", "routes": {"/input": "grpc"}, "topic": "messages", "collection": "messages",
            "fields": {"texto": ["texto", "text"], "país": ["país", "pais", "country"]}, "counters": {"by_country": ["país"]}}])
        self.assertEqual(stream(found, "weather"), found["streams"][0])
        self.assertIsNone(stream(found, "votes"))

    def test_a_stream_without_counters_and_archive(self):
        reports = declared(ROOT / "examples" / "guild.toml")["streams"][2]
        del reports["fields"]
        self.assertEqual(reports, {"name": "reportes", "routes": {"/reportes": "grpc"}, "topic": "reportes",
                                   "collection": "reportes", "counters": {}})

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

    @unittest.skipIf(sys.version_info < (3, 11), "no tomllib")
    def test_the_weather_needs_no_wasm_producer(self):
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

"""What is read from a configuration. Run with: python3 -m unittest discover scripts/lib"""

import sys
import unittest
from pathlib import Path

from streams import declared

ROOT = Path(__file__).resolve().parents[2]


@unittest.skipIf(sys.version_info < (3, 11), "no tomllib")
class Declared(unittest.TestCase):
    def test_the_weather(self):
        found = declared(ROOT / "aguacero.toml")
        self.assertEqual((found["database"], found["dead_letters"]), ("aguacero", "dead_letters"))
        self.assertEqual(found["streams"], [{"name": "weather", "paths": ["/input"], "topic": "messages",
                                             "collection": "messages", "counters": ["by_country"]}])

    def test_a_stream_without_counters_and_archive(self):
        reports = declared(ROOT / "examples" / "guild.toml")["streams"][2]
        self.assertEqual(reports, {"name": "reportes", "paths": ["/reportes"], "topic": "reportes",
                                   "collection": "reportes", "counters": []})


if __name__ == "__main__":
    unittest.main()

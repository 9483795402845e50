"""What the generated votes promise."""

import json
import sys
import tomllib
import unittest
from collections import Counter
from pathlib import Path

import records

LOCUST = Path(__file__).resolve().parent
DATA = LOCUST / "data"
sys.path.insert(0, str(DATA))
import votes  # noqa: E402
from bands import BANDS  # noqa: E402

NAMES = ["name", "album", "year", "rank"]


class TheFile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.written = records.read(DATA / "votes.json")
        cls.decoded = [json.loads(record) for record in cls.written]

    def values(self, name):
        return [record[name] for record in self.decoded]

    def test_it_is_what_the_generator_writes(self):
        self.assertEqual((DATA / "votes.json").read_text(encoding="utf-8"), votes.document())

    def test_it_has_one_record_a_line_and_a_number_of_them_that_no_weights_divide(self):
        self.assertEqual((DATA / "votes.json").read_bytes().count(b"\n"), len(self.written) + 2)
        self.assertTrue(1_000 <= len(self.written) <= 2_000)
        self.assertTrue(all(len(self.written) % n for n in range(2, 40)))

    def test_every_record_fits_the_stream_of_the_example(self):
        stream = tomllib.loads((LOCUST.parent / "examples" / "votes.toml").read_text(encoding="utf-8"))["streams"]["votes"]
        self.assertEqual([field["name"] for field in stream["fields"]], NAMES)
        for record in self.decoded:
            self.assertEqual(list(record), NAMES)
            for field in stream["fields"]:
                value = record[field["name"]]
                self.assertIsInstance(value, str)
                self.assertLessEqual(len(value.encode()), field.get("max_bytes", 2**20), record)
                self.assertGreaterEqual(len(value.encode()), field.get("min_bytes", 1), record)

    def test_records_are_as_long_as_real_ones(self):
        lengths = sorted(map(len, self.written))
        self.assertTrue(60 <= lengths[len(lengths) // 10] and lengths[len(lengths) * 9 // 10] <= 105, lengths)

    def test_bands_follow_a_zipf_law(self):
        seen, harmonic = Counter(self.values("name")), sum(1 / place for place in range(1, len(BANDS) + 1))
        for place, (name, _) in enumerate(BANDS[:5], 1):
            self.assertAlmostEqual(seen[name] / len(self.decoded), 1 / place / harmonic, delta=0.03)
        self.assertGreater(seen[BANDS[0][0]], 5 * seen[BANDS[9][0]])

    def test_ranks_are_written_in_several_ways(self):
        ranks = Counter(self.values("rank"))
        for rank in ("1", "10", "9.5", "1st", "2nd", "3rd", "4th", "#1"):
            self.assertGreater(ranks[rank], 0, rank)
        self.assertLess(len(ranks), 1_000)  # the counter's bound

    def test_names_have_accents_separators_and_quotes(self):
        names = self.values("name") + self.values("album")
        for part in ("|", ",", '"', "'", "\\", "/", "&", ";", "é", "ö", "¿", "\n", "\u0000", "\u202e", "<script>"):
            self.assertTrue(any(part in name for name in names), part)

    def test_keys_of_two_fields_that_a_careless_join_would_mix_up_are_there(self):
        joined = [(f"{record['name']}|{record['rank']}", record["name"], record["rank"]) for record in self.decoded]
        joined += [(f"{record['name']}|{record['album']}", record["name"], record["album"]) for record in self.decoded]
        pairs = {}
        for key, *pair in joined:
            pairs.setdefault(key, set()).add(tuple(pair))
        self.assertTrue(any(len(found) > 1 for found in pairs.values()))

    def test_odd_but_acceptable_ones_are_there(self):
        self.assertIn({"name": " ", "album": " ", "year": " ", "rank": " "}, self.decoded)
        self.assertIn("{votes}:total", self.values("name"))
        self.assertIn(256, [len(name.encode()) for name in self.values("name")])

    def test_half_of_the_records_that_could_be_are_escaped(self):
        escaped = sum(b"\\u" in record for record in self.written)
        plain = sum(not record.isascii() for record in self.written)
        self.assertAlmostEqual(escaped / (escaped + plain), 0.5, delta=0.06)


class TheGenerator(unittest.TestCase):
    def test_another_seed_gives_other_votes_and_the_same_seed_the_same(self):
        self.assertEqual(votes.document(50, 1), votes.document(50, 1))
        self.assertNotEqual(votes.document(50, 1), votes.document(50, 2))

    def test_a_small_file_has_no_odd_records(self):
        self.assertTrue(set(votes.ODD).isdisjoint(votes.votes(100)))


if __name__ == "__main__":
    unittest.main()

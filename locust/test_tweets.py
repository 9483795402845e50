"""What the generated tweets promise."""

import json
import sys
import unittest
from collections import Counter
from pathlib import Path

import records

DATA = Path(__file__).resolve().parent / "data"
sys.path.insert(0, str(DATA))
import generate  # noqa: E402
import words  # noqa: E402

NAMES = {"texto": "texto", "text": "texto", "país": "country", "pais": "country", "country": "country"}


def percentiles(lengths):
    ordered = sorted(lengths)
    return [ordered[len(ordered) * p // 100] for p in (10, 50, 90, 99)]


class TheFile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.written = records.read(DATA / "tweets.json")
        cls.decoded = [json.loads(record) for record in cls.written]
        cls.texts = [record.get("texto", record.get("text")) for record in cls.decoded]
        cls.countries = [next(v for k, v in record.items() if NAMES[k] == "country") for record in cls.decoded]

    def share(self, condition, of=None):
        of = self.texts if of is None else of
        return sum(map(condition, of)) / len(of)

    def test_it_has_ten_thousand_records_one_a_line_and_stays_small(self):
        data = (DATA / "tweets.json").read_bytes()
        self.assertEqual(len(self.written), 10_000)
        self.assertEqual(data.count(b"\n"), 10_002)
        self.assertLess(len(data), 2 * 2**20)

    def test_it_is_what_the_generator_writes(self):
        self.assertEqual((DATA / "tweets.json").read_text(encoding="utf-8"), generate.document())

    def test_every_record_is_acceptable(self):
        for record, text, country in zip(self.decoded, self.texts, self.countries):
            self.assertEqual(sorted(NAMES[name] for name in record), ["country", "texto"])
            self.assertTrue(1 <= len(text.encode()) <= 8192, record)
            self.assertTrue(1 <= len(country.encode()) <= 128, record)

    def test_half_of_the_records_are_ascii_with_escaped_names(self):
        escaped = self.share(lambda record: rb'"pa\u00eds"' in record, self.written)
        self.assertAlmostEqual(escaped, 0.5, delta=0.03)
        for record in self.written:
            if rb'"pa\u00eds"' in record:
                self.assertTrue(record.isascii())

    def test_few_records_use_other_names_for_the_fields(self):
        aliases = self.share(lambda record: set(record) != {"texto", "país"}, self.decoded)
        self.assertTrue(0 < aliases <= 0.03, aliases)

    def test_about_five_percent_of_the_texts_are_repeated(self):
        self.assertAlmostEqual(1 - len(set(self.texts)) / len(self.texts), 0.05, delta=0.01)

    def test_nearly_all_texts_have_accents_or_emoji(self):
        self.assertGreater(self.share(lambda text: not text.isascii()), 0.95)
        self.assertGreater(self.share(lambda text: any(c >= "\U0001f000" for c in text)), 0.25)
        for kind in ("\u200d", "\U0001f3fd", "\U0001f1f2\U0001f1fd"):  # joined, with a skin tone, a flag
            self.assertGreater(self.share(lambda text: kind in text), 0.005)

    def test_countries_follow_a_zipf_law(self):
        seen = Counter(self.countries)
        names = [country for country, _ in words.COUNTRIES]
        self.assertGreaterEqual(len(names), 80)
        self.assertTrue(all(seen[name] for name in names))
        harmonic = sum(1 / rank for rank in range(1, len(names) + 1))
        for rank, name in enumerate(names[:10], 1):
            self.assertAlmostEqual(seen[name] / 10_000, 1 / rank / harmonic, delta=0.015)

    def test_odd_but_acceptable_ones_are_there(self):
        self.assertIn("total-messages", self.countries)
        self.assertIn(128, [len(country.encode()) for country in self.countries])
        self.assertIn(4096, [len(text) for text in self.texts])
        self.assertIn(8192, [len(text.encode()) for text in self.texts])


class TheGenerator(unittest.TestCase):
    def sample(self, kind):
        dice = generate.Dice(7)
        for index in range(3_000):
            country, letters = words.COUNTRIES[index % 20]
            author = generate.Author(dice, country, generate.flag_of(letters))
            yield getattr(author, kind)(generate.log_normal(dice, *generate.LENGTHS[kind]))

    def assert_close(self, measured, wanted):
        for got, want in zip(measured, wanted):
            self.assertAlmostEqual(got / want, 1, delta=0.15, msg=f"{measured} against {wanted}")

    def test_personal_tweets_are_as_long_as_real_ones(self):
        self.assert_close(percentiles(map(len, self.sample("personal"))), [25, 66, 123, 222])

    def test_news_tweets_are_as_long_as_real_ones(self):
        self.assert_close(percentiles(map(len, self.sample("news"))), [104, 143, 267, 301])

    def test_half_of_the_news_have_quotes_backslashes_or_line_breaks(self):
        marked = [any(c in text for c in '"\\\n') for text in self.sample("news")]
        self.assertAlmostEqual(sum(marked) / len(marked), 0.55, delta=0.05)

    def test_another_seed_gives_other_tweets_and_the_same_seed_the_same(self):
        self.assertEqual(generate.document(50, 1), generate.document(50, 1))
        self.assertNotEqual(generate.document(50, 1), generate.document(50, 2))

    def test_every_template_can_be_filled(self):
        author = generate.Author(generate.Dice(1), "Perú", "🇵🇪")
        topics = [part for topic in words.TOPICS.values() for part in (*topic[0], *topic[1])]
        news = words.NEWS_LEADS + words.NEWS_QUOTES + words.NEWS_LINES + words.NEWS_TAILS
        for template in topics + words.ASIDES + words.OPENERS + news:
            self.assertNotIn("{", author.fill(template))


if __name__ == "__main__":
    unittest.main()

"""The manuals' figures and commands are held against what they are about, and mistakes in them are found."""

import sys
import unittest

if sys.version_info >= (3, 11):
    import manual_facts
    from manual_facts import holds, mistakes, untagged, wrong_entries, wrong_figures, wrong_line


@unittest.skipIf(sys.version_info < (3, 11), "no tomllib")
class Manuals(unittest.TestCase):
    def test_each_figure_is_in_its_page(self):
        self.assertEqual(wrong_figures(manual_facts.read("figures.toml")), [])

    def test_each_command_says_how_it_is_looked_at(self):
        self.assertEqual(wrong_entries(manual_facts.read("commands.toml")), [])

    def test_what_is_not_run_exists(self):
        told = {name: manual_facts.told(entry) for name, entry in manual_facts.read("commands.toml").items() if "run" not in entry}
        self.assertEqual({name: wrong for name, (_, wrong) in told.items() if wrong}, {})


@unittest.skipIf(sys.version_info < (3, 11), "no tomllib")
class Mistakes(unittest.TestCase):
    """The checks find what they are for."""

    def test_a_figure_that_its_page_has_not(self):
        page = {"page": "README.md"}
        self.assertEqual(len(wrong_figures({"figure": {"a": {"is": "no such figure 17", **page}}, "table": {}})), 1)
        self.assertEqual(len(wrong_figures({"figure": {}, "table": {"b": {**page, "rows": {"gateway": ["17.17"]}}}})), 1)

    def test_the_values_of_a_row_stand_behind_its_name_in_their_order(self):
        self.assertTrue(holds("| a | 1 | 2 |", "| a |", ["1", "2"]))
        self.assertFalse(holds("| a | 2 | 1 |", "| a |", ["1", "2"]))
        self.assertFalse(holds("1 | a | 2 |", "| a |", ["1", "2"]))

    def test_one_value_does_not_stand_for_two(self):
        self.assertFalse(holds("| a | 7 |", "| a |", ["7", "7"]))

    def test_a_target_an_option_or_a_verb_that_was_made_up(self):
        for words in (["make", "chaoss"], ["make", "chaos", "ARGS=--roundz 1"], ["make", "demo", "APP=wether"], ["scripts/cluster", "fly"],
                      ["scripts/cluster", "--flying"], ["target/demo/consumer", "dead-letterz", "list"], ["cargo", "test", "--test", "nothing"],
                      ["kafkacat"]):
            with self.subTest(words):
                self.assertEqual(len(wrong_line(words)), 1)
        self.assertEqual(wrong_line(["KEEP=1", "make", "chaos", "ARGS=--rounds 1"]), [])

    def test_a_line_that_its_page_has_not(self):
        self.assertEqual(mistakes({"text": "make demo\nmake rain", "page": "README.md"}), ["README.md has no line make rain"])

    def test_an_entry_that_says_nothing_or_too_much(self):
        self.assertEqual(len(wrong_entries({"a": {"text": "make"}, "b": {"text": "make", "run": "alone", "check": "x"}, "c": {"run": "later"}})), 3)

    def test_a_command_that_a_chapter_has_in_itself(self):
        self.assertEqual(untagged("#sample[```sh\nmake rain\n```]\n\n```toml\na = 1\n```\n"), ["make rain"])

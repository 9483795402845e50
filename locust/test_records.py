"""What reading a file of records promises."""

import json
import tempfile
import unittest
from pathlib import Path

import records

GIVEN_SAMPLE = b'{"texto": "Su lluvia", "pa\xc3\xads": "Argentina"},\n{"texto": "Sol", "pa\xc3\xads": "Chile"},\n'


def parse(text, **options):
    return records.parse(text.encode() if isinstance(text, str) else text, "f.json", **options)


class Reading(unittest.TestCase):
    def test_a_record_is_the_bytes_that_stand_in_the_file(self):
        written = [
            '{"texto": "ñandú ☔", "país": "Perú"}',
            '{"texto": "\\u00f1and\\u00fa \\u2614", "pa\\u00eds": "Per\\u00fa"}',
            '{ "n" : 1.50e+3,"texto":"a\\/b" }',
            '{"big": 123456789012345678901234567890, "deep": {"a": [1, {"b": "]}"}]}}',
        ]
        self.assertEqual(parse("[" + ",\n ".join(written) + "]"), [w.encode() for w in written])
        self.assertEqual(parse("\n".join(written)), [w.encode() for w in written])

    def test_array_and_lines_are_told_apart_by_content(self):
        self.assertEqual(parse(' \n[{"a":1},{"b":2}]\n'), [b'{"a":1}', b'{"b":2}'])
        self.assertEqual(parse('{"a":1}\n{"b":2}'), [b'{"a":1}', b'{"b":2}'])

    def test_lines_may_end_in_crlf_and_be_blank(self):
        self.assertEqual(parse('{"a":1}\r\n\r\n  {"b":2}\r\n'), [b'{"a":1}', b'{"b":2}'])

    def test_a_file_of_one_object_is_one_record(self):
        self.assertEqual(parse('{\n  "a": 1\n}\n'), [b'{\n  "a": 1\n}'])

    def test_a_byte_order_mark_is_not_part_of_the_first_record(self):
        self.assertEqual(parse(b'\xef\xbb\xbf{"a":1}'), [b'{"a":1}'])

    def test_a_file_is_read_by_its_name(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "r.ndjson")
            path.write_text('{"a":1}\n{"b":2}\n')
            self.assertEqual(records.read(path), [b'{"a":1}', b'{"b":2}'])

    def test_the_given_sample_is_read_when_lenient(self):
        read = parse(GIVEN_SAMPLE, lenient=True)
        self.assertEqual([json.loads(r)["país"] for r in read], ["Argentina", "Chile"])
        self.assertEqual(parse('[{"a":1},{"b":2},]', lenient=True), [b'{"a":1}', b'{"b":2}'])


class Refusing(unittest.TestCase):
    def refused(self, text, *parts, **options):
        with self.assertRaises(records.Refused) as caught:
            parse(text, **options)
        for part in parts:
            self.assertIn(part, str(caught.exception))
        return str(caught.exception)

    def test_the_given_sample_is_refused_with_place_caret_and_remedy(self):
        message = self.refused(GIVEN_SAMPLE, "f.json, line 1, column 44", "commas", 'put "["', "--lenient")
        shown, caret = message.splitlines()[1:3]
        self.assertEqual(shown[caret.index("^")], ",")

    def test_a_comma_after_the_last_record_is_pointed_at(self):
        self.refused('[\n{"a":1},\n]', "line 3, column 1", "comma follows the last record")

    def test_a_missing_comma_between_records_is_pointed_at(self):
        self.refused('[\n{"a":1}\n{"b":2}]', "line 3, column 1", "comma is missing")

    def test_an_array_that_is_not_closed_is_refused(self):
        self.refused('[{"a":1}', "not closed")
        self.refused("[", "not closed")
        self.refused('[{"a":1},', "comma follows the last record", 'close with "]"')

    def test_text_after_the_array_is_refused(self):
        self.refused('[{"a":1}] x', "column 11", "follows the end")

    def test_two_records_on_one_line_are_refused(self):
        self.refused('{"a":1} {"b":2}', "column 9", "line of its own")

    def test_a_broken_record_names_its_line_and_what_to_write(self):
        self.refused('[{"a":1},\n{"a": 1,}]', "line 2", "take away the comma")
        self.refused("[{'a': 1}]", "line 1, column 3", "double quotes")
        self.refused('[{"a": "x\ny"}]', "line 1", "written \\n")
        self.refused('[{"a": "\\x"}]', "backslash")
        self.refused('{"a": NaN}', "column 7", "NaN")
        self.refused('[{"a": "x', "line 1")

    def test_a_record_that_is_no_object_is_refused(self):
        for text in ('["a"]', "[[1]]", "[1]", "null", '"texto"'):
            self.refused(text, "a record is an object")

    def test_a_file_without_records_is_refused(self):
        for text in ("", " \n", "[]"):
            self.refused(text, "no record")

    def test_bytes_that_are_not_utf8_are_refused_with_their_place(self):
        self.refused(b'{"a":1}\n{"pa\xeds":1}', "line 2, column 5", "0xed", "UTF-8")

    def test_a_very_deep_record_is_refused_and_nothing_breaks(self):
        self.refused('{"a":' + "[" * 200_000, "nested too deeply")

    def test_a_long_line_is_shown_around_the_fault_only(self):
        message = self.refused("[" + ",".join(['{"texto":"ñ☔"}'] * 50_000) + ",]", "comma follows")
        self.assertLess(len(message), 400)

    def test_a_missing_file_is_named(self):
        with self.assertRaisesRegex(records.Refused, "nowhere.json: No such file"):
            records.read("nowhere.json")


if __name__ == "__main__":
    unittest.main()

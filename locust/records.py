"""Reading a file of records: every record as the bytes that stand in the file.

A file is a JSON array of objects, or objects one after another, each on lines of its own (NDJSON).
Accents, emoji and escapes reach the gateway as they were written, because a record is
never decoded and written again: only its first and its last byte are looked for.
What is not JSON is refused with the place, the line and the way to mend it.
"""

import json
import unicodedata
from pathlib import Path

LINES_SUFFIXES = {".ndjson", ".jsonl"}
EXCERPT_BEFORE, EXCERPT_AFTER = 70, 30
BLANK = " \t\r\n"


class Refused(ValueError):
    """The file cannot be used; the message is written for the person who has to mend it."""


def read(path, lenient=False):
    """All records of the file at `path`, each as its own bytes."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Refused(f"{path}: {error.strerror or error}") from None
    return parse(data, str(path), lines=path.suffix in LINES_SUFFIXES, lenient=lenient)


def parse(data, name, lines=False, lenient=False):
    """All records in `data`; `lines` says that it is NDJSON whatever its first character."""
    scan = Scan(decode(data, name), name)
    if lenient:
        records = lenient_records(scan)
    elif scan.peek() == "[" and not lines:
        records = array_records(scan)
    else:
        records = line_records(scan)
    if not records:
        raise Refused(f"{name}: there is no record in this file")
    return records


def decode(data, name):
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        line, column = place(before, len(before))
        raise Refused(
            f"{name}, line {line}, column {column}: the byte 0x{data[error.start]:02x} is not UTF-8\n"
            "To mend it: save the file as UTF-8 (it may be Latin-1 now)."
        ) from None


def array_records(scan):
    records = []
    scan.position += 1
    if scan.peek() == "]":
        scan.position += 1
    else:
        while True:
            records.append(scan.record())
            if scan.peek() == ",":
                scan.position += 1
            elif scan.peek() == "]":
                scan.position += 1
                break
            elif scan.peek() == "":
                scan.refuse("the array is not closed", 'write "]" after the last record')
            else:
                scan.refuse("a comma is missing between two records", "write a comma after each record but the last")
    if scan.peek():
        scan.refuse("something follows the end of the array", "leave nothing after the closing bracket")
    return records


def line_records(scan):
    records = []
    while scan.peek():
        records.append(scan.record())
        end = scan.position
        following = scan.peek()
        if following == ",":
            scan.refuse(
                "the records are separated by commas but do not stand in an array",
                'put "[" before the first record and "]" after the last one, and take away the comma after the '
                "last one;\n  or leave one record a line without the commas; or read it as it is with --lenient",
            )
        if following and "\n" not in scan.text[end : scan.position]:
            scan.refuse("something follows the record on its line", "write each record on a line of its own")
    return records


def lenient_records(scan):
    """Records wherever they begin: commas and the brackets around them may be there or not."""
    records = []
    while scan.peek("[],"):
        records.append(scan.record())
    return records


class Scan:
    """A position in the text of a file."""

    def __init__(self, text, name):
        self.text = text
        self.name = name
        self.position = 0
        # Numbers are left as text: their size is the gateway's business.
        self.decoder = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=self.no_such_number)

    def peek(self, also_skip=""):
        """The next character that is not blank, or "" at the end."""
        while self.position < len(self.text) and self.text[self.position] in BLANK + also_skip:
            self.position += 1
        return self.text[self.position : self.position + 1]

    def record(self):
        """The bytes of the object that begins here."""
        if self.peek() != "{":
            self.refuse(*self.what_is_no_record())
        start = self.position
        try:
            _, self.position = self.decoder.raw_decode(self.text, start)
        except json.JSONDecodeError as error:
            self.position = error.pos
            self.refuse(f"not JSON: {error.msg}", self.how_to_mend(error))
        except RecursionError:
            self.refuse("the record is nested too deeply to be read", "flatten it")
        return self.text[start : self.position].encode("utf-8")

    def what_is_no_record(self):
        found = self.peek()
        if found in ("]", "") and self.text[: self.position].rstrip(BLANK).endswith(","):
            return "a comma follows the last record", "take that comma away" + ('; close with "]"' if not found else "")
        if found == "":
            return "the array is not closed", 'write "]" after the last record'
        return "a record is an object, and this is none", 'write it as {"texto": "…", "país": "…"}'

    def how_to_mend(self, error):
        here = self.text[self.position : self.position + 1]
        before = self.text[: self.position].rstrip(BLANK)[-1:]
        if here in ("}", "]") and before == "," or "trailing comma" in error.msg:
            return "take away the comma after the last member"
        if here == "'":
            return "strings and names stand between double quotes"
        if "control character" in error.msg:
            return r"inside a string a line break is written \n and a tab \t"
        if "escape" in error.msg:
            return r"a backslash is written \\"
        if here == "":
            return "the file ends in the middle of a record: was it cut off?"
        return "write the record as JSON (RFC 8259)"

    def no_such_number(self, word):
        self.refuse(f"not JSON: {word} is no number", "take the member away or write null", find=word)

    def refuse(self, fault, remedy, find=None):
        if find:
            self.position = self.text.index(find, self.position)
        line, column = place(self.text, self.position)
        raise Refused(
            f"{self.name}, line {line}, column {column}: {fault}\n"
            f"{excerpt(self.text, self.position)}\n"
            f"To mend it: {remedy}."
        )


def place(text, position):
    """Line and column, both counted from 1."""
    return text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)


def excerpt(text, position):
    """The line around a position, and a caret below it."""
    start = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    end = len(text) if end < 0 else end
    before = text[max(start, position - EXCERPT_BEFORE) : position].replace("\t", " ")
    after = text[position : min(end, position + EXCERPT_AFTER)].rstrip("\r").replace("\t", " ")
    before = ("…" if start < position - EXCERPT_BEFORE else "") + before
    after += "…" if end > position + EXCERPT_AFTER else ""
    return f"    {before}{after}\n    {' ' * width(before)}^"


def width(text):
    """The columns that a terminal gives to a text."""
    return sum(
        0 if unicodedata.combining(c) or unicodedata.category(c) == "Cf" or "\ufe00" <= c <= "\ufe0f"
        else 2 if unicodedata.east_asian_width(c) in "WF"
        else 1
        for c in text
    )

"""What the generators of records have in common: chances, the odd records, the file, the command line."""

import argparse
import json
import unicodedata
from bisect import bisect
from itertools import accumulate
from pathlib import Path
from random import Random

FOLDER = Path(__file__).resolve().parent


class Dice:
    """Chances drawn from `Random.random` alone, the one method whose sequence is promised for all versions."""

    def __init__(self, seed):
        self.random = Random(seed).random

    def chance(self, share):
        return self.random() < share

    def below(self, count):
        return int(self.random() * count)

    def pick(self, choices):
        return choices[self.below(len(choices))]

    def zipf(self, choices):
        """The first twice as often as the second, three times as often as the third, and so on."""
        until = list(accumulate(1 / place for place in range(1, len(choices) + 1)))
        return choices[bisect(until, self.random() * until[-1])]


def without_accents(text):
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))


def misspellings(name):
    """What people write who are in a hurry."""
    plain = without_accents(name)
    return [plain, name.lower(), name.upper(), plain.lower(), name + " "]


def places(odd, count, least):
    """Where the odd records stand, spread evenly over a file of `count`; nowhere in one of less than `least`."""
    odd = odd if count >= least else []
    return {(place + 1) * count // (len(odd) + 1): record for place, record in enumerate(odd)}


def encoded(record, escaped, compact):
    """One record as some client would write it: in ASCII with \\uXXXX, as Python's do, or without spaces, as JavaScript's."""
    return json.dumps(record, ensure_ascii=escaped, separators=(",", ":") if compact else (", ", ": "))


def array(records):
    """The whole file: an array with one record a line."""
    return "[\n" + ",\n".join(records) + "\n]\n"


def main(words, document, name, count, seed):
    """The command line of a generator: `words` say what it writes, `document(count, seed)` is the file's text."""
    parser = argparse.ArgumentParser(description=words.splitlines()[0])
    parser.add_argument("--records", type=int, default=count)
    parser.add_argument("--seed", type=int, default=seed)
    parser.add_argument("--out", type=Path, default=FOLDER / name)
    options = parser.parse_args()
    options.out.write_bytes(document(options.records, options.seed).encode("utf-8"))
    print(f"{options.records} records, {options.out.stat().st_size / 2**10:.0f} KiB: {options.out}")

#!/usr/bin/env python3
"""Writes votes for bands as they stand in files that people hand around, always the same for the same seed.

    python3 locust/data/votes.py [--records 1499] [--seed 20261129] [--out locust/data/votes.json]

Every value is a string, also years and ranks, which people write as 9.5, 1st or 10/10. Bands and each
band's albums follow a Zipf law. Every record fits the stream of examples/votes.toml, the odd ones too.
"""

import unicodedata
from bisect import bisect

import making
from bands import BANDS, EDITIONS
from making import Dice

SEED = 20261129
# A prime, so that whatever the weights of the routes are, a record goes by another one in the next round.
RECORDS = 1_499

RANK_FORMS = ("{n}", "{n}.5", "{nth}", "#{n}", "{n}/10", "{n}º", "n.º {n}")
RANK_SHARES = (0.60, 0.74, 0.84, 0.90, 0.95, 0.98, 1.0)  # added up
ORDINALS = {1: "st", 2: "nd", 3: "rd"}
EDITION_SHARE = 0.06
MISSPELT_SHARE = 0.05
OTHER_YEAR_SHARE = 0.04
ESCAPED_SHARE = 0.5
COMPACT_SHARE = 0.25
ODD_NEEDS_RECORDS = 500  # smaller files have no odd records

# name, album, year, rank
ODD = [
    (" ", " ", " ", " "), ("\t", "\u00a0", "\u3000", "\n"), ("null", "undefined", "NaN", "0"), ("None", "True", "-1", "-0"),
    ("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<b>1999</b>", "&lt;1&gt;"),
    ("'; DROP TABLE votes; --", "\" OR \"\"=\"", "1=1", "' OR 1"), ("$where: sleep(9999)", "{\"$gt\": \"\"}", "$year", "$inc"),
    ("{votes}:total", "total-votes", "events", "__other__"), ("__proto__", "constructor", "toString", "hasOwn"),
    ("a|b", "c", "2001", "d"), ("a", "b|c", "2001", "d"), ("a\\", "|b", "2001", "\\|"), ("a\\|b", "c\\", "2001", "|"),
    ("Soda Stereo|Signos", "Soda Stereo, Signos; \"Signos\"\tSignos", "1986|1987", "1|2"),
    ("name,album,year,rank", "\"Queen\",\"Jazz\",1978,1", "year", "rank"), ("a.b.c", "$set.rank", "19.81", "1.000"),
    ("con\nsalto", "con\r\nsalto y\ttabulador", "19\n81", "1\n"), ("nulo \u0000 y sigue", "\u0007\u001b[31mrojo\u001b[0m", "\u0000", "\u007f"),
    ("\u202eoeretS adoS", "\u2067الأرض\u2069", "١٩٨١", "١"), ("ancho\u200bcero\ufeff", "ma\u0301s \u2028 li\u0301os \u2029", "19\u200b81", "1\u200d"),
    ("Z̸̡̛a̵͝l̶g̷o̸", "\ufffe\uffff casi caracteres", "½", "½"), ("🎸🥁🎤", "👩🏽\u200d🎤🇬🇹", "🗓", "🥇"), ("★★★★★", "☆", "MCMLXXXI", "★★★★☆"),
    ("C:\\música\\Maná", "\\u00f1 no es una eñe", "\\1981", "\\n"), ("=1+1", "@SUM(A1:A9)", "+1981", "-1"),
    ("../../etc/passwd", "%2e%2e%2f", "%00", "%s%n"), ("https://example.org/?a=1&b=2#c", "//", "1981-01-01", "1e3"),
    ("0x10", "007", "1981.0", "01"), ("1,5", "1.5", "1 981", "9,5"), ("SODA STEREO", "canción animal", "90", "1ST"),
    ("Soda Stereo ", " Canción animal", " 1990", "1 "), ("Cancio\u0301n", "Canción", "1990", "ﬁrst"),
    ("a" * 256, "b" * 256, "9" * 16, "9" * 16), ("ñ" * 128, "🎸" * 64, "ñ" * 8, "🥇" * 4),
]


def rank(dice):
    n = dice.zipf([*range(1, 11)]) if dice.chance(0.5) else 1 + dice.below(10)
    form = RANK_FORMS[bisect(RANK_SHARES, dice.random() * RANK_SHARES[-1])]
    return form.format(n=n, nth=f"{n}{ORDINALS.get(n, 'th')}")


def misspelt(dice, name):
    return dice.pick([*making.misspellings(name), unicodedata.normalize("NFD", name)])


def votes(count=RECORDS, seed=SEED):
    """Name, album, year and rank of each."""
    dice = Dice(seed)
    odd = making.places(ODD, count, ODD_NEEDS_RECORDS)
    return [odd[index] if index in odd else vote(dice) for index in range(count)]


def vote(dice):
    name, albums = dice.zipf(BANDS)
    album, year = dice.zipf(albums)
    year = str(year)
    if dice.chance(EDITION_SHARE):
        album += dice.pick(EDITIONS)
    if dice.chance(MISSPELT_SHARE):
        name = misspelt(dice, name)
    if dice.chance(OTHER_YEAR_SHARE):
        year = dice.pick([f"'{year[2:]}", f"c. {year}", f"{year}?", f"{year} ", "?", "s. f.", f"{year[:3]}0s"])
    return name, album, year, rank(dice)


def encoded(dice, vote):
    record = dict(zip(("name", "album", "year", "rank"), vote))
    return making.encoded(record, dice.chance(ESCAPED_SHARE), dice.chance(COMPACT_SHARE))


def document(count=RECORDS, seed=SEED):
    dice = Dice(seed + 1)
    return making.array(encoded(dice, vote) for vote in votes(count, seed))


if __name__ == "__main__":
    making.main(__doc__, document, "votes.json", RECORDS, SEED)

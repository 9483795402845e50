#!/usr/bin/env python3
"""Writes tweets about the weather that look like what people post, in Spanish, always the same for the same seed.

    python3 locust/data/generate.py [--records 10000] [--seed 20261121] [--out locust/data/tweets.json]

How long they are, how often they have emoji, quotes and line breaks, and how they spread over the
countries follows what was measured on real ones (see LENGTHS and the constants beside it). Half of
the records are written as Python clients do, in ASCII with \\uXXXX, names of fields included.
"""

import math
from statistics import NormalDist

import making
import words
from making import Dice

SEED = 20261121
RECORDS = 10_000

# Characters: log-normal, as mu and sigma of the logarithm, and the bounds that nobody exceeds.
LENGTHS = {"personal": (4.10, 0.60, 10, 235), "news": (5.07, 0.34, 60, 320)}
NEWS_SHARE = 0.25
EMOJI_SHARE = {"personal": 0.36, "news": 0.30}
NEWS_MARKED_SHARE = 0.55  # with quotes, backslashes or line breaks
ASCII_LEFT_SHARE = 0.15  # of the texts that came out as plain ASCII, left so
REPEATED_SHARE = 0.05
MISSPELT_COUNTRY_SHARE = 0.005
ESCAPED_SHARE = 0.5
ALIAS_SHARE = 0.02
ODD_NEEDS_RECORDS = 1_000  # smaller files have no odd records

THREAD = (
    "Hilo 🧵 sobre la tormenta de anoche en Valparaíso. A las 23:40 se cortó la luz en el cerro y "
    "el agua bajaba por la escalera como un río. Sacamos a los vecinos de la quebrada con linternas, "
    "uno por uno, y todavía hubo quien quiso volver por el gato. ¿Cuántas veces hay que avisar? "
)
ODD = [
    ("☔", "Perú"), ("Ñ", "España"), ("null", "Chile"), (" ", "México"), ("{\"texto\": \"hola\"}", "Argentina"),
    ("[\"lluvia\", \"sol\"]", "Uruguay"), ("'; DROP TABLE mensajes; --", "Colombia"), ("\\u00f1 no es una eñe", "España"),
    ("C:\\clima\\hoy.txt", "Panamá"), ("tab\tulado y\r\ncon saltos\n\n\n", "Cuba"), ("un nulo: \u0000 y sigue", "Guatemala"),
    ("separadores: \u2028 y \u2029 y \u0085", "Ecuador"), ("ma\u0301s li\u0301os de Unicode: n\u0303andu\u0301", "Paraguay"),
    ("ancho cero: llu\u200bvia\u200d\ufeff", "Bolivia"), ("\u202eodnaivoll átse", "Costa Rica"), ("مطر غزير اليوم", "Marruecos"),
    ("오늘 비가 많이 와요 ☔", "Corea del Sur"), ("今日は雨", "Japón"), ("Z̸̡̛a̵͝l̶g̷o̸ llueve", "Honduras"),
    ("\ufffe\uffff casi caracteres", "Irlanda"), ("\U0001f9d1\U0001f3fd\u200d\U0001f33e" * 40, "Suiza"),
    ("🇬🇹🇲🇽🇪🇸🇦🇷🇨🇴🇨🇱🇵🇪🇻🇪", "Guatemala"), ("$where: function() { return true }", "Italia"), ("__proto__", "Alemania"),
    ("lluvia", "total-messages"), ("Otra vez «total-messages», ¿quién vive ahí?", "total-messages"),
    ("total-messages", "total-messages"), ("sol", "{weather}:total"), ("nieve", "events"), ("frío", "__other__"),
    ("calor", "EE.UU."), ("viento", "EE. UU."), ("niebla", "$país"), ("granizo", "a.b.c"), ("trueno", "México\n"),
    ("¿dónde?", "\""), ("brisa", "me\u0301xico"), ("bruma", "🇲🇽"), ("rocío", "x"), ("chubasco", "None"),
    ("lluvia en el país del nombre más largo", "Ñandú de " + "la Lluvia " * 11 + "y Nieve"),
    ((THREAD * 20)[:3_900], "Chile"), ("llueve " * 570, "México"), ("a" * 4_096, "Noruega"), ("ja" * 2_048, "Argentina"),
    ("🌧️" * 580, "Venezuela"), ("ñ" * 4_096, "España"), ("😱" * 2_048, "Islandia"),
]


def log_normal(dice, mu, sigma, least, most):
    value = math.exp(mu + sigma * NormalDist().inv_cdf(1 - dice.random()))
    return round(min(max(value, least), most))


class Author:
    """Somebody in a country, who fills the blanks of the templates with what is at hand there."""

    def __init__(self, dice, country, flag):
        self.dice = dice
        self.country = country
        self.flag = flag
        here = words.PLACES.get(country)
        self.places = here.split("|") if here else words.ANYWHERE.split("|") + [country] * 6

    def fill(self, template):
        if "{" not in template:
            return template
        dice = self.dice
        text = template.replace("{fen}", dice.pick(words.NEWS_PHENOMENA))
        text = text.format(
            lugar=dice.pick(self.places), pais=self.country, quien=dice.pick(words.QUIEN), dia=dice.pick(words.DIA),
            parte=dice.pick(words.PARTE), hora=dice.pick(words.HORA), transporte=words.BUSES.get(self.country, "el autobús"),
            servicio=words.SERVICES.get(self.country, "el servicio meteorológico"), t=28 + dice.below(17),
            f=dice.below(14) - 4, kmh=40 + 5 * dice.below(17), mm=10 + dice.below(110), n=2 + dice.below(90),
            codigo="".join(dice.pick("abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789") for _ in range(7)),
        )
        return contracted(upper_first(text) if template.startswith("{") else text)

    def nearest(self, templates, length, tries):
        """Of some fillings, the one whose length is nearest to the wanted."""
        return min((self.fill(self.dice.pick(templates)) for _ in range(tries)), key=lambda text: abs(len(text) - length))

    def personal(self, length):
        dice = self.dice
        short, sentences, emoji, tags = words.TOPICS[dice.pick(TOPICS_BY_FREQUENCY)]
        ending = self.faces(emoji.split(), "personal")
        length -= len(ending)
        text = self.nearest(short if length < 34 else sentences, length, 6)
        if length - len(text) > 18 and dice.chance(0.6):
            text = f"{self.nearest(words.OPENERS, length - len(text), 2)} {lower_first(text) if dice.chance(0.8) else text}"
        more = words.ASIDES + words.LAUGHS + words.SLANG.get(self.country, []) * 2 + tags
        while (left := length - len(text)) > 9:
            long = left > 45 and dice.chance(0.5)
            piece = self.nearest(sentences if long else more, left - 2, 3)
            if piece not in text:
                text += ending_mark(dice, text, piece, long) + piece
        return self.finish(text, ending, length)

    def news(self, length):
        dice = self.dice
        ending = self.faces("⚠️ 🔴 🌧️ 🌡️ 📍 🚨 📸 🌀".split(), "news")
        length -= len(ending) + 10
        text = self.nearest(words.NEWS_LEADS, length - 20, 5)
        if length - len(text) > 15 and dice.chance(0.7):
            text = f"{dice.pick(words.NEWS_ALERTS)} {text}"
        if length - len(text) > 15 and dice.chance(0.4):
            text = f"{upper_first(dice.pick(self.places))} | {text}"
        marked = dice.chance(NEWS_MARKED_SHARE)
        if marked:
            piece = self.fill(dice.pick(words.NEWS_QUOTES + words.NEWS_LINES))
            text += piece if piece.startswith("\n") else f"{'' if text[-1] == '.' else '.'} {piece}"
        while (left := length - len(text)) > 12:
            text += ("" if text[-1] in ".!?:" else ".") + ("\n" if marked and dice.chance(0.3) else " ")
            text += self.nearest(words.NEWS_TAILS, left - 1, 5)
        return self.finish(text, ending, length)

    def faces(self, emoji, kind):
        dice = self.dice
        if not dice.chance(EMOJI_SHARE[kind]):
            return ""
        chosen = dice.pick([emoji, emoji, words.FACES, [self.flag]])
        first = dice.pick(chosen)
        if dice.chance(0.25):
            return " " + first * (1 + dice.below(3))
        return " " + first + (dice.pick(words.FACES) if dice.chance(0.3) else "")

    def finish(self, text, ending, length):
        dice = self.dice
        if dice.chance(0.25):
            text = lower_first(text)
        if text[-1].isalnum():
            text += dice.pick(["", "", "", ".", "!", "…", "!!"])
        text += ending
        if text.isascii() and not dice.chance(ASCII_LEFT_SHARE):
            text += " " + (dice.pick(words.ACCENTS) if length > 20 or dice.chance(0.5) else dice.pick(words.FACES))
        return text


TOPICS_BY_FREQUENCY = (
    ["lluvia"] * 6 + ["calor"] * 5 + ["frio"] * 4 + ["sol"] * 4 + ["pronóstico"] * 4 + ["tormenta"] * 3 + ["viento"] * 2
    + ["niebla", "granizo", "nieve"]
)


def ending_mark(dice, text, piece, sentence):
    if text[-1] in ".,!?…:":
        return " "
    if sentence:
        return ". "
    return " " if piece[0] in "#😂😭🤣💀\\¯" else dice.pick([", ", ", ", ", ", ". ", "… ", " "])


def contracted(text):
    return text.replace(" a el ", " al ").replace(" de el ", " del ").replace("m..", "m.")


def upper_first(text):
    return text[:1].upper() + text[1:]


def lower_first(text):
    return text[:1].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text


def flag_of(letters):
    return "".join(chr(0x1F1E6 + ord(letter) - ord("A")) for letter in letters)


def tweets(count, seed=SEED):
    """Pairs of a text and a country."""
    dice = Dice(seed)
    odd = making.places(ODD, count, ODD_NEEDS_RECORDS)
    written, seen = [], set()
    for index in range(count):
        country, letters = dice.zipf(words.COUNTRIES)
        if index in odd:
            written.append(odd[index])
        elif written and dice.chance(REPEATED_SHARE):
            written.append((dice.pick(written)[0], country))
        else:
            text = unseen_text(Author(dice, country, flag_of(letters)), seen)
            written.append((text, dice.pick(making.misspellings(country)) if dice.chance(MISSPELT_COUNTRY_SHARE) else country))
    return written


def unseen_text(author, seen):
    kind = "news" if author.dice.chance(NEWS_SHARE) else "personal"
    while True:
        length = log_normal(author.dice, *LENGTHS[kind])
        text = author.news(length) if kind == "news" else author.personal(length)
        if text not in seen:
            seen.add(text)
            return text


def encoded(dice, texto, country):
    """One record as some client would write it."""
    names = ("texto", "país")
    if dice.chance(ALIAS_SHARE):
        names = (dice.pick(["texto", "text"]), dice.pick(["pais", "country"]))
    members = [(names[0], texto), (names[1], country)]
    if dice.chance(0.1):
        members.reverse()
    escaped = dice.chance(ESCAPED_SHARE)
    return making.encoded(dict(members), escaped, compact=not escaped and dice.chance(0.5))


def document(count=RECORDS, seed=SEED):
    dice = Dice(seed + 1)
    return making.array(encoded(dice, *tweet) for tweet in tweets(count, seed))


if __name__ == "__main__":
    making.main(__doc__, document, "tweets.json", RECORDS, SEED)

"""What the manuals say, held against what it is about: figures against their pages, commands against what they call.

Of docs/manuals/commands.toml and figures.toml; each of these files says at its head what it holds."""

import collections
import functools
import re
import shlex
import tomllib
from pathlib import Path

import apps

ROOT = Path(__file__).resolve().parents[2]
MANUALS = ROOT / "docs" / "manuals"
# What a command is looked at by: exactly one of these.
WAYS = ("run", "check", "page")
# Programs that are called by their names, and where their sources are.
PROGRAMS = {"guild": "apps/guild", "chat": "apps/chat", "wasm-producer": "sidecars/wasm-producer"}
WORDS = {"run": "were run", "checked": "were checked and not run", "stands": "stand word for word in another page"}
# Where the options of what scripts call are declared.
TOOLS = ("scripts", "benches", "e2e", "fuzz", "locust")
SOURCES = ("", ".py", ".rs", ".conf")
RUN_WITH = ("alone", "weather", "votes", "guild", "last")


def read(name):
    return tomllib.loads((MANUALS / name).read_text())


def page(path):
    return (ROOT / path).read_text()


# ---------------------------------------------------------------- figures

def wrong_figures(facts):
    """Those that are not in their page."""
    wrong = [f"figure {name}: {said!r} is not in {figure['page']}" for name, figure in facts["figure"].items()
             if (said := figure.get("says", figure["is"])) not in page(figure["page"])]
    for name, table in facts["table"].items():
        lines = page(table["page"]).splitlines()
        wrong += [f"table {name}: no line of {table['page']} has {key!r} and {', '.join(values)}"
                  for key, values in table["rows"].items() if not any(holds(line, key, values) for line in lines)]
    return wrong


def holds(line, key, values):
    """Whether the values stand in the line, whole, behind its key and in their order."""
    at = line.find(key) + len(key) if key in line else -1
    for value in values if at >= 0 else ():
        found = re.compile(rf"(?<![\d.,]){re.escape(value)}(?!\d)").search(line, at)
        at = found.end() if found else -1
        if at < 0:
            return False
    return at >= 0


# ---------------------------------------------------------------- commands

def untagged(text):
    """Blocks of commands that a chapter has in itself, which nobody would run: they belong into commands.toml."""
    return re.findall(r"^.*```(?:sh|bash|shell|console)\n(.*)$", text, re.MULTILINE)


def wrong_entries(commands):
    """Those that do not say how they are looked at."""
    wrong = [f"command {name}: one of {', '.join(WAYS)} is wanted" for name, entry in commands.items()
             if sum(way in entry for way in WAYS) != 1]
    return wrong + [f"command {name}: run is {entry['run']!r}, and should be one of {', '.join(RUN_WITH)}"
                    for name, entry in commands.items() if entry.get("run", "alone") not in RUN_WITH]


def told(entry):
    """Of a command that is not run what was done, and its mistakes."""
    return (f"stands in {entry['page']}" if "page" in entry else "checked, not run"), mistakes(entry)


def summary(told):
    """How many there are of each."""
    kinds = collections.Counter(done.split(" ")[0].split(",")[0] for done, _ in told.values())
    return f"{len(told)} commands: " + ", ".join(f"{number} {WORDS[kind]}" for kind, number in kinds.items())


def mistakes(entry):
    """What is wrong with a command that is not run."""
    lines = [line.strip() for line in entry["text"].strip().splitlines()]
    if "page" in entry:
        text = page(entry["page"])
        return [f"{entry['page']} has no line {line}" for line in lines if line not in text]
    joined = entry["text"].strip().replace("\\\n", " ").splitlines()
    return [mistake for line in joined for mistake in wrong_line(shlex.split(line, comments=True))]


def wrong_line(words):
    """What is wrong with one line, by the program that it calls."""
    variables = [word for word in words if re.fullmatch(r"[A-Z_]+=.*", word)]
    words = words[next((i for i, word in enumerate(words) if word not in variables), len(words)):]
    program = words[0] if words else ""
    if program == "make":
        return wrong_make(words[1:])
    if program.startswith(("target/demo/", "target/debug/")) or program in PROGRAMS:
        return wrong_program(Path(program).name, words[1:])
    if (ROOT / program).is_file():
        return wrong_script(program, words[1:])
    if program == "cargo":
        return wrong_cargo(words)
    if program == "echo":  # what is piped into a program
        return wrong_line(words[words.index("|") + 1:])
    return [] if program in ("docker", "eval") else [f"nobody knows what {program!r} is"]


def wrong_make(words):
    targets = [word for word in words if "=" not in word]
    values = dict(word.split("=", 1) for word in words if "=" in word)
    wrong = [f"Makefile has no {target}" for target in targets if not re.search(rf"^{target}:", page("Makefile"), re.MULTILINE)]
    if values.get("APP", "weather") not in apps.APPS:
        wrong.append(f"there is no APP={values['APP']}")
    return wrong + wrong_words(f"make {' '.join(targets)}", options(shlex.split(values.get("ARGS", ""))), text_of(*TOOLS))


def wrong_script(script, words):
    """Its verb must be in its own text; its options there, or in that of the programs that scripts call."""
    verb = [word for word in words[:1] if not word.startswith("-")]
    return [*wrong_words(script, verb, page(script)), *wrong_words(script, options(words), page(script) + text_of(*TOOLS))]


def wrong_program(program, words):
    """Verbs and options must be in its sources."""
    wanted = [word for word in words if re.fullmatch(r"[a-z][a-z-]+", word)] + options(words)
    return wrong_words(program, wanted, text_of("core", PROGRAMS.get(program, program)))


def wrong_cargo(words):
    tests = [words[i + 1] for i, word in enumerate(words[:-1]) if word == "--test"]
    return [f"there is no test {test}" for test in tests
            if not [*ROOT.glob(f"*/tests/{test}*"), *ROOT.glob(f"sidecars/*/tests/{test}*")]]


def options(words):
    return [word.partition("=")[0] for word in words if word.startswith("--")]


def wrong_words(whose, words, text):
    return [f"{whose} has no {word}" for word in words if not known(word.lstrip("-"), text)]


def known(word, text):
    """As it is typed, or as the command line's library makes it of a name: dead-letters of DeadLetters, dead_letters."""
    camel = "".join(part.capitalize() for part in word.split("-"))
    return any(re.search(rf"\b{re.escape(form)}\b", text) for form in (word, camel, word.replace("-", "_")))


@functools.cache
def text_of(*folders):
    """Of all sources below them."""
    paths = (path for folder in folders for path in sorted((ROOT / folder).rglob("*")) if path.is_file())
    return "\n".join(path.read_text(errors="replace") for path in paths if path.suffix in SOURCES and not path.name.startswith("test_"))

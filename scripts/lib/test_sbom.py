"""What the list of an image's content has, and what it has not."""

import json
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts" / "services.d"), str(ROOT / "scripts" / "lib")]

import sbom  # noqa: E402

STATUS = """Package: libssl3
Status: install ok installed
Architecture: amd64
Version: 3.0.17-1~deb12u3
Description: Secure Sockets Layer
 Version: of the toolkit

Package: libc6
Architecture: amd64
Version: 2.36-9+deb12u10
"""


class Sbom(unittest.TestCase):
    def test_what_is_linked_is_listed_and_what_only_builds_is_not(self):
        components = sbom.crates(ROOT, "gateway")
        names = {each["name"] for each in components}
        self.assertEqual(components[0]["name"], "gateway")
        self.assertLessEqual({"tokio", "hyper", "aguacero", "rdkafka-sys"}, names)
        self.assertFalse({"tonic-prost-build", "protox", "cc", "serde_derive", "syn", "quote", "tempfile", "proptest"} & names)
        self.assertEqual(len({each["purl"] for each in components}), len(components))
        tokio = next(each for each in components if each["name"] == "tokio")
        self.assertRegex(tokio["purl"], r"^pkg:cargo/tokio@1\.\d+\.\d+$")
        self.assertEqual(tokio["licenses"], [{"expression": "MIT"}])

    def test_debian_packages_are_those_of_the_base(self):
        libc, ssl = sbom.debian_packages(STATUS)
        self.assertEqual((libc["name"], ssl["version"]), ("libc6", "3.0.17-1~deb12u3"))
        self.assertEqual(libc["purl"], "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64")

    def test_the_document_has_what_cyclonedx_asks_for(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "sbom", "gateway.cdx.json")
            sbom.write(path, "gateway", "localhost/aguacero/gateway:dev", sbom.debian_packages(STATUS))
            document = json.loads(path.read_text())
        self.assertEqual((document["bomFormat"], document["specVersion"], document["version"]), ("CycloneDX", "1.6", 1))
        self.assertRegex(document["serialNumber"], r"^urn:uuid:[0-9a-f-]{36}$")
        references = [each["bom-ref"] for each in document["components"]] + [document["metadata"]["component"]["bom-ref"]]
        self.assertEqual(len(set(references)), len(references))


if __name__ == "__main__":
    unittest.main()

"""The commands of k8s/install, what k8s/secrets says, the values of the charts, and compose.yaml."""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import unittest
from pathlib import Path

import jsonschema
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))

from test_rights import script  # noqa: E402, I001  (before manifests, which puts scripts/lib, where there is another one, ahead)
from manifests import COMPOSE, K8S, KUSTOMIZE, ROOT, rendered, tool  # noqa: E402

INSTALL = [K8S / "install", "--dry-run"]
REAL = ["--address", "34.1.2.3", "--registry", "europe-west1-docker.pkg.dev/somebody/aguacero"]
WAYS = {"gke": [], "gke-tls": ["--tls", "me@example.org"], "gke-gateway-api": ["--gateway-api"], "gke-votes": ["--overlay", "gke-votes"],
        "gke-guild": ["--overlay", "gke-guild"]}


def check(configuration, **variables):
    """Status and words of `gateway check`."""
    gateway = ROOT / "target" / "debug" / "gateway"
    if not gateway.exists():
        raise AssertionError(f"{gateway} is not built: cargo build -p gateway (or `scripts/test k8s`)")
    done = subprocess.run([gateway, "check", "--config", configuration], text=True, env={**os.environ, **variables},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


def dry_run(*arguments):
    done = subprocess.run([*INSTALL, *arguments], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return done.returncode, done.stdout, done.stderr


class Install(unittest.TestCase):
    def test_every_file_that_a_command_names_is_there(self):
        for way in WAYS.values():
            status, commands, _ = dry_run(*REAL, *way)
            self.assertEqual(status, 0)
            named = set(re.findall(r"\bk8s/[\w./-]+", commands))
            self.assertIn("k8s/secrets", named)
            for name in named:
                self.assertTrue((ROOT / name).exists(), name)

    def test_every_workload_of_an_overlay_is_waited_for(self):
        for overlay, way in WAYS.items():
            _, commands, _ = dry_run(*REAL, *way)
            waited = set(re.findall(r"rollout status -n project --timeout=600s (\S+)", commands))
            made = {f"{each['kind']}/{each['metadata']['name']}".lower() for each in yaml.safe_load_all(rendered(overlay))
                    if each["kind"] in ("Deployment", "StatefulSet")}
            self.assertEqual(waited, made, overlay)

    def test_the_real_address_and_registry_replace_every_example(self):
        for overlay, way in WAYS.items():
            _, commands, _ = dry_run(*REAL, *way)
            line = next(line for line in commands.splitlines() if f"overlays/{overlay} |" in line)
            replace = re.search(r"\| (sed .*) \| kubectl apply", line)[1]
            made = subprocess.run(["bash", "-c", replace], input=rendered(overlay), text=True, stdout=subprocess.PIPE, check=True).stdout
            self.assertIn("34.1.2.3.nip.io", made)
            self.assertIn("europe-west1-docker.pkg.dev/somebody/aguacero/gateway:", made)
            for example in ("192.0.2.1", "registry.example", "somebody@example.com"):
                self.assertNotIn(example, made)

    def test_images_may_have_another_tag(self):
        _, commands, _ = dry_run(*REAL, "--tag", "0.1.0-2_a")
        replace = next(re.findall(r"\| (sed .*) \| kubectl apply", line)[0] for line in commands.splitlines() if "overlays/gke |" in line)
        made = subprocess.run(["bash", "-c", replace], input=rendered("gke"), text=True, stdout=subprocess.PIPE, check=True).stdout
        images = set(re.findall(r"image: (.*)", made))
        ours = {image for image in images if "/aguacero/" in image}
        self.assertEqual(ours, {f"{REAL[3]}/{name}:0.1.0-2_a" for name in ("gateway", "kafka-producer", "redis-writer", "consumer", "console")})
        self.assertLessEqual({"redis:8", "mongo:8.0"}, images)

    def test_what_would_become_part_of_a_command_is_checked(self):
        for wrong in (["--address", "1.2.3.4; reboot", "--registry", "a.example/b"], ["--address", "1.2.3.4", "--registry", "a b/c"],
                      [*REAL, "--tls", "me@example.org/g;d"], [*REAL, "--tag", "a#b"],
                      [*REAL, "--overlay", "gke-none"], [*REAL, "--overlay", "../base"], ["--address", "1.2.3.4"], [*REAL, "--tls", "a@b.example", "--gateway-api"]):
            status, commands, _ = dry_run(*wrong)
            self.assertEqual((status, commands), (2, ""), wrong)

    def test_charts_have_one_version_and_values(self):
        charts = script(K8S / "install").CHARTS
        for release, (_, _, version) in charts.items():
            self.assertRegex(version, r"^v?\d+\.\d+\.\d+$")
            if release != "gateway-api":  # its defaults
                self.assertIsInstance(yaml.safe_load((K8S / "helm" / f"{release}.yaml").read_text()), dict)
        self.assertLessEqual({path.stem for path in (K8S / "helm").glob("*.yaml")}, set(charts))

    def test_what_is_installed_is_uninstalled(self):
        charts = script(K8S / "install").CHARTS
        _, commands, _ = dry_run("--uninstall", "--data")
        for release, (namespace, _, _) in charts.items():
            self.assertIn(f"helm uninstall {release} -n {namespace} ", commands)
            self.assertRegex(commands, rf"delete namespace.*\b{namespace}\b")

    def test_events_go_only_with_data(self):
        """A KafkaTopic that is deleted takes its topic with it, and what of it is not archived yet."""
        _, commands, _ = dry_run("--uninstall")
        for word in ("kafka", "strimzi -n", "pvc", "secret", "networkpolicy", "delete namespace"):
            self.assertNotIn(word, commands)
        self.assertIn("!strimzi.io/cluster", commands)
        self.assertEqual(dry_run(*REAL, "--data")[0], 2)

    def test_every_kind_that_is_applied_is_deleted(self):
        _, commands, _ = dry_run("--uninstall", "--data")
        named = set(re.findall(r"[a-z]+", commands)) | {"horizontalpodautoscaler"}  # hpa
        for overlay in WAYS:
            for each in yaml.safe_load_all(rendered(overlay)):
                kind = each["kind"].lower()
                self.assertTrue({kind, f"{kind}s"} & named, kind)

    def test_prometheus_looks_at_every_admin_port(self):
        values = yaml.safe_load((K8S / "helm" / "prometheus.yaml").read_text())
        job = next(job for job in values["serverFiles"]["prometheus.yml"]["scrape_configs"] if job["job_name"] == "aguacero")
        kept = re.compile(job["relabel_configs"][0]["regex"])
        for port in ("admin", "producer-admin", "wasm-admin", "writer-admin"):
            self.assertTrue(kept.fullmatch(port))
        self.assertFalse(kept.fullmatch("http"))

    def test_prometheus_asks_no_pod_that_has_ended(self):
        """One that was evicted stays in the list with its address: AguaceroTargetDown would never end."""
        for job in yaml.safe_load((K8S / "helm" / "prometheus.yaml").read_text())["serverFiles"]["prometheus.yml"]["scrape_configs"]:
            if job["kubernetes_sd_configs"][0]["role"] == "pod":
                dropped = [rule["regex"] for rule in job["relabel_configs"] if rule.get("source_labels") == ["__meta_kubernetes_pod_phase"]]
                self.assertEqual(dropped, ["Failed|Succeeded"], job["job_name"])

    def test_what_monitoring_mounts_is_made(self):
        made = subprocess.run([tool(*KUSTOMIZE), "build", K8S / "monitoring"], text=True, stdout=subprocess.PIPE, check=True).stdout
        names = {each["metadata"]["name"] for each in yaml.safe_load_all(made)}
        prometheus, grafana = (yaml.safe_load((K8S / "helm" / f"{name}.yaml").read_text()) for name in ("prometheus", "grafana"))
        mounted = {mount["configMap"] for mount in prometheus["server"]["extraConfigmapMounts"]}
        self.assertLessEqual(mounted | set(grafana["dashboardsConfigMaps"].values()), names)


class Secrets(unittest.TestCase):
    def told(self, kubectl):
        """What k8s/secrets says with another kubectl, a script."""
        with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
            file.write(kubectl)
            file.flush()
            done = subprocess.run([K8S / "secrets", "--dry-run"], text=True, env={**os.environ, "KUBECTL": f"sh {file.name}"},
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.returncode, done.stdout

    def test_a_cluster_that_does_not_answer_is_told_in_one_sentence(self):
        status, told = self.told('echo \'E1129 07:41:55.033251 1 a.go:265] "Unhandled Error" err="refused"\' >&2; echo "It was refused" >&2; exit 1')
        self.assertEqual(status, 1)
        self.assertTrue(told.startswith("secrets: kubectl get failed: It was refused\n"), told)
        self.assertIn("kubectl config use-context", told)

    def test_certificates_that_end_soon_are_told(self):
        made = script(K8S / "secrets")
        for days, warns in ((30, True), (730, False)):
            made.DAYS = days
            with tempfile.TemporaryDirectory() as folder:
                secrets = made.make_certificates(Path(folder), "project", False)
            items = {"items": [made.secret(name, "project", texts) for name, texts in secrets.items()]}
            status, told = self.told(f"cat <<'THERE'\n{json.dumps(items)}\nTHERE\n")
            self.assertEqual((status, "certificates end on" in told), (0, warns), told)
            self.assertIn("project/stores-ca: kept", told)


class CloudRun(unittest.TestCase):
    """k8s/cloud-run, which nobody has applied: held against the names and types that Google's tool knows, and against the cluster."""

    @classmethod
    def setUpClass(cls):
        cls.service = yaml.safe_load((K8S / "cloud-run" / "console.yaml").read_text())
        cls.spec = cls.service["spec"]["template"]["spec"]
        cls.container, = cls.spec["containers"]
        cls.env = {each["name"]: each["value"] for each in cls.container["env"]}
        cls.network = list(yaml.safe_load_all((K8S / "cloud-run" / "network.yaml").read_text()))

    def test_it_has_the_fields_that_cloud_run_has(self):
        schema = json.loads((K8S / "tests" / "cloud_run.json").read_text())
        jsonschema.Draft7Validator(schema).validate(self.service)
        with self.assertRaises(jsonschema.ValidationError):
            jsonschema.Draft7Validator(schema).validate({**self.service, "specs": {}})

    def test_the_console_takes_its_variables(self):
        files = {name: value for name, value in self.env.items() if value.startswith("/secrets/")}
        variables = {name: value for name, value in self.env.items() if name != "AGUACERO_CONFIG" and name not in files}
        status, told = check(K8S / "base" / "aguacero.toml", **variables)
        self.assertEqual(status, 0, told)
        mounts = {mount["name"]: mount["mountPath"] for mount in self.container["volumeMounts"]}
        there = {f"{mounts[volume['name']]}/{item['path']}" for volume in self.spec["volumes"] for item in volume["secret"]["items"]}
        self.assertEqual(there, {*files.values(), self.env["AGUACERO_CONFIG"]})
        self.assertEqual(len(set(mounts.values())), len(self.spec["volumes"]), "a folder holds one secret")

    def test_its_secrets_are_those_that_the_guide_makes_and_takes_away(self):
        guide = (ROOT / "docs" / "gke.md").read_text()
        for volume in self.spec["volumes"]:
            name = volume["secret"]["secretName"]
            for words in (f"secrets create {name} ", f"add-iam-policy-binding {name} ", f"secrets delete {name} "):
                self.assertIn(words, guide)

    def test_every_name_that_it_asks_has_an_address_and_the_stores_a_certificate(self):
        guide = (ROOT / "docs" / "gke.md").read_text()
        made = script(K8S / "secrets")
        certified = {*made.names("redis", "project"), *made.members("mongodb", "project")}
        ports = {port["port"] for each in self.network if each["kind"] == "Service" for port in each["spec"]["ports"]}
        asked = set(re.findall(r"([a-z0-9.-]+\.svc\.cluster\.local):(\d+)", " ".join(self.env.values())))
        self.assertEqual(len(asked), 6)
        for name, port in asked:
            for verb in ("create", "delete"):
                self.assertIn(f"record-sets {verb} {name}. --zone=console", guide)
            self.assertIn(int(port), ports)
            if port in ("6379", "27017"):
                self.assertIn(name, certified)

    def test_each_load_balancer_is_internal_and_let_in(self):
        services, policies = ({each["metadata"]["name"]: each for each in self.network if each["kind"] == kind}
                              for kind in ("Service", "NetworkPolicy"))
        self.assertEqual(set(services), set(policies))
        for name, service in services.items():
            self.assertEqual(service["metadata"]["annotations"], {"networking.gke.io/load-balancer-type": "Internal"})
            rule, = policies[name]["spec"]["ingress"]
            self.assertEqual([port["port"] for port in rule["ports"]], [port["port"] for port in service["spec"]["ports"]])
            self.assertNotIn({}, rule["from"])

    def test_it_runs_as_in_the_cluster(self):
        """The same arguments, users and port."""
        deployment = next(each for each in yaml.safe_load_all(rendered("gke")) if (each["kind"], each["metadata"]["name"]) == ("Deployment", "console"))
        inside, = deployment["spec"]["template"]["spec"]["containers"]
        self.assertEqual((self.container["args"], self.container["image"]), (inside["args"], inside["image"]))
        for each in inside["env"]:
            self.assertEqual(self.env[each["name"]], each["value"])
        self.assertIn(self.container["ports"][0]["containerPort"], {port["containerPort"] for port in inside["ports"]})


class Compose(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.compose = yaml.safe_load((ROOT / "compose.yaml").read_text())

    def test_compose_reads_it(self):
        own, local = ROOT / "compose.yaml", K8S / "local-images" / "compose.yaml"
        for files in ([own], [own, local]):
            done = subprocess.run([tool(*COMPOSE), *files], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            self.assertEqual(done.returncode, 0, done.stdout)

    def test_what_it_names_is_there(self):
        services, volumes = self.compose["services"], set(self.compose["volumes"])
        for name, service in services.items():
            for other in service.get("depends_on", []):
                self.assertIn(other, services)
            for config in service.get("configs", []):
                self.assertIn(config["source"], self.compose["configs"])
            for mount in service.get("volumes", []):
                source = mount.split(":")[0]
                self.assertTrue((ROOT / source).exists() if source.startswith(".") else source in volumes, f"{name}: {source}")
            target = service.get("build", {}).get("target")
            if target:
                self.assertIn(f"AS {target}\n", (ROOT / "Dockerfile").read_text())

    def test_nothing_is_reachable_from_other_machines(self):
        for service in self.compose["services"].values():
            for port in service.get("ports", []):
                self.assertTrue(port.startswith("127.0.0.1:"), port)

    def test_the_processes_take_its_variables(self):
        """One that is no setting is a mistake, which `check` tells."""
        variables = {name: str(value) for name, value in self.compose["x-environment"].items()}
        status, told = check(ROOT / "aguacero.toml", **variables)
        self.assertEqual(status, 0, told)


class ChatCompose(unittest.TestCase):
    """Of apps/chat: its processes, started as its compose.yaml says, but for where they listen and what they keep."""

    FILE = ROOT / "apps" / "chat" / "compose.yaml"

    @classmethod
    def setUpClass(cls):
        cls.compose = yaml.safe_load(cls.FILE.read_text())
        cls.services = cls.compose["services"]

    def test_compose_reads_it(self):
        done = subprocess.run([tool(*COMPOSE), self.FILE], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_each_transport_has_a_server_and_two_clients_that_start_by_themselves(self):
        for over in ("grpc", "rabbitmq"):
            started = [service for service in self.services.values() if over in service["profiles"]]
            commands = sorted(service["command"][0] for service in started if "command" in service)
            self.assertEqual(commands, ["client", "client", "server"])
            for service in started:
                self.assertNotIn("ports", service)
                for other in service.get("depends_on", []):
                    self.assertIn(over, self.services[other]["profiles"])
        volumes = {mount.split(":")[0] for service in self.services.values() for mount in service["volumes"]}
        self.assertEqual(volumes, set(self.compose["volumes"]))
        self.assertIn(f"AS {self.compose['x-chat']['build']['target']}\n", (ROOT / "Dockerfile").read_text())

    def test_a_third_joins_the_two(self):
        with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
            probe.close()
            server = self.start("grpc-server", folder, port)
            ana = self.start("grpc-ana", folder, port)
            try:
                deadline = time.monotonic() + 60
                while " client 1:ana " not in self.log(folder):
                    self.assertLess(time.monotonic(), deadline, "ana has not registered")
                    time.sleep(0.01)
                carla = self.start("grpc-join", folder, port, "carla", "--to", "ana")
                _, refused = carla.communicate("hello, I am new\n", timeout=60)
                self.assertEqual(carla.returncode, 0, refused)
                self.assertRegex(ana.stdout.readline(), r"^[0-9:]{8} carla: hello, I am new$")
            finally:
                for process in (ana, server):
                    process.kill()
                    process.communicate()

    def log(self, folder):
        file = Path(folder, "grpc-server", "log.txt")
        return file.read_text() if file.exists() else ""

    def start(self, name, folder, port, *arguments):
        service = self.services[name]
        own = Path(folder, "others" if "working_dir" in service else name)
        own.mkdir()
        told = {key: str(value).replace("grpc-server:7070", f"127.0.0.1:{port}").replace("0.0.0.0:7070", f"127.0.0.1:{port}")
                .replace("/var/lib/chat", str(own)) for key, value in service["environment"].items()}
        words = [*service.get("entrypoint", ["chat"])[1:], *service.get("command", []), *arguments]
        return subprocess.Popen([ROOT / "target" / "debug" / "chat", *words], text=True, cwd=own, env={**os.environ, **told},
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


class ClusterConfiguration(unittest.TestCase):
    def test_the_gateway_takes_it(self):
        """The others want the files of their Secrets as well."""
        for file in (K8S / "base" / "aguacero.toml", *(K8S / "components" / name / "aguacero.toml" for name in ("votes", "guild"))):
            status, told = check(file)
            self.assertEqual(status, 0, told)
            self.assertNotIn("warning", told)

    def test_every_image_is_a_target_and_the_module_is_where_the_configuration_looks(self):
        dockerfile, ignored = (ROOT / "Dockerfile").read_text(), (ROOT / ".dockerignore").read_text()
        for process in script(ROOT / "scripts" / "images").PROCESSES:
            self.assertIn(f"FROM process AS {process}\n", dockerfile)
            self.assertIn(f"COPY --from=build /out/{process}/ /\n", dockerfile)
            self.assertIn(f'ENTRYPOINT ["/usr/local/bin/{process}"]\n', dockerfile)
        self.assertIn("\n!scripts/wasm\n", ignored)
        wasm = tomllib.loads((K8S / "base" / "aguacero.toml").read_text())["wasm_producer"]
        folder = re.search(r"install -D -m 0444 -t /out(\S+) target/wasm/producer.wasm target/wasm/producer.wasm.sha256\n", dockerfile)[1]
        self.assertEqual((wasm["module"], wasm["sha256_file"]), (f"{folder}/producer.wasm", f"{folder}/producer.wasm.sha256"))

    def test_images_have_the_version_of_the_workspace(self):
        version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
        dockerfile = (ROOT / "Dockerfile").read_text()
        self.assertIn(f"ARG VERSION={version}\n", dockerfile)
        for name in ("gateway", "kafka-producer", "wasm-producer", "redis-writer", "consumer", "console"):
            self.assertIn(f"image: registry.example/aguacero/{name}:{version}\n", rendered("gke-votes"))
        self.assertIn(f"image: registry.example/aguacero/guild:{version}\n", rendered("gke-guild"))


if __name__ == "__main__":
    unittest.main()

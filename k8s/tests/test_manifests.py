"""What must hold of every manifest of every overlay: it is valid, it asks for nothing that it need not have, and what it names is there."""

import json
import re
import sys
import tomllib
import unittest
from pathlib import Path

import jsonschema
import kubernetes_validate

sys.path.insert(0, str(Path(__file__).resolve().parent))

from manifests import (  # noqa: E402
    K8S, OVERLAYS, configuration, containers, findings, has_operator, has_tables, has_wasm, objects, of_kind, pods, title,
)
import rights  # noqa: E402

KUBERNETES = "1.34"
SCHEMAS = Path(__file__).resolve().parent / "schemas"
UNCHECKED = {"ClientSettingsPolicy"}  # its definition is not to be had as a module

# Findings of kube-score that stay: of which objects (all, if none is named), and why.
STAYS = {
    "container-ephemeral-storage-request-and-limit":
        ([], "roots cannot be written and each emptyDir has a bound; what is left is the log, which the kubelet rotates"),
    "container-image-pull-policy": ([], "a tag never moves, and a pod starts again when the registry is away"),
    "container-security-context-user-group-id":
        (["StatefulSet redis", "StatefulSet mongodb", "StatefulSet postgres", "StatefulSet kafka", "Job kafka-rights"], "the user that the stores' images have"),
    "deployment-replicas":
        (["Deployment console", "Deployment stock", "Deployment locations"],
         "nobody waits for them; two consoles would read the stores twice, and two processors share what one shows"),
    "deployment-has-host-podantiaffinity": ([], "topologySpreadConstraints do it, and also with more pods than nodes"),
    "statefulset-has-host-podantiaffinity": ([], "likewise"),
    "networkpolicy-targets-pod": (["NetworkPolicy kafka", "NetworkPolicy kafka-from-console", "NetworkPolicy kafka-from-tables", "NetworkPolicy kafka-from-guild",
                                   "NetworkPolicy kafka-exporter", "NetworkPolicy strimzi-operators", "NetworkPolicy http01-solver"], "their pods are made by operators"),
    "pod-probes-identical":
        (["StatefulSet kafka", "StatefulSet mongodb"], "an open port is all that can be asked for without a client and a password"),
    "statefulset-has-servicename": (["StatefulSet redis", "StatefulSet postgres", "StatefulSet daily-sales"],
                                    "one pod, which nobody calls by a name of its own"),
}


# Connections of what goes with tables, and some that nobody makes.
TABLES = [("tables", "kafka", 9093), ("tables", "postgres", 5432), ("daily-sales", "kafka", 9093), ("daily-sales", "postgres", 5432),
          ("stock", "kafka", 9093), ("stock", "postgres", 5432), ("locations", "kafka", 9093), ("console", "tables", 9186)]
NOT_OF_TABLES = [("locations", "postgres", 5432), ("tables", "mongodb", 27017), ("tables", "redis", 6379), ("consumer", "postgres", 5432),
                 ("gateway", "postgres", 5432), ("console", "postgres", 5432), ("stock", "tables", 9186), ("postgres", "kafka", 9093)]


class Valid(unittest.TestCase):
    def test_every_object_is_as_its_schema_says_and_has_nothing_else(self):
        for overlay in OVERLAYS:
            for each in objects(overlay):
                with self.subTest(overlay=overlay, object=title(each)):
                    self.check(each)

    def check(self, each):
        group, _, version = each["apiVersion"].rpartition("/")
        schema = SCHEMAS / f"{group}_{version}_{each['kind']}.json"
        if schema.exists():
            jsonschema.Draft7Validator(json.loads(schema.read_text())).validate(each)
        elif each["kind"] not in UNCHECKED:
            kubernetes_validate.validate(each, KUBERNETES, strict=True)

    def test_a_misspelt_field_is_noticed(self):
        for kind, path in (("Deployment", ["spec", "template", "spec"]), ("ScaledObject", ["spec"]), ("Kafka", ["spec", "kafka"])):
            each = json.loads(json.dumps(of_kind("gke", kind)[0]))
            inner = each
            for key in path:
                inner = inner[key]
            inner["automountServiceAccountTokem"] = False
            with self.assertRaises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
                self.check(each)

    def test_everything_is_in_its_namespace_and_labelled(self):
        for overlay in OVERLAYS:
            for each in objects(overlay):
                with self.subTest(overlay=overlay, object=title(each)):
                    labels = each["metadata"].get("labels", {})
                    self.assertEqual(labels.get("app.kubernetes.io/part-of"), "aguacero")
                    if each["kind"] not in ("Namespace", "Gateway"):
                        self.assertEqual(each["metadata"].get("namespace"), "project")

    def test_the_namespace_lets_no_pod_in_that_is_not_restricted(self):
        for overlay in OVERLAYS:
            namespace, = of_kind(overlay, "Namespace")
            self.assertEqual(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted")


class LeastPrivilege(unittest.TestCase):
    def each_pod(self):
        for overlay in OVERLAYS:
            for name, metadata, spec in pods(overlay):
                with self.subTest(overlay=overlay, pod=name):
                    yield name, metadata, spec

    def each_container(self):
        for overlay in OVERLAYS:
            for name, _, spec in pods(overlay):
                for container in containers(spec):
                    with self.subTest(overlay=overlay, pod=name, container=container["name"]):
                        yield name, spec, container

    def test_pods_have_no_token_no_foreign_variables_and_no_root(self):
        for _, _, spec in self.each_pod():
            self.assertIs(spec["automountServiceAccountToken"], False)
            self.assertIs(spec["enableServiceLinks"], False)
            context = spec["securityContext"]
            self.assertTrue(context["runAsNonRoot"] and context["runAsUser"] > 0 and context["runAsGroup"] > 0)
            self.assertEqual(context["seccompProfile"], {"type": "RuntimeDefault"})
            for key in ("hostNetwork", "hostPID", "hostIPC"):
                self.assertNotIn(key, spec)
            for volume in spec.get("volumes", []):
                self.assertNotIn("hostPath", volume)

    def test_containers_write_nowhere_but_to_volumes_and_have_no_capability(self):
        for _, _, container in self.each_container():
            context = container["securityContext"]
            self.assertIs(context["readOnlyRootFilesystem"], True)
            self.assertIs(context["allowPrivilegeEscalation"], False)
            self.assertEqual(context["capabilities"], {"drop": ["ALL"]})

    def test_containers_ask_for_what_they_need_and_have_bounds(self):
        for _, _, container in self.each_container():
            for part in ("requests", "limits"):
                self.assertEqual(set(container["resources"][part]), {"cpu", "memory"})

    def test_images_are_named_with_a_version(self):
        for _, _, container in self.each_container():
            self.assertRegex(container["image"], r":[\w.-]+$")
            self.assertFalse(container["image"].endswith(":latest"))
            self.assertEqual(container["imagePullPolicy"], "IfNotPresent")

    def test_secrets_are_files_that_no_stranger_reads(self):
        for _, spec, container in self.each_container():
            self.assertNotIn("envFrom", container)
            for variable in container.get("env", []):
                self.assertNotIn("secretKeyRef", variable.get("valueFrom", {}), variable["name"])
            for volume in spec.get("volumes", []):
                source = volume.get("secret") or volume.get("projected")
                if source:
                    self.assertEqual(source["defaultMode"], 0o440, volume["name"])

    def test_what_serves_is_probed(self):
        for pod, _, container in self.each_container():
            if pod.startswith("Job") or "ports" not in container:
                continue
            self.assertIn("startupProbe", container)
            self.assertIn("livenessProbe", container)
            # Without Redis events are stored all the same.
            self.assertEqual("readinessProbe" in container, container["name"] != "redis-writer")
            # A store that is away is not mended by ending those that wait for it.
            self.assertNotIn("readyz", json.dumps(container["livenessProbe"]))

    def test_each_process_has_its_own_secrets_and_no_others(self):
        wanted = {
            "gateway": {"/etc/aguacero", "/run/aguacero", "/secrets/gateway"},
            "kafka-producer": {"/etc/aguacero", "/run/aguacero", "/secrets/kafka"},
            "redis-writer": {"/etc/aguacero", "/run/aguacero", "/secrets/redis"},
            "wasm-producer": {"/etc/aguacero", "/run/aguacero", "/secrets/kafka"},
            "consumer": {"/etc/aguacero", "/secrets/kafka", "/secrets/redis", "/secrets/mongodb"},
            "console": {"/etc/aguacero", "/secrets/redis", "/secrets/mongodb"},
        }
        of_tables = {
            "apply": {"/etc/aguacero", "/secrets/postgres"},
            "tables": {"/etc/aguacero", "/secrets/kafka", "/secrets/postgres"},
            "migrate": {"/etc/aguacero", "/secrets/postgres"},
            "daily-sales": {"/etc/aguacero", "/secrets/kafka", "/secrets/postgres", "/reports"},
            "stock": {"/etc/aguacero", "/secrets/kafka", "/secrets/postgres"},
            "locations": {"/etc/aguacero", "/secrets/kafka"},
        }
        for overlay in OVERLAYS:
            more = {"console": {"/secrets/kafka", "/secrets/operator"}} if has_operator(overlay) else {}
            found = {container["name"]: {mount["mountPath"] for mount in container["volumeMounts"]}
                     for _, _, spec in pods(overlay) for container in containers(spec) if container["name"] in {**wanted, **of_tables}}
            self.assertEqual(found, {name: mounts | more.get(name, set()) for name, mounts in wanted.items()
                                     if name != "wasm-producer" or has_wasm(overlay)}
                             | (of_tables if has_tables(overlay) else {}), overlay)

    def test_who_makes_tables_is_their_owner_and_who_fills_them_is_not(self):
        """The user that each says it is, and whose password it has."""
        wanted = {"apply": {"postgres": "aguacero"}, "tables": {"kafka": "tables", "postgres": "tables"}, "migrate": {"postgres": "aguacero"},
                  "daily-sales": {"kafka": "guild", "postgres": "guild"}, "stock": {"kafka": "guild", "postgres": "guild"},
                  "locations": {"kafka": "guild"}}
        for overlay in filter(has_tables, OVERLAYS):
            defaults = configuration(overlay)
            for _, _, spec in pods(overlay):
                for container in containers(spec):
                    if container["name"] not in wanted:
                        continue
                    env = {each["name"]: each.get("value") for each in container["env"]}
                    for store, user in wanted[container["name"]].items():
                        with self.subTest(overlay=overlay, container=container["name"], store=store):
                            told = env.get(f"AGUACERO_{store}_USERNAME".upper(), defaults[store]["username"])
                            self.assertEqual((told, self.password_of(spec, container, f"/secrets/{store}")), (user, user))

    def test_postgresql_has_its_roles_before_its_storage(self):
        """A patch that names an init container puts it first."""
        for overlay in filter(has_tables, OVERLAYS):
            specs = {name: spec for name, _, spec in pods(overlay)}
            self.assertEqual([each["name"] for each in specs["StatefulSet postgres"]["initContainers"]], ["roles", "storage"], overlay)

    def password_of(self, spec, container, path):
        """Whose it is that a container finds there."""
        name, = [mount["name"] for mount in container["volumeMounts"] if mount["mountPath"] == path]
        sources = next(volume for volume in spec["volumes"] if volume["name"] == name)["projected"]["sources"]
        (secret, key), = [(source["secret"]["name"], item["key"]) for source in sources for item in source["secret"]["items"]
                          if item["path"] == "password"]
        return key if secret.endswith("-users") else secret

    def test_the_console_has_users_of_its_own(self):
        """Its password is that of the user that it says it is."""
        for overlay in OVERLAYS:
            spec = next(spec for name, _, spec in pods(overlay) if name == "Deployment console")
            env = {each["name"]: each["value"] for each in spec["containers"][0]["env"]}
            keys = {volume["name"]: {(source["secret"]["name"], item["key"]) for source in volume["projected"]["sources"]
                                     for item in source["secret"]["items"] if item["path"] == "password"}
                    for volume in spec["volumes"] if "projected" in volume}
            stores = {"redis": {("redis-users", "console")}, "mongodb": {("mongodb-users", "console")}}
            if has_operator(overlay):
                stores["kafka"] = {("console", "password")}
            self.assertEqual(keys, stores, overlay)
            for store in stores:
                self.assertEqual(env[f"AGUACERO_{store}_USERNAME".upper()], "console")
            self.assertEqual("AGUACERO_CONSOLE_TOKEN_FILE" in env, has_operator(overlay), overlay)

    def test_only_with_an_operator_more_than_reading_is_granted(self):
        for overlay in OVERLAYS:
            job = next(spec for name, _, spec in pods(overlay) if name == "Job rights")
            self.assertEqual("--operator" in job["containers"][0]["command"], has_operator(overlay), overlay)
            kafka = [each["metadata"]["name"] for each in of_kind(overlay, "KafkaUser")] or [
                item["path"] for name, _, spec in pods(overlay) if name == "Job kafka-rights" for volume in spec["volumes"]
                if volume["name"] == "secrets" for source in volume["projected"]["sources"] for item in source["secret"]["items"]]
            wanted = {"kafka-producer", "consumer"} | ({"console"} if has_operator(overlay) else set()) | (
                {"tables", "guild"} if has_tables(overlay) else set())
            self.assertEqual(set(kafka), wanted, overlay)


class WhatIsNamedIsThere(unittest.TestCase):
    def test_config_maps_services_and_ports(self):
        for overlay in OVERLAYS:
            maps = {each["metadata"]["name"] for each in of_kind(overlay, "ConfigMap")}
            used = set()
            for name, _, spec in pods(overlay):
                with self.subTest(overlay=overlay, pod=name):
                    named = {volume["configMap"]["name"] for volume in spec.get("volumes", []) if "configMap" in volume}
                    self.assertLessEqual(named, maps)
                    used |= named
            self.assertLessEqual({name for name in maps if not name.startswith("keda-")}, used, "a ConfigMap that nobody mounts")
            for service in of_kind(overlay, "Service"):
                with self.subTest(overlay=overlay, service=service["metadata"]["name"]):
                    ports = self.ports_of(overlay, service["spec"]["selector"])
                    self.assertLessEqual({port["targetPort"] for port in service["spec"]["ports"]}, set(ports))

    def test_secrets_are_those_that_are_made(self):
        """By k8s/secrets; where Strimzi is, it makes those of Kafka."""
        text = (K8S / "secrets").read_text()
        for overlay in OVERLAYS:
            for name, _, spec in pods(overlay):
                for volume in spec.get("volumes", []):
                    sources = [source["secret"] for source in volume.get("projected", {}).get("sources", [])]
                    named = {source["name"] for source in sources}
                    if "secret" in volume and not volume["secret"].get("optional"):
                        named.add(volume["secret"]["secretName"])
                    for secret in named - {rights.PRODUCER, rights.CONSUMER, rights.CONSOLE, rights.TABLES, rights.GUILD}:
                        with self.subTest(overlay=overlay, pod=name, secret=secret):
                            self.assertIn(f'"{secret}"', text)

    def test_network_policies_name_pods_and_ports_that_exist(self):
        outside = {"acme.cert-manager.io/http01-solver", "strimzi.io/name", "strimzi.io/kind"}
        for overlay in OVERLAYS:
            for policy in of_kind(overlay, "NetworkPolicy"):
                with self.subTest(overlay=overlay, policy=policy["metadata"]["name"]):
                    spec = policy["spec"]
                    if outside & set(re.findall(r'"([\w./-]+)"', json.dumps(spec["podSelector"]))):
                        continue
                    self.assertTrue(self.selected(overlay, spec["podSelector"]), "it selects no pod")
                    for rule in spec.get("ingress", []):
                        self.check_ports(overlay, spec["podSelector"], rule)
                        for peer in rule["from"]:
                            if "namespaceSelector" not in peer:
                                self.assertTrue(self.selected(overlay, peer["podSelector"]), peer)
                    for rule in spec.get("egress", []):
                        for peer in rule["to"]:
                            if "namespaceSelector" not in peer and "ipBlock" not in peer:
                                self.assertTrue(self.selected(overlay, peer["podSelector"]), peer)
                                self.check_ports(overlay, peer["podSelector"], rule)

    def test_both_ends_of_an_arrow_let_it_through(self):
        """Of each connection that a process makes, its own policy and the other's."""
        for overlay in OVERLAYS:
            for source, target, port in [("gateway", "kafka", 9093), ("gateway", "redis", 6379), ("consumer", "kafka", 9093),
                                         ("consumer", "redis", 6379), ("consumer", "mongodb", 27017), ("mongodb", "mongodb", 27017),
                                         ("rights", "mongodb", 27017), ("console", "redis", 6379), ("console", "mongodb", 27017),
                                         ("console", "gateway", 8080), ("console", "gateway", 9180), ("console", "gateway", 9181),
                                         ("console", "gateway", 9182), ("console", "consumer", 9183),
                                         *([("console", "gateway", 9185)] if has_wasm(overlay) else []),
                                         *([("console", "kafka", 9093)] if has_operator(overlay) else []),
                                         *(TABLES if has_tables(overlay) else [])]:
                with self.subTest(overlay=overlay, source=source, target=target):
                    self.assertTrue(self.lets(overlay, source, target, port, "Egress"))
                    self.assertTrue(self.lets(overlay, source, target, port, "Ingress"))
            for source, target, port in [("gateway", "mongodb", 27017), ("redis", "mongodb", 27017), ("mongodb", "kafka", 9093),
                                         ("rights", "redis", 6379), ("consumer", "gateway", 8080), ("gateway", "console", 8090),
                                         *([] if has_wasm(overlay) else [("console", "gateway", 9185)]),
                                         *([] if has_operator(overlay) else [("console", "kafka", 9093)]),
                                         *(NOT_OF_TABLES if has_tables(overlay) else TABLES)]:
                with self.subTest(overlay=overlay, source=source, not_to=target):
                    self.assertFalse(self.lets(overlay, source, target, port, "Egress"))
                    self.assertFalse(self.lets(overlay, source, target, port, "Ingress"))

    def test_prometheus_reaches_every_port_with_figures(self):
        """Of each pod, by its own policy."""
        for overlay in OVERLAYS:
            for name, metadata, spec in pods(overlay):
                ports = {port["containerPort"] for container in containers(spec) for port in container.get("ports", [])
                         if port["name"].endswith("admin")}
                reached = {port["port"] for policy in of_kind(overlay, "NetworkPolicy")
                           if matches(policy["spec"]["podSelector"], metadata["labels"])
                           for rule in policy["spec"].get("ingress", []) if '"prometheus"' in json.dumps(rule) for port in rule["ports"]}
                with self.subTest(overlay=overlay, pod=name):
                    self.assertLessEqual(ports, reached)

    def test_the_console_asks_every_process_at_a_name_for_all_of_its_pods(self):
        for overlay in OVERLAYS:
            services = {each["metadata"]["name"]: each["spec"] for each in of_kind(overlay, "Service")}
            console = configuration(overlay)["console"]
            settings = [key for key in console if key.endswith("_admin") and (key != "wasm_producer_admin" or has_wasm(overlay))]
            for setting in settings:
                name, _, port = console[setting].partition(":")
                with self.subTest(overlay=overlay, setting=setting):
                    service = services[name]
                    self.assertEqual((service["clusterIP"], service["publishNotReadyAddresses"]), ("None", True))
                    process = setting.removesuffix("_admin").replace("_", "-")
                    own, = [each["containerPort"] for _, spec in self.selected(overlay, service["selector"])
                            for container in containers(spec) if container["name"] == process
                            for each in container["ports"] if each["name"].endswith("admin")]
                    self.assertEqual(int(port), own)
                    self.assertIn(own, {each["port"] for each in service["ports"]})
            gateway = services[console["gateway"].removeprefix("http://")]
            self.assertEqual([port["port"] for port in gateway["ports"]], [80])

    def lets(self, overlay, source, target, port, direction):
        whose, other, key = (source, target, "to") if direction == "Egress" else (target, source, "from")
        for policy in of_kind(overlay, "NetworkPolicy"):
            spec = policy["spec"]
            if not matches(spec["podSelector"], {"app.kubernetes.io/name": whose}):
                continue
            for rule in spec.get(direction.lower(), []):
                ports = {each["port"] for each in rule.get("ports", [])}
                peers = [peer["podSelector"] for peer in rule[key] if "podSelector" in peer and "namespaceSelector" not in peer]
                if (not ports or port in ports) and any(matches(peer, {"app.kubernetes.io/name": other}) for peer in peers):
                    return True
        return False

    def check_ports(self, overlay, selector, rule):
        if "strimzi" in json.dumps(rule) or not overlay.startswith("local") and "kafka" in json.dumps(selector):
            return  # Strimzi's pods are not here
        known = set(self.ports_of(overlay, selector).values())
        self.assertLessEqual({port["port"] for port in rule.get("ports", [])}, known)

    def ports_of(self, overlay, selector):
        return {port["name"]: port["containerPort"] for _, spec in self.selected(overlay, selector) if spec
                for container in containers(spec) for port in container.get("ports", [])}

    def selected(self, overlay, selector):
        selector = selector if "matchLabels" in selector or "matchExpressions" in selector else {"matchLabels": selector}
        strimzi = [] if overlay.startswith("local") else [({"app.kubernetes.io/name": "kafka", "strimzi.io/kind": "Kafka"}, None)]
        known = [(metadata["labels"], spec) for _, metadata, spec in pods(overlay)] + strimzi
        return [(labels, spec) for labels, spec in known if matches(selector, labels)]


def matches(selector, labels):
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all((labels.get(each["key"]) in each["values"]) == (each["operator"] == "In") for each in selector.get("matchExpressions", []))


class Figures(unittest.TestCase):
    """What must fit together: times, bounds, numbers."""

    @classmethod
    def setUpClass(cls):
        cls.config = tomllib.loads((K8S / "base" / "aguacero.toml").read_text("utf-8"))

    def test_a_pod_has_the_time_to_end_in_order(self):
        for overlay in OVERLAYS:
            config = configuration(overlay)
            ends = {
                "Deployment gateway": config["gateway"]["drain_delay_ms"] + config["gateway"].get("drain_timeout_ms", 20_000)
                + config["kafka_producer"]["drain_timeout_ms"] + config["redis_writer"]["drain_timeout_ms"]
                + (config["wasm_producer"]["drain_timeout_ms"] if has_wasm(overlay) else 0),
                "StatefulSet consumer": config["consumer"]["drain_timeout_ms"] + 2_000,
                "StatefulSet tables": config.get("tables", {}).get("drain_timeout_ms", 10_000),
                **{f"{kind} {name}": 10_000 for kind, name in (("StatefulSet", "daily-sales"), ("Deployment", "stock"), ("Deployment", "locations"))},
            }
            for name, _, spec in pods(overlay):
                if name in ends:
                    self.assertGreaterEqual(spec["terminationGracePeriodSeconds"] * 1000, ends[name] + 10_000, f"{overlay}: {name}")

    def test_sidecars_start_before_the_gateway_and_end_after_it(self):
        for overlay in OVERLAYS:
            spec = next(spec for name, _, spec in pods(overlay) if name == "Deployment gateway")
            self.assertEqual([each["name"] for each in spec["containers"]], ["gateway"])
            for sidecar in spec["initContainers"]:
                self.assertEqual(sidecar["restartPolicy"], "Always")

    def test_the_wasm_producer_runs_where_a_stream_asks_for_it_and_is_scaled_by(self):
        for overlay in OVERLAYS:
            spec = next(spec for name, _, spec in pods(overlay) if name == "Deployment gateway")
            autoscaler, = [each for each in of_kind(overlay, "HorizontalPodAutoscaler") if each["metadata"]["name"] == "gateway"]
            scaled = {metric["containerResource"]["container"] for metric in autoscaler["spec"]["metrics"]}
            wanted = {"kafka-producer"} | ({"wasm-producer"} if has_wasm(overlay) else set())
            self.assertEqual({each["name"] for each in spec["initContainers"]}, wanted | {"redis-writer"}, overlay)
            self.assertEqual(scaled, wanted | {"gateway"}, overlay)
        self.assertEqual({overlay for overlay in OVERLAYS if has_wasm(overlay)},
                         {"local-votes", "local-votes-keda", "gke-votes", "gke-gateway-votes", "local-operator", "gke-operator"})

    def test_an_instance_of_the_module_and_its_successor_fit_into_the_containers_memory(self):
        for overlay in filter(has_wasm, OVERLAYS):
            limit = next(container["resources"]["limits"]["memory"] for _, _, spec in pods(overlay) for container in containers(spec)
                         if container["name"] == "wasm-producer")
            self.assertGreater(int(limit.removesuffix("Mi")) << 20, 2 * configuration(overlay)["wasm_producer"]["memory_bytes_max"])

    def test_no_more_consumers_than_partitions(self):
        for overlay in OVERLAYS:
            topics = configuration(overlay)["topics"]
            partitions = max(topic["partitions"] for topic in topics.values())
            consumer, = [each for each in of_kind(overlay, "StatefulSet") if each["metadata"]["name"] == "consumer"]
            scaled = of_kind(overlay, "ScaledObject")
            self.assertEqual("replicas" in consumer["spec"], not scaled, "replicas belong to one alone")
            for each in scaled:
                self.assertLessEqual(each["spec"]["maxReplicaCount"], partitions)
                triggers = [trigger["metadata"] for trigger in each["spec"]["triggers"]]
                self.assertEqual({trigger["topic"] for trigger in triggers}, set(topics), "a topic that nobody scales by")
                for trigger in triggers:
                    self.assertEqual(trigger["consumerGroup"], self.config["consumer"].get("group", "aguacero-archive"))

    def test_as_many_pods_for_tables_as_a_topic_has_partitions_and_one_of_each_processor(self):
        for overlay in filter(has_tables, OVERLAYS):
            config = configuration(overlay)
            replicas = {each["metadata"]["name"]: each["spec"].get("replicas") for each in of_kind(overlay, "StatefulSet", "Deployment")}
            fewest = min(config["topics"][stream["topic"]]["partitions"] for stream in config["streams"].values() if "table" in stream)
            self.assertLessEqual(replicas["tables"], fewest)
            self.assertEqual([replicas[name] for name in ("postgres", "daily-sales", "stock", "locations")], [1] * 4)

    def test_replicas_of_the_gateway_belong_to_its_autoscaler(self):
        for overlay in OVERLAYS:
            deployment, = [each for each in of_kind(overlay, "Deployment") if each["metadata"]["name"] == "gateway"]
            self.assertNotIn("replicas", deployment["spec"])
            self.assertEqual(deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], 0)

    def test_what_has_several_pods_is_disrupted_one_at_a_time(self):
        for overlay in OVERLAYS:
            budgets = {each["metadata"]["name"]: each["spec"] for each in of_kind(overlay, "PodDisruptionBudget")}
            several = {"gateway", "consumer", "mongodb"} | ({"kafka"} if overlay.startswith("local") else set()) | (
                {"tables"} if has_tables(overlay) else set())
            self.assertEqual(set(budgets), several)
            for spec in budgets.values():
                self.assertEqual(spec["maxUnavailable"], 1)

    def test_the_ingress_waits_longer_than_the_gateway_and_takes_as_much(self):
        ingress, = of_kind("gke", "Ingress")
        noted = ingress["metadata"]["annotations"]
        request_ms = self.config["gateway"].get("request_timeout_ms", 20_000)
        self.assertGreater(int(noted["nginx.org/proxy-read-timeout"].rstrip("s")) * 1000, request_ms)
        self.assertEqual(int(noted["nginx.org/client-max-body-size"].rstrip("m")) << 20,
                         self.config["gateway"].get("body_bytes_max", 8 << 20))
        self.assertGreater(self.config["gateway"]["idle_timeout_ms"], 60_000)  # NGINX' own for upstreams

    def test_paths_of_the_ingress_are_those_of_the_streams(self):
        for overlay in OVERLAYS:
            routes = {route["path"] for stream in configuration(overlay)["streams"].values() for route in stream["routes"]}
            for ingress in of_kind(overlay, "Ingress"):
                self.assertEqual({path["path"] for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]}, routes)
            for route in of_kind(overlay, "HTTPRoute"):
                self.assertEqual({match["path"]["value"] for rule in route["spec"]["rules"] for match in rule["matches"]}, routes)


class Findings(unittest.TestCase):
    def test_kube_score_has_nothing_to_say_that_is_not_answered(self):
        answered = set()
        for overlay in OVERLAYS:
            for about, check, path, words in findings(overlay):
                answered.add(check)
                with self.subTest(overlay=overlay, object=about, container=path):
                    self.assertIn(check, STAYS, words)
                    objects_, _ = STAYS[check]
                    self.assertTrue(not objects_ or about in objects_, f"{check}: {words}")
        self.assertEqual(answered, set(STAYS), "an answer to what nobody says any more")


if __name__ == "__main__":
    unittest.main()

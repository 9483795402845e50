"""The users and rights that the cluster's pods make, on a real Redis, MongoDB and PostgreSQL with the settings of k8s/."""

import contextlib
import os
import shlex
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
BASE = ROOT / "k8s" / "base"
KAFKA = ROOT / "k8s" / "overlays" / "local" / "kafka"
TABLES = ROOT / "k8s" / "components" / "tables"
GUILD = ROOT / "k8s" / "components" / "guild"
sys.path[:0] = [str(ROOT / "scripts" / "services.d"), str(ROOT / "scripts" / "lib"), str(BASE / "rights"), str(KAFKA), str(TABLES)]

import kafka_commands  # noqa: E402
import mongodb  # noqa: E402
import mongodb_rights  # noqa: E402
import mongodb_wire as wire  # noqa: E402
import postgres  # noqa: E402
import postgres_roles  # noqa: E402
import redis  # noqa: E402
import redis_users  # noqa: E402
import rights  # noqa: E402
from probe import exchange  # noqa: E402
from state import free_ports  # noqa: E402

DEADLINE_S = 120


def script(path):
    loader = SourceFileLoader(path.name, str(path))
    module = module_from_spec(spec_from_loader(path.name, loader))
    loader.exec_module(module)
    return module


def free(count):
    """Ports that no outgoing connection takes before the service does."""
    with contextlib.closing(free_ports()) as ports:
        return [port for port, _ in zip(ports, range(count))]


def write(folder, texts):
    folder.mkdir(parents=True)
    for key, text in texts.items():
        (folder / key).write_text(text)
        (folder / key).chmod(0o600)


def text(log, size=16_384):
    """The end of it."""
    return Path(log.name).read_text()[-size:]


class Stores(unittest.TestCase):
    """What `k8s/secrets` would make, in a folder."""

    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory(prefix="aguacero-k8s-")
        cls.addClassCleanup(cls.temporary.cleanup)
        cls.folder = Path(cls.temporary.name)
        made = script(ROOT / "k8s" / "secrets")
        issued = cls.folder / "issued"
        issued.mkdir()
        cls.secrets = {**made.passwords({}, True), **made.make_certificates(issued, "project", True),
                       **made.make_postgres_certificates(issued, "project", True)}
        cls.running = []

    @classmethod
    def start(cls, argv, env=None):
        log = open(cls.folder / f"log-{len(cls.running)}", "w+")
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **(env or {})})
        cls.running.append(process)

        def stop():
            process.kill()  # a member that is told to end waits 15 s for others to take over
            process.wait()
            log.close()

        cls.addClassCleanup(stop)
        return process, log

    @classmethod
    def tls(cls, certificate=None):
        context = ssl.create_default_context(cadata=cls.secrets["stores-ca"]["ca.crt"])
        if certificate:
            context.load_cert_chain(certificate)
        return context


class Redis(Stores):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder, cls.port = cls.folder, free(1)[0]
        write(folder / "tls", {**cls.secrets["redis-tls"], **cls.secrets["stores-ca"]})
        write(folder / "passwords", cls.secrets["redis-users"])
        (folder / "data").mkdir()
        with contextlib.redirect_stdout(None):
            redis_users.main(BASE / "aguacero.toml", folder / "passwords", folder / "users.acl")
        text = (BASE / "redis.conf").read_text()
        for old, new in {"/secrets/redis": folder / "tls", "/run/redis": folder, "dir /data": f"dir {folder}/data",
                         "tls-port 6379": f"tls-port {cls.port}"}.items():
            text = text.replace(old, str(new))
        (folder / "redis.conf").write_text(text)
        path, env = redis.find()
        process, log = cls.start([path, folder / "redis.conf"], env)
        deadline = time.monotonic() + DEADLINE_S
        while cls.ask("probe", "probe", "PING") != "+PONG":
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"Redis does not answer:\n{text(log)}")
            time.sleep(0.05)

    @classmethod
    def ask(cls, user, password, *command):
        """The first line of what it says to the command."""
        try:
            with cls.tls().wrap_socket(socket.create_connection(("127.0.0.1", cls.port), 2), server_hostname="localhost") as connection:
                file = connection.makefile("rwb")
                for words in (("AUTH", user, password), command):
                    file.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w.encode()), w.encode()) for w in words))
                    file.flush()
                    line = file.readline().decode().rstrip()
                return line
        except OSError as error:
            return f"no answer: {error}"

    def says(self, user, *command):
        return self.ask(user, self.secrets["redis-users"][user], *command)

    def test_each_user_may_do_what_it_must_and_no_more(self):
        for user, command, answer in [
            ("admin", ["SET", "anything", "1"], "+OK"),
            ("redis-writer", ["HINCRBY", "{weather}:total", "events", "1"], ":1"),
            ("redis-writer", ["GET", "anything"], "-NOPERM"),
            ("redis-writer", ["CONFIG", "GET", "*"], "-NOPERM"),
            ("consumer", ["HGETALL", "{weather}:total"], "*2"),
            ("grafana", ["HGETALL", "{weather}:total"], "*2"),
            ("grafana", ["HSET", "{weather}:total", "events", "9"], "-NOPERM"),
            ("grafana", ["HGETALL", "{votes}:total"], "-NOPERM"),
            ("console", ["HGETALL", "{weather}:total"], "*2"),
            ("console", ["HSET", "{weather}:total", "events", "9"], "-NOPERM"),
            ("console", ["DEL", "{weather}:total"], "-NOPERM"),
            ("console", ["KEYS", "*"], "-NOPERM"),
            ("console", ["HGETALL", "{votes}:total"], "-NOPERM"),
        ]:
            with self.subTest(user=user, command=command):
                self.assertTrue(self.says(user, *command).startswith(answer), self.says(user, *command))

    def test_who_has_no_password_has_no_right(self):
        self.assertTrue(self.ask("default", "", "PING").startswith(("-WRONGPASS", "-NOAUTH")))
        self.assertTrue(self.ask("admin", "probe", "PING").startswith(("-WRONGPASS", "-NOAUTH")))
        self.assertTrue(self.ask("probe", "probe", "GET", "{weather}:total").startswith("-NOPERM"))


class Mongodb(Stores):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = cls.folder
        write(folder / "mongodb", {**cls.secrets["mongodb-tls"], **cls.secrets["stores-ca"], **cls.secrets["mongodb-users"]})
        cls.hosts = [f"127.0.0.1:{port}" for port in free(3)]
        config = (BASE / "aguacero.toml").read_text()
        for index, host in enumerate(cls.hosts):
            config = config.replace(f"mongodb-{index}.mongodb.project.svc:27017", host)
        cls.config = folder / "aguacero.toml"
        cls.config.write_text(config)
        cls.members = []
        for index, host in enumerate(cls.hosts):
            data = folder / f"data-{index}"
            data.mkdir()
            cls.members.append(cls.start([mongodb.find(), *cls.arguments(host.rpartition(":")[2], data)]))

    @classmethod
    def arguments(cls, port, data):
        """Those of the StatefulSet, for this machine."""
        documents = yaml.safe_load_all((BASE / "mongodb.yaml").read_text())
        stateful_set = next(each for each in documents if each["kind"] == "StatefulSet")
        command = stateful_set["spec"]["template"]["spec"]["containers"][0]["command"]
        return [argument.replace("/data/db", str(data)).replace("/secrets/mongodb", f"{cls.folder}/mongodb")
                .replace("=27017", f"={port}").replace("--bind_ip_all", "--bind_ip=127.0.0.1").replace("GB=0.5", "GB=0.25")
                for argument in command[1:]]

    def rights(self, *options):
        """What the Job does. A member that ends meanwhile is started again, as the kubelet would, and its log is shown."""
        modules = os.pathsep.join(str(path) for path in (BASE / "rights", ROOT / "scripts" / "lib", ROOT / "scripts" / "services.d"))
        argv = [sys.executable, BASE / "rights" / "mongodb_rights.py", self.config, self.folder / "mongodb", *options]
        job, said = self.start(argv, {"PYTHONPATH": modules})
        deadline = time.monotonic() + DEADLINE_S
        while job.poll() is None and time.monotonic() < deadline:
            for index, (process, log) in enumerate(self.members):
                if process.poll() is not None:
                    print(f"\nmember {index} ended with {process.returncode}:\n{text(log, 2048)}", file=sys.stderr)
                    self.members[index] = self.start(process.args)
            time.sleep(0.5)
        if job.poll() != 0:
            self.fail("\n\n".join(["the rights were not made", *map(text, (said, *(log for _, log in self.members)))]))

    def test_the_members_become_a_set_with_users_and_a_second_time_changes_nothing(self):
        for _ in range(2):
            self.rights()
        tls = self.tls(self.folder / "mongodb" / "tls.pem")
        primary = mongodb_rights.wait_for_primary(self.hosts, "rs0", tls)
        info = self.command(primary, {"usersInfo": 1, "$db": "admin"})
        for part in (b"consumer", b"console", b"admin", b"aguacero-consumer", b"aguacero-console", b"root"):
            self.assertIn(part, info)
        self.assertEqual(info.count(b"userId\x00"), 3)
        status = self.command(primary, {"replSetGetStatus": 1, "$db": "admin"})
        for host in self.hosts:
            self.assertIn(host.encode(), status)

    def test_the_console_may_note_what_became_of_dead_letters_only_with_an_operator(self):
        tls = self.tls(self.folder / "mongodb" / "tls.pem")
        for options, actions in (([], {b"find"}), (["--operator"], {b"find", b"update"}), ([], {b"find"})):
            self.rights(*options)
            primary = mongodb_rights.wait_for_primary(self.hosts, "rs0", tls)
            info = self.command(primary, {"rolesInfo": "aguacero-console", "showPrivileges": True, "$db": "admin"})
            privileges = info[info.index(b"privileges\x00"):info.index(b"inheritedPrivileges\x00")]
            found = {action for action in (b"find", b"insert", b"update", b"remove", b"createIndex") if action + b"\x00" in privileges}
            self.assertEqual(found, actions)
            self.assertEqual(privileges.count(b"dead_letters\x00"), 1)

    def command(self, host, document):
        """As a member."""
        tls = self.tls(self.folder / "mongodb" / "tls.pem")
        with mongodb_rights.connected(host, tls) as connection:
            proof = {"authenticate": 1, "mechanism": "MONGODB-X509", "$db": "$external"}
            for each in (proof, document):
                reply = exchange(connection, wire.message(each), "<i", length_counts_itself=True)
        return reply


class Postgres(Stores):
    """With the files of components/tables, as the init containers and the container of its pod use them."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder, cls.port = cls.folder, free(1)[0]
        path, cls.env = postgres.find()
        for name in ("data", "run", "roles", "tls", "passwords"):
            (folder / name).mkdir()
        cls.path, cls.env = postgres.within_reach(Path(path), cls.env, folder / "data")
        cls.env = {**cls.env, "PATH": f"{cls.path.parent}:{os.environ['PATH']}"}
        # A pod's files, for this machine.
        places = {"/data/": f"{folder}/data/", "/secrets/postgres": f"{folder}/tls", "/run/postgres": f"{folder}/run",
                  "/run/roles": f"{folder}/roles", "/passwords": f"{folder}/passwords", "/etc/postgres": str(folder),
                  "listen_addresses = '*'": f"listen_addresses = '127.0.0.1'\nport = {cls.port}"}
        for name in ("storage.sh", "postgresql.conf", "pg_hba.conf"):
            told = (TABLES / name).read_text()
            for old, new in places.items():
                told = told.replace(old, new)
            (folder / name).write_text(told)
        for key, told in {**cls.secrets["postgres-tls"], **cls.secrets["postgres-ca"]}.items():
            (folder / "tls" / key).write_text(told)
            (folder / "tls" / key).chmod(0o600)
        cls.begin()

    @classmethod
    def begin(cls):
        """What the pod does when it starts."""
        folder = cls.folder
        for user, secret in cls.secrets["postgres-users"].items():
            (folder / "passwords" / user).write_text(secret)
        with contextlib.redirect_stdout(None):
            postgres_roles.main(GUILD / "aguacero.toml", folder / "passwords", folder / "roles" / "roles.sql")
        if who := postgres.user():
            for path in (folder, *folder.glob("*"), *folder.glob("[rtp]*/*")):
                os.chown(path, who.pw_uid, who.pw_gid)
        done, log = cls.start([*postgres.as_user(), "sh", "-eu", folder / "storage.sh"], cls.env)
        if done.wait(DEADLINE_S):
            raise AssertionError(f"the storage was not made:\n{text(log)}")
        cls.server, log = cls.start([*postgres.as_user(), "postgres", f"--config-file={folder}/postgresql.conf"], cls.env)
        deadline = time.monotonic() + DEADLINE_S
        while subprocess.run(["pg_isready", "--quiet", f"--host={folder}/run", f"--port={cls.port}"], env={**os.environ, **cls.env}).returncode:
            if cls.server.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"PostgreSQL does not answer:\n{text(log)}")
            time.sleep(0.05)

    def says(self, user, sql, password=None, ssl="sslmode=verify-full"):
        """What psql prints, or the first line of why it prints nothing."""
        where = f"host=localhost hostaddr=127.0.0.1 port={self.port} dbname=aguacero user={user} {ssl} sslrootcert={self.folder}/tls/ca.crt"
        done = subprocess.run(["psql", "--no-psqlrc", "--tuples-only", "--no-align", where, f"--command={sql}"], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env={**os.environ, **self.env, "PGPASSWORD": password or self.secrets["postgres-users"][user]})
        return done.stdout.strip() if done.returncode == 0 else done.stderr.strip().splitlines()[0]

    def test_each_user_may_do_what_it_must_and_no_more(self):
        denied = "ERROR:  permission denied"
        for user, sql, answer in [
            ("aguacero", "CREATE TABLE ventas (id integer PRIMARY KEY)", "CREATE TABLE"),
            ("aguacero", "CREATE TABLE aguacero.offsets (next bigint)", "CREATE TABLE"),
            ("aguacero", "CREATE TABLE guild.state (sold bigint)", "CREATE TABLE"),
            ("guild", "CREATE TABLE guild.other ()", denied),
            ("aguacero", "CREATE ROLE somebody", denied),
            ("tables", "INSERT INTO ventas VALUES (1) ON CONFLICT (id) DO UPDATE SET id = 1", "INSERT 0 1"),
            ("tables", "INSERT INTO aguacero.offsets VALUES (1)", "INSERT 0 1"),
            ("tables", "UPDATE aguacero.offsets SET next = 2", "UPDATE 1"),
            ("tables", "SELECT next FROM aguacero.offsets", "2"),
            ("tables", "DELETE FROM ventas", denied),
            ("tables", "TRUNCATE ventas", denied),
            ("tables", "CREATE TABLE other ()", denied),
            ("tables", "CREATE TABLE aguacero.other ()", denied),
            ("tables", "CREATE SCHEMA other", denied),
            ("tables", "DROP TABLE ventas", "ERROR:  must be owner"),
            ("tables", "SELECT * FROM guild.state", denied),
            ("guild", "INSERT INTO aguacero.offsets VALUES (3)", "INSERT 0 1"),
            ("guild", "INSERT INTO guild.state VALUES (3)", "INSERT 0 1"),
            ("guild", "DELETE FROM guild.state", "DELETE 1"),
            ("guild", "TRUNCATE aguacero.offsets", denied),
            ("guild", "CREATE TABLE aguacero.other ()", denied),
            ("guild", "CREATE TABLE other ()", denied),
            ("guild", "SELECT * FROM ventas", denied),
            ("admin", "SELECT count(*) FROM ventas", "1"),
        ]:
            with self.subTest(user=user, sql=sql):
                self.assertEqual(self.says(user, sql)[:len(answer)], answer)

    def test_who_has_no_password_or_speaks_no_tls_does_not_come_in(self):
        self.assertIn("password authentication failed", self.says("tables", "SELECT 1", "wrong"))
        self.assertIn("no pg_hba.conf entry", self.says("tables", "SELECT 1", ssl="sslmode=disable"))

    def test_started_again_it_has_what_it_had_and_the_passwords_of_now(self):
        self.says("aguacero", "CREATE TABLE kept AS SELECT 7 AS seven")
        before = self.secrets["postgres-users"]["tables"]
        self.server.kill()  # what it recovers from, the init container recovers
        self.server.wait()
        self.secrets["postgres-users"]["tables"] = "another"
        self.begin()
        self.assertEqual(self.says("tables", "SELECT seven FROM kept"), "7")
        self.assertIn("password authentication failed", self.says("tables", "SELECT 1", before))


class Kafka(unittest.TestCase):
    def test_the_job_gives_what_scripts_rights_prints(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "work").mkdir()
            for users, options in (((rights.PRODUCER, rights.CONSUMER), []), ((rights.CONSOLE,), ["--operator"])):
                for user in users:
                    (folder / user).write_text("sesame\n")
                kafka_commands.main(BASE / "aguacero.toml", folder, folder / "work")
                commands = (folder / "work" / "commands.sh").read_text()
                for user in users:
                    self.assertEqual((folder / "work" / user).read_text(), "SCRAM-SHA-512=password=sesame\n")
                printed = subprocess.run([ROOT / "scripts" / "rights", BASE / "aguacero.toml", *options], text=True, stdout=subprocess.PIPE,
                                         check=True).stdout
                wanted = [line.partition(" --add ")[2] for line in printed.splitlines() if line.startswith("kafka-acls")]
                given = [line.partition(" --add ")[2] for line in commands.splitlines() if "AclCommand" in line]
                self.assertEqual(given, wanted)
                self.assertEqual("User:console" in commands, bool(options))
                self.assertNotIn("sesame", commands)

    def test_the_job_gives_the_guild_what_strimzi_would(self):
        """But for making topics, which Strimzi does."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "work").mkdir()
            for user in (rights.PRODUCER, rights.CONSUMER, rights.TABLES, rights.GUILD):
                (folder / user).write_text("sesame\n")
            kafka_commands.main(GUILD / "aguacero.toml", folder, folder / "work")
            commands = (folder / "work" / "commands.sh").read_text()
        made = subprocess.run([ROOT / "scripts" / "strimzi", "users", GUILD / "aguacero.toml", "--guild"], text=True, stdout=subprocess.PIPE,
                              check=True).stdout
        wanted = {(each["metadata"]["name"], acl["resource"]["type"], acl["resource"]["name"], operation)
                  for each in yaml.safe_load_all(made) for acl in each["spec"]["authorization"]["acls"] for operation in acl["operations"]}
        given = set()
        for line in commands.splitlines():
            words = shlex.split(line.partition(" --add ")[2])
            options = list(zip(words[::2], words[1::2]))
            of = {key: [value for name, value in options if name == f"--{key}"] for key in ("allow-principal", "operation", "topic", "group")}
            given |= {(user.removeprefix("User:"), kind, resource, operation) for user in of["allow-principal"] for kind in ("topic", "group")
                      for resource in of[kind] for operation in of["operation"] if operation != "Create"}
        self.assertEqual(given, wanted)
        self.assertEqual({user for user, *_ in wanted}, {"kafka-producer", "consumer", "tables", "guild"})


if __name__ == "__main__":
    unittest.main()

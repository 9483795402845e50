//! A service that is killed, and comes back on the same port with the same data. All tests of a run
//! share the services, so tests that do this stand in a file of their own, which cargo runs alone.

use std::{path::Path, process::Command};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use serde_json::Value;
use tokio::{
    sync::{Mutex, MutexGuard},
    task::spawn_blocking,
};

use crate::{Kind, once};

/// One outage at a time.
static ONE: Mutex<()> = Mutex::const_new(());

/// The services that may be killed: those that `scripts/services` has started.
pub struct Outages {
    name: String,
    state: String,
    /// Brokers and members.
    several: [usize; 2],
    has_postgres: bool,
    _one: MutexGuard<'static, ()>,
}

impl Outages {
    /// Waits for its turn.
    pub async fn prepare() -> Self {
        let state = std::env::var("AGUACERO_SERVICES_STATE");
        let state = state.expect(
            "only services that scripts/services has started can be killed: run `make test`",
        );
        let one = ONE.lock().await;
        let name = read(&state)["name"].as_str().expect("a name").to_owned();
        let several = ["kafka", "mongodb"].map(|kind| named(&state, kind).len());
        let has_postgres = !named(&state, "postgres").is_empty();
        Self {
            name,
            state,
            several,
            has_postgres,
            _one: one,
        }
    }

    /// What the services of a kind are called: `kafka` alone, or `kafka-1`, `kafka-2`…
    #[must_use]
    pub fn of_kind(&self, kind: &str) -> Vec<String> {
        named(&self.state, kind)
    }

    /// What the service is called that listens on a port.
    #[must_use]
    pub fn on_port(&self, port: u16) -> String {
        let state = read(&self.state);
        let services = state["services"].as_object().expect("services");
        let mut named = services.iter().filter(|(_, s)| s["port"] == port);
        let (name, _) = named.next().unwrap_or_else(|| panic!("none on {port}"));
        name.clone()
    }

    /// Kills a service, such as `kafka` or `mongodb-2`, with what it has started, as the end of its machine would, and
    /// waits until it has ended: until then it would look as if it were up.
    pub async fn begin(&self, service: &str) {
        let pid = self.pid(service);
        self.signal(service, Signal::STOP); // it starts no more
        let started = started_by(pid);
        for child in &started {
            _ = kill_process(*child, Signal::KILL); // an error: it has ended already
        }
        self.signal(service, Signal::KILL);
        for pid in started.into_iter().chain([pid]) {
            self.until_ended(service, pid).await;
        }
    }

    /// Lets a service write no byte more to any file, as if its disk were full, and waits until it has
    /// given up: Kafka's broker ends when its only log directory fails.
    pub async fn fill_disk(&self, service: &str) {
        let pid = self.pid(service);
        let none = Rlimit {
            current: Some(1),
            maximum: None,
        };
        prlimit(Some(pid), Resource::Fsize, none).unwrap_or_else(|e| panic!("{service}: {e}"));
        self.until_ended(service, pid).await;
    }

    async fn until_ended(&self, service: &str, pid: Pid) {
        let stat = format!("/proc/{}/stat", pid.as_raw_nonzero());
        once(&format!("{service} ended"), async || {
            let stat = std::fs::read_to_string(&stat).unwrap_or_default();
            let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
            state.is_empty() || state.starts_with('Z')
        })
        .await;
    }

    /// Stops one without ending it: it holds its connections and does not answer.
    pub fn freeze(&self, service: &str) {
        self.signal(service, Signal::STOP);
        for child in started_by(self.pid(service)) {
            _ = kill_process(child, Signal::STOP);
        }
    }

    /// Lets it go on.
    pub fn thaw(&self, service: &str) {
        for child in started_by(self.pid(service)) {
            _ = kill_process(child, Signal::CONT);
        }
        self.signal(service, Signal::CONT);
    }

    /// Lets every producer of this run together write so many bytes a second; without a number, as many as it
    /// can. The broker holds answers back until the rate is kept.
    pub async fn quota(&self, bytes_per_second: Option<u64>) {
        let change = match bytes_per_second {
            Some(bytes) => [
                "--add-config".to_owned(),
                format!("producer_byte_rate={bytes}"),
            ],
            None => [
                "--delete-config".to_owned(),
                "producer_byte_rate".to_owned(),
            ],
        };
        let mut arguments = vec!["--alter"];
        arguments.extend(change.iter().map(String::as_str));
        let client_id = format!("aguacero-{}", Kind::producer().program());
        arguments.extend(["--entity-type", "clients", "--entity-name", &client_id]);
        self.kafka_tool("kafka.admin.ConfigCommand", &arguments)
            .await;
    }

    /// Bytes of a topic in the broker's log.
    #[must_use]
    pub fn bytes_of(&self, topic: &str) -> u64 {
        let state = read(&self.state);
        let data = state["services"]["kafka"]["data"].as_str();
        let log = Path::new(data.expect("the broker's folder")).join("log");
        let partitions = std::fs::read_dir(log).expect("the broker's log").flatten();
        let partitions = partitions.filter(|folder| {
            let name = folder.file_name();
            let name = name.to_string_lossy();
            name.rsplit_once('-').is_some_and(|(of, _)| of == topic)
        });
        let files = partitions.filter_map(|folder| std::fs::read_dir(folder.path()).ok());
        let segments = files
            .flat_map(Iterator::flatten)
            .filter(|file| file.path().extension().is_some_and(|e| e == "log"));
        segments
            .filter_map(|file| Some(file.metadata().ok()?.len()))
            .sum()
    }

    /// Takes everything from `offset` on out of a partition's log, as if it had never reached the disk. The broker
    /// is down, and has only one segment of it.
    pub fn truncate(&self, topic: &str, partition: i32, offset: i64) {
        let state = read(&self.state);
        let data = state["services"]["kafka"]["data"].as_str();
        let folder = Path::new(data.expect("the broker's folder")).join("log");
        let file = folder.join(format!("{topic}-{partition}/{:020}.log", 0));
        let log = std::fs::read(&file).expect("its log");
        // Of each batch: offset, and bytes behind the length.
        let mut at = 0;
        while let Some((begins, rest)) = log.get(at..).and_then(|l| l.split_first_chunk::<8>()) {
            if i64::from_be_bytes(*begins) >= offset {
                break;
            }
            let length = rest.first_chunk::<4>().expect("a whole batch");
            at += 12 + u32::from_be_bytes(*length) as usize;
        }
        assert!(at < log.len(), "nothing to take out");
        let file = std::fs::OpenOptions::new().write(true).open(&file);
        file.and_then(|f| f.set_len(at as u64)).expect("its log");
    }

    /// Runs one of Kafka's own tools.
    async fn kafka_tool(&self, class: &str, arguments: &[&str]) {
        let state = read(&self.state);
        let services = state["services"].as_object().expect("services");
        let broker = services.iter().find(|(name, _)| name.starts_with("kafka"));
        let broker = broker.expect("a broker").1;
        let argv = broker["argv"].as_array().expect("its command");
        let argv: Vec<_> = argv.iter().filter_map(Value::as_str).collect();
        let classpath = argv.iter().skip_while(|word| **word != "-cp").nth(1);
        let mut tool = tokio::process::Command::new(argv[0]);
        tool.args(["-XX:TieredStopAtLevel=1", "-cp"])
            .arg(classpath.expect("a class path"))
            .args([class, "--bootstrap-server"])
            .arg(format!("127.0.0.1:{}", broker["port"]))
            .args(arguments);
        let output = tool.output().await.expect("Java");
        assert!(output.status.success(), "{class}: {output:?}");
    }

    fn pid(&self, service: &str) -> Pid {
        let pid = read(&self.state)["services"][service]["pid"].as_i64();
        let pid = pid.and_then(|pid| i32::try_from(pid).ok());
        pid.and_then(Pid::from_raw).expect("a pid")
    }

    fn signal(&self, service: &str, signal: Signal) {
        kill_process(self.pid(service), signal).unwrap_or_else(|e| panic!("{service}: {e}"));
    }

    /// Starts what is down, and waits until it answers.
    pub async fn end(&self) {
        self.end_only(&[]).await;
    }

    /// Starts these, if they are down, and leaves the others as they are.
    pub async fn end_only(&self, services: &[&str]) {
        let mut up = self.up();
        for service in services {
            up.args(["--only", service]);
        }
        let output = spawn_blocking(move || up.output())
            .await
            .expect("joined")
            .expect("scripts/services");
        assert!(output.status.success(), "{output:?}");
    }

    fn up(&self) -> Command {
        let services = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/services");
        let mut up = Command::new(services);
        up.args(["up", "--name", &self.name]);
        // Should they have to be made anew, as many as there were.
        let [brokers, members] = self.several.map(|n| n.to_string());
        up.args(["--brokers", &brokers, "--members", &members]);
        up.args(self.has_postgres.then_some("--postgres"));
        up
    }
}

impl Drop for Outages {
    fn drop(&mut self) {
        if std::thread::panicking() {
            _ = self.up().output(); // for the tests that come next
        }
    }
}

/// The processes that a process has started: PostgreSQL has one for each of its clients.
fn started_by(parent: Pid) -> Vec<Pid> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let of_parent = pids.filter(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Behind the name, which may have spaces: the state, and the parent.
        let behind = stat.rsplit(')').next().unwrap_or_default();
        let its_parent = behind.split_whitespace().nth(1);
        its_parent.and_then(|p| p.parse().ok()) == Some(parent.as_raw_nonzero().get())
    });
    of_parent.filter_map(Pid::from_raw).collect()
}

fn named(state: &str, kind: &str) -> Vec<String> {
    let state = read(state);
    let services = state["services"].as_object().expect("services");
    let named = services
        .keys()
        .filter(|name| name.split('-').next() == Some(kind));
    named.cloned().collect()
}

fn read(state: &str) -> Value {
    let text = std::fs::read(state).unwrap_or_else(|e| panic!("{state}: {e}"));
    serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{state}: {e}"))
}

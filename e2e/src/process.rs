//! One of the processes: started, signalled, and started again as the same one.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{File, OpenOptions},
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use aguacero::config::Via;

use crate::{
    client::{Client, Request},
    declaration::via_of_all,
    eventually, once,
    pipeline::variable,
};

/// Lines of a log that a failed test shows.
const TAIL_LINES: usize = 60;

/// How long an admin port may take; a process that is frozen never answers.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// HTTP in.
    Gateway,
    /// Into Kafka.
    KafkaProducer,
    /// Into Kafka, in WebAssembly.
    WasmProducer,
    /// Into Redis.
    RedisWriter,
    /// From Kafka into MongoDB.
    Consumer,
    /// From Kafka into PostgreSQL: a command of the consumer's program.
    Tables,
    /// Pages for people.
    Console,
}

/// Why a process is not ready and will not be.
#[derive(Debug)]
pub(crate) enum NotReady {
    /// Something else listens where it should.
    AddressTaken,
    /// It has ended.
    Ended(ExitStatus),
}

/// A process of a pipeline. Dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    /// Also the name of its log.
    name: String,
    kind: Kind,
    config: PathBuf,
    environment: BTreeMap<String, String>,
    admin: SocketAddr,
    log: PathBuf,
    child: Option<Child>,
}

impl Kind {
    /// The one that produces for the routes of this run's tests: the kafka-producer, unless `E2E_VIA` says otherwise.
    #[must_use]
    pub fn producer() -> Self {
        Self::that_produces(via_of_all().unwrap_or(Via::Grpc))
    }

    /// The one that produces for routes by `via`.
    #[must_use]
    pub fn that_produces(via: Via) -> Self {
        match via {
            Via::Grpc => Self::KafkaProducer,
            Via::Wasm => Self::WasmProducer,
        }
    }

    /// Whether it produces.
    #[must_use]
    pub fn is_producer(self) -> bool {
        matches!(self, Self::KafkaProducer | Self::WasmProducer)
    }

    /// As whom it talks to the stores: what produces does the same, whatever it runs in.
    pub(crate) fn user(self) -> &'static str {
        match self {
            Self::WasmProducer => Self::KafkaProducer.name(),
            other => other.name(),
        }
    }

    /// The program's name.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::KafkaProducer => "kafka-producer",
            Self::WasmProducer => "wasm-producer",
            Self::RedisWriter => "redis-writer",
            Self::Consumer | Self::Tables => "consumer",
            Self::Console => "console",
        }
    }

    /// What it is called, in the configuration too: the program's name, unless it is one of several that this can be.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tables => "tables",
            other => other.program(),
        }
    }

    /// The verbs by which its program becomes it.
    fn verbs(self) -> &'static str {
        match self {
            Self::Tables => "tables run",
            _ => "run",
        }
    }

    /// Where cargo has put it.
    #[must_use]
    pub fn path(self) -> PathBuf {
        let this = std::env::current_exe().expect("a program knows where it is");
        // A test is in target/PROFILE/deps, any other program in target/PROFILE.
        let folders = this.ancestors().skip(1).take(2);
        let mut found = folders.map(|folder| folder.join(self.program()));
        found.find(|path| path.exists()).unwrap_or_else(|| {
            panic!(
                "{} is not built: run `make test`, or `cargo build --workspace` first",
                self.program()
            )
        })
    }
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddressTaken => f.write_str("something else listens where it should"),
            Self::Ended(status) => write!(f, "it ended with {status}"),
        }
    }
}

impl Process {
    pub(crate) fn new(
        name: String,
        kind: Kind,
        folder: &Path,
        config: &Path,
        environment: BTreeMap<String, String>,
        admin: SocketAddr,
    ) -> Self {
        let log = folder.join(format!("{name}.log"));
        Self {
            name,
            kind,
            config: config.to_owned(),
            environment,
            admin,
            log,
            child: None,
        }
    }

    /// Starts it; it may take a while until it is ready.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("a log in our own folder");
        let child = self
            .command(self.kind.verbs())
            .stdin(Stdio::null())
            .stdout(clone(&log))
            .stderr(log)
            .spawn();
        self.child = Some(child.unwrap_or_else(|e| panic!("{}: {e}", self.name)));
    }

    /// `PROGRAM VERB… --config FILE` in the environment of this process.
    #[must_use]
    pub fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(self.kind.path());
        for (name, _) in std::env::vars_os() {
            if name
                .to_str()
                .is_some_and(|n| n.starts_with("AGUACERO_") && n != "AGUACERO_LOG")
            {
                command.env_remove(name);
            }
        }
        command.env_remove("PORT"); // the console would listen there
        command
            .args(verb.split(' '))
            .arg("--config")
            .arg(&self.config)
            .envs(&self.environment);
        if self.clock().exists() {
            let clock = self.kind.path().with_file_name("libclock.so");
            command
                .env("LD_PRELOAD", clock)
                .env("E2E_CLOCK", self.clock());
        }
        command
    }

    /// Waits until it says that it is ready.
    pub async fn ready(&mut self) {
        if let Err(why) = self.try_ready().await {
            panic!("{} did not start: {why}\n{}", self.name, self.log_tail());
        }
    }

    pub(crate) async fn try_ready(&mut self) -> Result<(), NotReady> {
        let name = self.name.clone();
        eventually(&format!("{name} ready"), async || match self.has_ended() {
            Some(_) if self.log().contains("in use") => Ok(Err(NotReady::AddressTaken)),
            Some(status) => Ok(Err(NotReady::Ended(status))),
            None if self.is_ready().await => Ok(Ok(())),
            None => Err(self.log_tail()),
        })
        .await
    }

    /// Whether `/readyz` says so at this moment.
    pub async fn is_ready(&self) -> bool {
        self.probe("/readyz").await == Some(200)
    }

    /// The status with which the admin port answers at this moment, if it does.
    pub async fn probe(&self, path: &str) -> Option<u16> {
        let (mut client, request) = (Client::new(self.admin), Request::get(path));
        let answer = tokio::time::timeout(PROBE_TIMEOUT, client.send(&request)).await;
        answer.ok()?.ok().map(|a| a.status)
    }

    /// What `/readyz` says at this moment, if anything.
    pub async fn readiness(&self) -> Option<(u16, String)> {
        let (mut client, request) = (Client::new(self.admin), Request::get("/readyz"));
        let answer = tokio::time::timeout(PROBE_TIMEOUT, client.send(&request)).await;
        answer.ok()?.ok().map(|a| (a.status, a.text()))
    }

    /// The value of a metric, summed over its labels (but for those that `name` has, as in `name{label="value"`); 0 if
    /// there is none or nobody answers.
    pub async fn metric(&self, name: &str) -> f64 {
        self.try_metric(name).await.unwrap_or(0.0)
    }

    /// The same; none if nobody answers.
    pub async fn try_metric(&self, name: &str) -> Option<f64> {
        let text = self.metrics().await?;
        let named = |line: &&str| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with([' ', '{', ',', '}']))
        };
        let value = |line: &str| line.rsplit(' ').next()?.parse::<f64>().ok();
        Some(text.lines().filter(named).filter_map(value).sum())
    }

    /// What `/metrics` says at this moment, if anything.
    pub async fn metrics(&self) -> Option<String> {
        let (mut client, request) = (Client::new(self.admin), Request::get("/metrics"));
        let answer = tokio::time::timeout(PROBE_TIMEOUT, client.send(&request)).await;
        answer.ok()?.ok().map(|a| a.text())
    }

    /// Starts it and waits until it is ready.
    pub async fn start_ready(&mut self) {
        self.start();
        self.ready().await;
    }

    /// SIGKILL, as an out-of-memory kill or a lost node would have it.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.reap();
    }

    /// [`Process::kill`], then the same process again.
    pub async fn kill_and_restart(&mut self) {
        self.kill();
        self.start_ready().await;
    }

    /// SIGTERM, as Kubernetes would have it.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let name = self.name.clone();
        let status = eventually(&format!("{name} ended"), async || {
            self.has_ended().ok_or_else(|| self.log_tail())
        })
        .await;
        self.child = None;
        status
    }

    /// [`Process::terminate`], and waits until it has ended, well.
    pub async fn shut_down(&mut self) {
        self.terminate();
        let status = self.ended().await;
        assert!(
            status.success(),
            "{} ended with {status}\n{}",
            self.name,
            self.log_tail()
        );
    }

    /// [`Process::shut_down`], then the same process again.
    pub async fn restart(&mut self) {
        self.shut_down().await;
        self.start_ready().await;
    }

    /// SIGSTOP, and waits until not one of its threads runs any more.
    pub async fn freeze(&self) {
        self.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.pid());
        once(&format!("{} frozen", self.name), async || {
            is_stopped(Path::new(&tasks))
        })
        .await;
    }

    /// Steps its wall clock to so many seconds off the true time.
    pub fn set_clock(&self, seconds: i64) {
        // Not truncated: the process has mapped it.
        let clock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.clock());
        clock
            .and_then(|mut clock| clock.write_all(&seconds.to_le_bytes()))
            .expect("a clock in our own folder");
    }

    fn clock(&self) -> PathBuf {
        self.log.with_extension("clock")
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.child.is_some() && self.has_ended().is_none()
    }

    /// Bytes of memory that were resident at most.
    #[must_use]
    pub fn memory_peak(&self) -> u64 {
        self.memory_of("VmHWM:")
    }

    /// From here on, [`Self::memory_peak`] is of what comes.
    pub fn forget_memory_peak(&self) {
        // 5 resets it (proc_pid_clear_refs(5)).
        let file = format!("/proc/{}/clear_refs", self.pid());
        std::fs::write(&file, "5").unwrap_or_else(|e| panic!("{file}: {e}"));
    }

    /// Bytes of memory that are resident.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.memory_of("VmRSS:")
    }

    fn memory_of(&self, field: &str) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let value = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = value
            .and_then(|v| v.trim().strip_suffix("kB"))
            .and_then(|n| n.trim().parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    }

    /// Which program it runs.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where its admin port is.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Its name in this pipeline.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A key of a process table, if this pipeline has set it: `kafka.brokers`.
    #[must_use]
    pub fn setting(&self, key: &str) -> &str {
        let value = self.environment.get(&variable(key));
        value.unwrap_or_else(|| panic!("{key} is not set by the pipeline"))
    }

    /// Everything that it has said so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The end of that, under its name.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        format!("---- {} ----\n{}", self.name, tail.join("\n"))
    }

    /// Kills it, if it runs.
    pub(crate) fn end(&mut self) {
        if let Some(child) = &mut self.child {
            _ = child.kill(); // an error: it has ended already
        }
        self.reap();
    }

    fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().expect("our own child")
    }

    /// Its number; panics if it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child
            .as_ref()
            .unwrap_or_else(|| panic!("{} does not run", self.name))
            .id()
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid())
            .ok()
            .and_then(Pid::from_raw)
            .expect("a pid");
        kill_process(pid, signal).unwrap_or_else(|e| panic!("{}: {e}", self.name));
    }

    fn reap(&mut self) {
        if let Some(mut child) = self.child.take() {
            _ = child.wait();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

fn clone(file: &File) -> Stdio {
    file.try_clone().expect("a second handle of a log").into()
}

/// Whether every thread is in state T.
fn is_stopped(tasks: &Path) -> bool {
    let Ok(tasks) = std::fs::read_dir(tasks) else {
        return false;
    };
    tasks.flatten().all(|task| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit(')')
            .next()
            .is_some_and(|rest| rest.trim_start().starts_with('T'))
    })
}

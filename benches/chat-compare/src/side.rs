//! One of the two: its server, its broker if it has one, and the way to them.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use anyhow::{Context as _, ensure};
use chat::{
    grpc::client::Grpc,
    rabbitmq::client::RabbitMq,
    transport::{Over, Transport},
};
use serde_json::Value;
use tempfile::TempDir;

/// Both, as tables and legends have them.
pub(crate) const SIDES: [(&str, Over); 2] = [("gRPC", Over::Grpc), ("RabbitMQ", Over::Rabbitmq)];

/// A server that was just started, with an empty log.
pub(crate) struct Side {
    pub(crate) over: Over,
    pub(crate) folder: TempDir,
    place: [String; 4],
    server: Child,
}

impl Side {
    pub(crate) fn start(over: Over) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let [first, second] = match over {
            Over::Grpc => ["--listen".to_owned(), format!("127.0.0.1:{}", free_port()?)],
            Over::Rabbitmq => [
                "--broker".to_owned(),
                std::env::var("AGUACERO_RABBITMQ_URL").context("run it by scripts/chat-compare")?,
            ],
        };
        let prefix = folder
            .path()
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or("chat");
        let place = [first, second, "--prefix".to_owned(), prefix.to_owned()];
        let server = serve(over, &folder, &place)?;
        Ok(Self {
            over,
            folder,
            place,
            server,
        })
    }

    pub(crate) fn transport(&self) -> anyhow::Result<Arc<dyn Transport>> {
        Ok(match self.over {
            Over::Grpc => Arc::new(Grpc::new(&format!("http://{}", self.place[1]))?),
            Over::Rabbitmq => Arc::new(RabbitMq::new(self.place[1].clone(), self.place[3].clone())),
        })
    }

    /// A client as a process.
    pub(crate) fn client(&self, name: &str) -> anyhow::Result<Command> {
        let mut command = Command::new(program()?);
        command
            .args([
                "client",
                "--over",
                of(self.over),
                "--name",
                name,
                "--folder",
            ])
            .arg(self.folder_of(name));
        match self.over {
            Over::Grpc => command.args(["--server", &format!("http://{}", self.place[1])]),
            Over::Rabbitmq => command.args(&self.place),
        };
        Ok(command)
    }

    pub(crate) fn folder_of(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.id()
    }

    /// The server, and the broker if there is one.
    pub(crate) fn pids(&self) -> anyhow::Result<Vec<u32>> {
        let broker = (self.over == Over::Rabbitmq).then(broker_pid);
        std::iter::once(Ok(self.pid())).chain(broker).collect()
    }

    /// SIGKILL, and at once another one.
    pub(crate) fn kill_server(&mut self) -> anyhow::Result<()> {
        self.server.kill()?;
        self.server.wait()?;
        self.server = serve(self.over, &self.folder, &self.place)?;
        Ok(())
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        _ = self.server.kill();
        _ = self.server.wait();
    }
}

/// Waits until it serves.
fn serve(over: Over, folder: &TempDir, place: &[String]) -> anyhow::Result<Child> {
    let mut server = Command::new(program()?)
        .args(["server", "--over", of(over), "--folder"])
        .arg(folder.path().join("server"))
        .args(place)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let output = server.stdout.take().context("its output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    ensure!(
        line.starts_with("chat over "),
        "the server did not start: {line}"
    );
    Ok(server)
}

/// Beside this one.
fn program() -> anyhow::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("chat"))
}

fn of(over: Over) -> &'static str {
    match over {
        Over::Grpc => "grpc",
        Over::Rabbitmq => "rabbitmq",
    }
}

/// Below those that the system gives to clients, lest one that tries again connects to itself.
fn free_port() -> anyhow::Result<u16> {
    let mut free = (15_000..19_000).filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.next().context("no port is free")
}

fn services() -> anyhow::Result<(String, Value)> {
    let file = PathBuf::from(
        std::env::var("AGUACERO_SERVICES_STATE").context("run it by scripts/chat-compare")?,
    );
    let state = serde_json::from_slice(&std::fs::read(&file)?)?;
    let name = file
        .file_stem()
        .and_then(|name| name.to_str())
        .context("the name of the services")?;
    Ok((name.to_owned(), state))
}

fn broker_pid() -> anyhow::Result<u32> {
    let (_, state) = services()?;
    let pid = state["services"]["rabbitmq"]["pid"]
        .as_u64()
        .context("scripts/services tells no pid of RabbitMQ")?;
    Ok(u32::try_from(pid)?)
}

/// SIGKILL, and at once the same broker again, with what it has kept.
pub(crate) fn kill_broker() -> anyhow::Result<()> {
    let (name, _) = services()?;
    let pid = rustix::process::Pid::from_raw(i32::try_from(broker_pid()?)?).context("a pid")?;
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    let up = Command::new("scripts/services")
        .args(["up", "--name", &name, "--only", "rabbitmq"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    ensure!(up.success(), "RabbitMQ did not start again");
    Ok(())
}

/// Of the process, in MiB.
pub(crate) fn memory(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("VmRSS")?;
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes / 1024.0)
}

//! A server with a folder of its own, and clients of it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    thread::{JoinHandle, sleep},
    time::{Duration, Instant},
};

use chat::{
    grpc::client::Grpc,
    message::{ClientId, Registered},
    rabbitmq::client::RabbitMq,
    transport::{Over, Transport},
};
use tempfile::TempDir;

use crate::broker;

/// Nothing takes so long, even on a machine that compiles at the same time.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);
const CHAT: &str = env!("CARGO_BIN_EXE_chat");

/// Of one test.
pub(crate) struct World {
    pub(crate) over: Over,
    folder: TempDir,
    place: [String; 4],
    server: Option<Child>,
}

/// A process.
pub(crate) struct Client {
    child: Child,
    input: Option<ChildStdin>,
    shown: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
}

/// Waits until `what` is so.
pub(crate) fn once(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        sleep(Duration::from_millis(5));
    }
}

/// Below those that the system gives to clients: one of them that tries again and again might else connect to itself.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = std::process::id() as u16 % 4000;
    let ports =
        std::iter::repeat_with(|| 15_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 4000);
    let mut free = ports
        .take(4000)
        .filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.next().unwrap()
}

impl World {
    /// With a server.
    pub(crate) fn new(over: Over) -> Self {
        let mut world = Self::without_server(over);
        world.start_server();
        world
    }

    pub(crate) fn without_server(over: Over) -> Self {
        Self::by(over, broker::url)
    }

    /// By the broker at this URL, if there is one between them.
    pub(crate) fn by(over: Over, broker: impl FnOnce() -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = match over {
            Over::Grpc => ["--listen".to_owned(), format!("127.0.0.1:{}", free_port())],
            Over::Rabbitmq => ["--broker".to_owned(), broker()],
        };
        let prefix = folder
            .path()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        Self {
            over,
            folder,
            place: [first, second, "--prefix".into(), prefix],
            server: None,
        }
    }

    /// Waits until it serves.
    pub(crate) fn start_server(&mut self) {
        self.start_server_with(&[]);
    }

    pub(crate) fn start_server_with(&mut self, arguments: &[&str]) {
        let mut command = self.command("server", self.server_folder());
        let command = command.args(&self.place).args(arguments);
        self.server = Some(serving(command));
    }

    /// Starts a server, kills it when it serves, and returns what it has said on its standard error.
    pub(crate) fn start_server_and_hear(&self) -> String {
        let mut command = self.command("server", self.server_folder());
        let mut child = serving(command.args(&self.place).stderr(Stdio::piped()));
        child.kill().unwrap();
        let said = child.wait_with_output().unwrap().stderr;
        String::from_utf8(said).unwrap()
    }

    pub(crate) fn kill_server(&mut self) {
        let mut server = self.server.take().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
    }

    pub(crate) fn server_folder(&self) -> PathBuf {
        self.folder.path().join("server")
    }

    /// Of a client.
    pub(crate) fn folder_of(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("client-{name}"))
    }

    fn command(&self, verb: &str, folder: PathBuf) -> Command {
        let mut command = Command::new(CHAT);
        let over = match self.over {
            Over::Grpc => "grpc",
            Over::Rabbitmq => "rabbitmq",
        };
        command
            .args([verb, "--over", over, "--folder"])
            .arg(folder)
            .env("TZ", "UTC");
        command
    }

    /// Starts a client that reads lines from a pipe.
    pub(crate) fn client(&self, name: &str, arguments: &[&str]) -> Client {
        let mut command = self.client_command(name, self.folder_of(name));
        Client::spawn(command.args(arguments))
    }

    pub(crate) fn client_command(&self, name: &str, folder: PathBuf) -> Command {
        let mut command = self.command("client", folder);
        command.args(["--name", name]);
        match self.over {
            Over::Grpc => command.args(["--server", &format!("http://{}", self.place[1])]),
            Over::Rabbitmq => command.args(&self.place),
        };
        command
    }

    /// Starts clients of these names and ends them: now they are registered.
    pub(crate) fn register(&self, names: &[&str]) {
        for name in names {
            let (status, shown) = self.client(name, &[]).end();
            assert!(status.success(), "{shown:?}");
        }
    }

    /// For what a client's process would not do.
    pub(crate) fn transport(&self) -> Box<dyn Transport> {
        match self.over {
            Over::Grpc => Box::new(Grpc::new(&format!("http://{}", self.place[1])).unwrap()),
            Over::Rabbitmq => Box::new(RabbitMq::new(self.place[1].clone(), self.place[3].clone())),
        }
    }

    /// Where the server of this test is, over gRPC.
    pub(crate) fn address(&self) -> &str {
        &self.place[1]
    }

    /// The client of that number in the server's log.
    pub(crate) fn who(&self, client: u32) -> Registered {
        let lines = read(&self.server_folder().join("log.txt"));
        let id = lines[0].split_once(" log ").unwrap().1;
        Registered {
            log: id.parse().unwrap(),
            client: ClientId(client),
        }
    }

    /// Of the server's log, the lines of messages: what is behind the time, the kind and the id.
    pub(crate) fn logged(&self) -> Vec<String> {
        let lines = read(&self.server_folder().join("log.txt")).into_iter();
        let messages = lines.filter_map(|line| {
            let mut words = line.splitn(4, ' ').skip(1);
            (words.next() == Some("message")).then(|| words.nth(1).unwrap().to_owned())
        });
        messages.collect()
    }

    /// What a client has: position, and `NAME: TEXT`.
    pub(crate) fn received(&self, name: &str) -> Vec<(u64, String)> {
        let lines = read(&self.folder_of(name).join("received.txt")).into_iter();
        let split = |line: String| {
            let mut words = line.splitn(4, ' ');
            let position = words.next().unwrap().parse().unwrap();
            (position, words.nth(2).unwrap().to_owned())
        };
        lines.map(split).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            _ = server.kill();
            _ = server.wait();
        }
    }
}

/// A server's process that serves.
fn serving(command: &mut Command) -> Child {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(
        line.starts_with("chat over "),
        "the server did not start: {line:?}"
    );
    child
}

/// The whole lines of a file that somebody appends to.
fn read(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(str::to_owned).collect()
}

impl Client {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (output, errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let readers = vec![keep(output, shown.clone()), keep(errors, shown.clone())];
        Self {
            input: child.stdin.take(),
            child,
            shown,
            readers,
        }
    }

    /// As if it was typed. A client that was killed meanwhile has not read it.
    pub(crate) fn type_line(&mut self, line: &str) {
        _ = writeln!(self.input.as_mut().unwrap(), "{line}");
    }

    /// What it has shown so far, on both of its outputs.
    pub(crate) fn shown(&self) -> Vec<String> {
        self.shown.lock().unwrap().clone()
    }

    /// Waits until it shows a line that ends so.
    pub(crate) fn shows(&self, end: &str) {
        once(end, || {
            self.shown
                .lock()
                .unwrap()
                .iter()
                .any(|line| line.ends_with(end))
        });
    }

    /// Waits until it shows a line that has this.
    pub(crate) fn says(&self, part: &str) {
        once(part, || self.shown().iter().any(|line| line.contains(part)));
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL; what it has shown.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.finish().1
    }

    /// The end of its input, and its own.
    pub(crate) fn end(mut self) -> (ExitStatus, Vec<String>) {
        self.input = None;
        self.finish()
    }

    fn finish(&mut self) -> (ExitStatus, Vec<String>) {
        let mut status = None;
        once("a client ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        (status.unwrap(), self.shown())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn keep(
    output: impl std::io::Read + Send + 'static,
    shown: Arc<Mutex<Vec<String>>>,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            shown.lock().unwrap().push(line);
        }
    })
}

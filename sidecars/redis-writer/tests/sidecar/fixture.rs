//! A running redis-writer, a gateway's end of its socket, and a Redis of one's own.

use std::{
    collections::HashMap,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aguacero::{
    config::{Config, Redis, Stream},
    ledger::{self, LedgerError, Shown},
    shutdown::{Shutdown, Trigger},
};
use aguacero_proto::deltas::{
    CounterDeltas, DeltaAck, DeltaFrame, DeltaHello, DeltaWelcome, Entry, FromRedisWriter,
    PROTOCOL, StreamDeltas, ToRedisWriter, from_redis_writer, to_redis_writer,
};
use futures_util::{SinkExt as _, StreamExt as _};
use prost::Message as _;
use redis::aio::MultiplexedConnection;
use redis_writer::App;
use tempfile::TempDir;
use tokio::{net::UnixStream, task::JoinHandle, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, protocol::CloseFrame},
};

/// Longer than anything takes here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The Redis that the tests were given.
pub(crate) fn shared_redis() -> String {
    std::env::var("AGUACERO_REDIS_URL").expect(
        "these tests need a Redis and AGUACERO_REDIS_URL is not set: run `make test`, or `scripts/services run -- cargo test`",
    )
}

/// Streams that no other test has, `<name>` and `<name>-other`, and a socket in a folder of its own.
pub(crate) fn config(folder: &TempDir, redis: &str, drain_timeout_ms: u32) -> Config {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("after 1970").as_nanos();
    let name = format!("writer-{now:x}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let socket = folder.path().join("not-there-yet/redis-writer.sock");
    let text = format!(
        r#"
        [topics.messages]
        partitions = 6
        [streams.{name}]
        topic = "messages"
        fields = [{{ name = "country", type = "string" }}]
        counters = [{{ name = "by_country", by = ["country"], max_distinct = 100 }}]
        [[streams.{name}.routes]]
        path = "/input"
        [streams.{name}-other]
        topic = "messages"
        [[streams.{name}-other.routes]]
        path = "/other"
        [redis]
        url = "{redis}"
        [redis_writer]
        socket = "{}"
        admin = "127.0.0.1:0"
        drain_timeout_ms = {drain_timeout_ms}
        "#,
        socket.display()
    );
    Config::parse(&text, "test", []).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

/// A redis-writer that runs in this process.
pub(crate) struct Writer {
    pub(crate) config: Config,
    pub(crate) admin: std::net::SocketAddr,
    pub(crate) shutdown: Trigger,
    pub(crate) ended: JoinHandle<anyhow::Result<()>>,
    _folder: TempDir,
}

impl Writer {
    /// On the Redis that the tests were given.
    pub(crate) async fn start() -> Self {
        Self::on(&shared_redis(), 20_000).await
    }

    pub(crate) async fn on(redis: &str, drain_timeout_ms: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(&folder, redis, drain_timeout_ms);
        let app = App::build(config.clone()).await.expect("built");
        let (shutdown, requested) = Shutdown::new();
        let admin = app.admin_addr();
        let ended = tokio::spawn(app.run(requested));
        Self {
            config,
            admin,
            shutdown,
            ended,
            _folder: folder,
        }
    }

    /// The stream with a counter.
    pub(crate) fn stream(&self) -> &Stream {
        &self.config.streams[0]
    }

    /// A gateway's worker that has been welcomed.
    pub(crate) async fn gateway(&self, run: u8) -> Gateway {
        let mut gateway = self.silent_gateway().await;
        let welcome = gateway
            .hello(PROTOCOL, &[run; 16], self.config.fingerprint)
            .await;
        let expected = DeltaWelcome {
            protocol: PROTOCOL,
            config_fingerprint: self.config.fingerprint,
        };
        assert_eq!(welcome, expected);
        gateway
    }

    /// A connection on which nothing has been said.
    pub(crate) async fn silent_gateway(&self) -> Gateway {
        let stream = UnixStream::connect(&self.config.redis_writer.socket).await;
        let (socket, _) = client_async("ws://redis-writer/", stream.expect("connected"))
            .await
            .expect("a WebSocket");
        Gateway(socket)
    }

    /// A frame with one entry of the stream.
    pub(crate) fn frame(&self, sequence: u64, offset: i64, keys: &[&str]) -> DeltaFrame {
        DeltaFrame {
            sequence,
            streams: vec![self.deltas(offset, keys)],
        }
    }

    pub(crate) fn deltas(&self, offset: i64, keys: &[&str]) -> StreamDeltas {
        let mut counts: HashMap<&str, u64> = HashMap::new();
        for key in keys {
            *counts.entry(key).or_default() += 1;
        }
        let counter = CounterDeltas {
            counter: "by_country".to_owned(),
            keys: counts.keys().map(ToString::to_string).collect(),
            counts: counts.values().copied().collect(),
        };
        StreamDeltas {
            stream: self.stream().name.clone(),
            counters_fingerprint: self.stream().counters_fingerprint,
            entries: vec![Entry {
                incarnation: "kf4Rz-_1Qs2uG7xJ0bT9cA".to_owned(),
                partition: 0,
                first: offset,
                last: offset + keys.len() as i64 - 1,
                events: keys.len() as u64,
                counters: vec![counter],
            }],
        }
    }

    /// What Redis shows of the stream with a counter: the total, and the counter's keys.
    pub(crate) async fn shown(&self) -> (i64, Vec<(String, i64)>) {
        let Shown {
            events,
            mut counters,
            ..
        } = self.shown_of(self.stream()).await;
        let mut keys: Vec<_> = counters.remove(0).into_iter().collect();
        keys.sort();
        (events, keys)
    }

    pub(crate) async fn shown_of(&self, stream: &Stream) -> Shown {
        let mut con = ledger::connect(&self.config.redis, PATIENCE)
            .await
            .expect("Redis");
        ledger::shown(&mut con, stream).await.expect("readable")
    }

    pub(crate) async fn is_ready(&self) -> bool {
        self.admin("/readyz").await.starts_with("HTTP/1.1 200")
    }

    /// What the admin port answers, with its head.
    pub(crate) async fn admin(&self, path: &str) -> String {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut socket = tokio::net::TcpStream::connect(self.admin)
            .await
            .expect("the admin port");
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.expect("written");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.expect("read");
        answer
    }
}

/// What the sorted keys of [`Writer::shown`] are compared with.
pub(crate) fn keys(keys: &[(&str, i64)]) -> Vec<(String, i64)> {
    keys.iter()
        .map(|(key, n)| ((*key).to_owned(), *n))
        .collect()
}

/// A gateway's end of the socket.
pub(crate) struct Gateway(pub(crate) WebSocketStream<UnixStream>);

impl Gateway {
    pub(crate) async fn send(&mut self, kind: to_redis_writer::Kind) {
        let message = ToRedisWriter { kind: Some(kind) };
        self.send_bytes(message.encode_to_vec()).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: Vec<u8>) {
        self.0
            .send(Message::Binary(bytes.into()))
            .await
            .expect("sent");
    }

    pub(crate) async fn send_frame(&mut self, frame: DeltaFrame) {
        self.send(to_redis_writer::Kind::Frame(frame)).await;
    }

    pub(crate) async fn send_hello(&mut self, protocol: u32, run: &[u8], config_fingerprint: u64) {
        let run = run.to_vec().into();
        let hello = DeltaHello {
            protocol,
            run,
            config_fingerprint,
        };
        self.send(to_redis_writer::Kind::Hello(hello)).await;
    }

    pub(crate) async fn hello(
        &mut self,
        protocol: u32,
        run: &[u8],
        fingerprint: u64,
    ) -> DeltaWelcome {
        self.send_hello(protocol, run, fingerprint).await;
        match self.receive().await {
            Ok(from_redis_writer::Kind::Welcome(welcome)) => welcome,
            other => panic!("{other:?}"),
        }
    }

    /// The next message, or why the connection was closed.
    pub(crate) async fn receive(&mut self) -> Result<from_redis_writer::Kind, Option<CloseFrame>> {
        match timeout(PATIENCE, self.0.next())
            .await
            .expect("an answer in time")
        {
            Some(Ok(Message::Binary(bytes))) => {
                let message = FromRedisWriter::decode(bytes).expect("a message");
                Ok(message.kind.expect("of a known kind"))
            }
            Some(Ok(Message::Close(frame))) => Err(frame),
            None | Some(Err(_)) => Err(None),
            other => panic!("{other:?}"),
        }
    }

    /// The next message, which must be an acknowledgement.
    pub(crate) async fn ack(&mut self) -> DeltaAck {
        match self.receive().await {
            Ok(from_redis_writer::Kind::Ack(ack)) => ack,
            other => panic!("{other:?}"),
        }
    }

    /// Sends a frame and waits until it is acknowledged without a problem.
    pub(crate) async fn count(&mut self, frame: DeltaFrame) {
        let sequence = frame.sequence;
        self.send_frame(frame).await;
        assert_eq!(
            self.ack().await,
            DeltaAck {
                sequence,
                problems: Vec::new()
            }
        );
    }

    /// Why the connection was closed; the next message must be a close.
    pub(crate) async fn closed(&mut self) -> CloseFrame {
        match self.receive().await {
            Err(Some(frame)) => frame,
            other => panic!("{other:?}"),
        }
    }
}

/// A Redis that a test may kill. It keeps nothing.
pub(crate) struct OwnRedis {
    child: Child,
    port: u16,
}

impl OwnRedis {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With further arguments of redis-server.
    pub(crate) async fn start_with(arguments: &[&str]) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        drop(listener);
        let redis = Self {
            child: spawn(port, arguments),
            port,
        };
        redis.answers().await;
        redis
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    pub(crate) async fn connect(&self) -> MultiplexedConnection {
        self.try_connect().await.expect("Redis")
    }

    async fn try_connect(&self) -> Result<MultiplexedConnection, LedgerError> {
        ledger::connect(&Redis::at(&self.url()), PATIENCE).await
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
    }

    pub(crate) async fn restart(&mut self) {
        self.child = spawn(self.port, &[]);
        self.answers().await;
    }

    async fn answers(&self) {
        let answers = async {
            while self.try_connect().await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let in_time = timeout(PATIENCE, answers).await;
        in_time.expect("the Redis of this test answers");
    }

    pub(crate) async fn config_set(&self, key: &str, value: &str) {
        self.run(redis::cmd("CONFIG").arg("SET").arg(key).arg(value))
            .await;
    }

    pub(crate) async fn forget_scripts(&self) {
        self.run(redis::cmd("SCRIPT").arg("FLUSH")).await;
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) async fn run(&self, command: &redis::Cmd) {
        let mut con = self.connect().await;
        let done: Result<(), _> = command.query_async(&mut con).await;
        done.expect("done");
    }
}

impl Drop for OwnRedis {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn spawn(port: u16, arguments: &[&str]) -> Child {
    let (program, environment) = program();
    let port = port.to_string();
    let mut command = Command::new(&program);
    command.envs(environment).stdout(Stdio::null());
    command.args(["--bind", "127.0.0.1", "--port", &port]);
    command.args(["--save", "", "--appendonly", "no"]);
    command.args(arguments);
    let child = command.spawn();
    child.unwrap_or_else(|e| panic!("cannot start {}: {e}; run `make test`", program.display()))
}

/// The redis-server that `scripts/services` runs, or that of PATH.
fn program() -> (PathBuf, HashMap<String, String>) {
    let Ok(state) = std::env::var("AGUACERO_SERVICES_STATE") else {
        return ("redis-server".into(), HashMap::new());
    };
    let state = std::fs::read_to_string(state).expect("the services' state");
    let state: serde_json::Value = serde_json::from_str(&state).expect("the services' state");
    let redis = &state["services"]["redis"];
    let text = |value: &serde_json::Value| value.as_str().expect("a string").to_owned();
    let environment = redis["env"].as_object().into_iter().flatten();
    let environment = environment
        .map(|(name, value)| (name.clone(), text(value)))
        .collect();
    (text(&redis["argv"][0]).into(), environment)
}

//! Who may write: keys that come, go and expire while the gateway runs, each at its own rate, and pages of other
//! origins.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, SystemTime},
};

use aguacero::config::{TokenHash, text_of};
use e2e::{Answer, Client, Kind, Pipeline, Request, eventually, once};
use serde_json::json;
use tempfile::TempDir;

const STREAMS: &str = r#"
[topics.t]
partitions = 3

[streams.closed]
topic = "t"
access = "keys"
counters = [{ name = "by_k", by = ["k"] }]
fields = [{ name = "k", type = "string" }]

[[streams.closed.routes]]
path = "/closed"

[streams.other]
topic = "t"

[[streams.other.routes]]
path = "/other"

[streams.open]
topic = "t"
access = "open"

[[streams.open.routes]]
path = "/open"

[streams.paged]
topic = "t"
cors = { origins = ["https://a.example", "http://localhost:3000"], max_age_s = 60 }

[[streams.paged.routes]]
path = "/paged"

[gateway]
keys = "KEYS"
"#;

const EVENT: &str = r#"{"k": "v"}"#;

/// A folder with a file of keys.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("keys.toml")
    }

    /// The streams of this test, with this file.
    fn streams(&self) -> String {
        STREAMS.replace("KEYS", &self.file().display().to_string())
    }

    /// `gateway keys …`
    fn keys(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(Kind::Gateway.path());
        command.arg("keys").args(arguments).arg("--file");
        command
            .arg(self.file())
            .output()
            .expect("a program that starts")
    }

    /// The same where it has to work; returns what it prints.
    fn prints(&self, arguments: &[&str]) -> String {
        let output = self.keys(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// The same for a token.
    fn token(&self, arguments: &[&str]) -> String {
        let printed = self.prints(arguments);
        let token = printed.strip_suffix('\n').expect("a line");
        assert_eq!((token.len(), &token[..4]), (47, "agk_"), "the token alone");
        token.to_owned()
    }

    fn make(&self, name: &str, streams: &str, more: &[&str]) -> String {
        let known = ["make", "--name", name, "--streams", streams];
        self.token(&[&known, more].concat())
    }
}

fn post(path: &str, token: &str) -> Request {
    let bearer = format!("Bearer {token}");
    Request::json(path, EVENT).header("authorization", bearer)
}

fn challenge(answer: &Answer, status: u16) -> &str {
    answer.problem(status);
    answer.header("www-authenticate").expect("a challenge")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_key_of_the_stream_lets_events_in() {
    let desk = Desk::new();
    let (token, other) = (
        desk.make("a", "closed", &[]),
        desk.make("b", "other", &["--expires", "90d"]),
    );
    let everywhere = desk.make("c", "*", &[]);
    let pipeline = Pipeline::builder(&desk.streams())
        .into_kafka_only()
        .start()
        .await;
    let client = &mut pipeline.client();

    let none = client.answer(&Request::json("/closed", EVENT)).await;
    assert_eq!(challenge(&none, 401), "Bearer realm=\"aguacero\"");
    let other_scheme = Request::json("/closed", EVENT).header("authorization", "Basic YTpi");
    let answer = client.answer(&other_scheme).await;
    assert_eq!(challenge(&answer, 401), "Bearer realm=\"aguacero\"");
    let bearer = format!("Bearer {token}");
    let twice = post("/closed", &token).header("authorization", bearer);
    client.answer(&twice).await.problem(401);
    let mut wrong = token.clone();
    let last = if wrong.ends_with('A') { "E" } else { "A" };
    wrong.replace_range(46.., last);
    for wrong in [&*wrong, "agk_", "x"] {
        let answer = client.answer(&post("/closed", wrong)).await;
        assert_eq!(
            challenge(&answer, 401),
            "Bearer realm=\"aguacero\", error=\"invalid_token\""
        );
    }
    let answer = client.answer(&post("/closed", &other)).await;
    assert_eq!(
        challenge(&answer, 403),
        "Bearer realm=\"aguacero\", error=\"insufficient_scope\""
    );
    // What there is not is told to anybody, and a key is looked at before anything else.
    client
        .answer(&Request::json("/nowhere", EVENT))
        .await
        .problem(404);
    let get = Request::get("/closed");
    client.answer(&get).await.problem(405);
    assert_eq!(client.answer(&get.method("OPTIONS")).await.status, 204);
    let untyped = Request::post("/closed", "no JSON").header("content-encoding", "rot13");
    client.answer(&untyped).await.problem(401);
    assert_eq!(client.connections(), 1, "the connection goes on");
    assert_eq!(pipeline.kafka.count(pipeline.topic("closed")).await, 0);

    client.answer(&post("/closed", &token)).await.accepted(1);
    client.answer(&post("/other", &other)).await.accepted(1);
    for path in ["/closed", "/other", "/open"] {
        client.answer(&post(path, &everywhere)).await.accepted(1);
    }
    let small = Request::json("/closed", EVENT).header("authorization", format!("bEaReR {token}"));
    client.answer(&small).await.accepted(1);
    client
        .answer(&Request::json("/open", EVENT))
        .await
        .accepted(1);

    let log = pipeline.gateway.log();
    assert!(
        log.contains("open: anyone may write") && log.contains("/open"),
        "{log}"
    );
    assert!(
        !log.contains("/closed"),
        "only what is open is warned of: {log}"
    );
    let hash = TokenHash::of(token.as_bytes()).to_string();
    for secret in [&token, &wrong, &hash[7..].to_owned()] {
        assert!(!log.contains(secret.as_str()), "a secret in the log: {log}");
    }
}

/// The status of a post with `token`, as soon as it is `status`.
async fn becomes(client: &mut Client, token: &str, status: u16) {
    let client = tokio::sync::Mutex::new(client);
    eventually(&format!("{status}"), async || {
        let answer = client.lock().await.answer(&post("/closed", token)).await;
        (answer.status == status)
            .then_some(())
            .ok_or_else(|| format!("{answer:?}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_come_go_and_expire_while_the_gateway_runs() {
    let desk = Desk::new();
    let first = desk.make("a", "closed", &[]);
    let soon = text_of(SystemTime::now() + Duration::from_secs(30 * 60));
    let passing = desk.make("passing", "closed", &["--expires", &soon]);
    let pipeline = Pipeline::builder(&desk.streams())
        .into_kafka_only()
        .clocks()
        .start()
        .await;
    let client = &mut pipeline.client();
    becomes(client, &first, 200).await;

    let second = desk.make("b", "closed", &[]);
    becomes(client, &second, 200).await;
    desk.prints(&["revoke", "b"]);
    becomes(client, &second, 401).await;
    becomes(client, &first, 200).await;

    let newer = desk.token(&["rotate", "a"]);
    becomes(client, &newer, 200).await;
    becomes(client, &first, 200).await;
    desk.prints(&["rotate", "a", "--finish"]);
    becomes(client, &first, 401).await;
    becomes(client, &newer, 200).await;

    let listed = desk.prints(&["list"]);
    let state = |name: &str| {
        listed
            .lines()
            .find(|l| l.starts_with(name))
            .map(str::to_owned)
    };
    assert!(
        state("b").is_some_and(|l| l.ends_with("revoked")),
        "{listed}"
    );
    assert!(state("a").is_some_and(|l| l.ends_with("good")), "{listed}");

    // A little later, by the gateway's clock: of records from too far away, Kafka thinks badly.
    becomes(client, &passing, 200).await;
    pipeline.gateway.set_clock(40 * 60);
    becomes(client, &passing, 401).await;
    becomes(client, &newer, 200).await;
    once("one key left", async || {
        pipeline.gateway.metric("aguacero_gateway_keys").await == 1.0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_with_mistakes_leaves_the_keys_before_in_force() {
    let desk = Desk::new();
    let token = desk.make("a", "closed", &[]);
    let pipeline = Pipeline::builder(&desk.streams())
        .into_kafka_only()
        .start()
        .await;
    let client = &mut pipeline.client();
    let refused = || async {
        pipeline
            .gateway
            .metric("aguacero_gateway_keys_refused")
            .await
    };
    let good = std::fs::read_to_string(desk.file()).expect("the file");
    let broken = format!("{good}colour = 1\nburst = 5\n");
    std::fs::write(desk.file(), &broken).expect("our own file");
    once("refused", async || refused().await == 1.0).await;
    client.answer(&post("/closed", &token)).await.accepted(1);
    let lines = good.lines().count();
    for (line, word) in [(lines + 1, "unknown key"), (lines + 2, "without a rate")] {
        let place = format!("keys.toml:{line}:");
        let told = |log: &str| {
            let lines = log
                .lines()
                .filter(|l| l.contains(&place) && l.contains(word));
            lines.count()
        };
        assert_eq!(
            told(&pipeline.gateway.log()),
            1,
            "{}",
            pipeline.gateway.log()
        );
    }

    // As Kubernetes changes a mounted secret: a link leads elsewhere.
    std::fs::remove_file(desk.file()).expect("our own file");
    let elsewhere = desk.file().with_extension("elsewhere");
    let fresh = "agk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let hash = TokenHash::of(fresh.as_bytes());
    let key = format!("[[keys]]\nname = \"z\"\nhashes = [\"{hash}\"]\nstreams = [\"*\"]\n");
    std::fs::write(&elsewhere, key).expect("our own file");
    std::os::unix::fs::symlink(&elsewhere, desk.file()).expect("our own link");
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&elsewhere, readable).expect("our own file");
    becomes(client, fresh, 200).await;
    becomes(client, &token, 401).await;
    once("accepted", async || refused().await == 0.0).await;
    let log = pipeline.gateway.log();
    assert!(log.contains("others may read or write the keys"), "{log}");
}

/// `gateway VERB --config FILE` without a variable of ours.
fn gateway(verb: &str, file: &Path) -> Output {
    let mut command = Command::new(Kind::Gateway.path());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AGUACERO_") {
            command.env_remove(name);
        }
    }
    let command = command.arg(verb).arg("--config").arg(file);
    command.output().expect("a program that starts")
}

#[test]
fn a_missing_or_mistaken_file_of_keys_stops_the_start_beside_all_other_mistakes() {
    let desk = Desk::new();
    let file = desk.0.path().join("file.toml");
    // Relative to the file that names it.
    let streams = STREAMS
        .replace("KEYS", "keys.toml")
        .replace("partitions = 3", "partitions = 0");
    std::fs::write(&file, &streams).expect("our own file");
    for keys in [
        None,
        Some("[[keys]]\nname = \"A\"\nhashes = []\nstreams = [\"close\"]\n"),
    ] {
        if let Some(keys) = keys {
            std::fs::write(desk.file(), keys).expect("our own file");
        }
        for verb in ["check", "run"] {
            let output = gateway(verb, &file);
            let told = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{told}");
            assert!(told.contains("file.toml:3:"), "{told}");
            let expected = match keys {
                None => &["keys.toml: cannot be read"][..],
                Some(_) => &["keys.toml:2:", "keys.toml:4:", "did you mean \"closed\"?"],
            };
            for part in expected {
                assert!(told.contains(part), "{part}: {told}");
            }
        }
    }
    std::fs::write(&file, STREAMS.replace("KEYS", "keys.toml")).expect("our own file");
    std::fs::remove_file(desk.file()).expect("our own file");
    desk.make("a", "*", &[]);
    let output = gateway("check", &file);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(
        told.contains("open: anyone may write") && told.contains("takes events with a key"),
        "{told}"
    );
}

/// What `RateLimit` says: remaining events, and seconds.
fn left(answer: &Answer) -> (u64, u64) {
    let field = answer
        .header("ratelimit")
        .unwrap_or_else(|| panic!("no RateLimit: {answer:?}"));
    let number = |name: &str| {
        field
            .split(';')
            .find_map(|p| p.strip_prefix(name)?.parse().ok())
    };
    (number("r=").expect("r"), number("t=").expect("t"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_too_fast_is_told_when_to_come_again_and_is_let_in_then() {
    let desk = Desk::new();
    let token = desk.make("a", "closed", &["--rate", "4", "--burst", "6"]);
    let free = desk.make("b", "closed", &[]);
    let pipeline = Pipeline::builder(&desk.streams())
        .into_kafka_only()
        .start()
        .await;
    let client = &mut pipeline.client();
    let batch = format!("{EVENT}\n").repeat(14);
    let batch =
        Request::ndjson("/closed", batch).header("authorization", format!("Bearer {token}"));
    let answer = client.answer(&batch).await;
    answer.accepted(14); // more than the bucket ever holds
    assert_eq!(left(&answer).0, 0);

    let answer = client.answer(&post("/closed", &token)).await;
    let problem = answer.problem(429);
    assert_eq!(problem["type"], "urn:aguacero:problem:too-many");
    assert_eq!(
        answer.header("ratelimit-policy"),
        Some("\"events\";q=6;w=2")
    );
    assert_eq!(left(&answer).0, 0);
    let wait: u64 = answer
        .header("retry-after")
        .and_then(|s| s.parse().ok())
        .expect("seconds");
    assert!(
        (1..=2).contains(&wait),
        "8 events of debt at 4 a second: {answer:?}"
    );
    let unlimited = client.answer(&post("/closed", &free)).await;
    unlimited.accepted(1); // others are not touched
    assert_eq!(unlimited.header("ratelimit"), None);

    tokio::time::sleep(Duration::from_secs(wait)).await; // as the answer asks
    let answer = client.answer(&post("/closed", &token)).await;
    answer.accepted(1);
    assert!(answer.header("ratelimit").is_some());
    assert_eq!(client.connections(), 1, "the connection goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_owners_with_the_same_idempotency_key_are_two_events() {
    let desk = Desk::new();
    let tokens = [desk.make("a", "closed", &[]), desk.make("b", "closed", &[])];
    let pipeline = Pipeline::builder(&desk.streams()).start().await;
    let client = &mut pipeline.client();
    for token in tokens.iter().chain(&tokens) {
        let request = post("/closed", token).key("mine");
        client.answer(&request).await.accepted(1);
    }
    // A key that an answer gave is its owner's, too.
    let mixed = |token: &str| {
        let request = Request::json("/closed", r#"[{"k": "v"}, {"k": 5}]"#);
        request.header("authorization", format!("Bearer {token}"))
    };
    let first = client.answer(&mixed(&tokens[0])).await;
    assert_eq!(first.status, 207);
    for token in tokens.iter().chain(&tokens) {
        let again = mixed(token).key(first.retry_key());
        let again = client.answer(&again).await;
        assert_eq!(again.status, 207);
        assert_eq!(again.retry_key(), first.retry_key());
    }
    pipeline.exact("closed", 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_a_declared_origin_may_write_and_read_every_answer() {
    let desk = Desk::new();
    let token = desk.make("a", "paged", &[]);
    let pipeline = Pipeline::builder(&desk.streams())
        .into_kafka_only()
        .start()
        .await;
    let client = &mut pipeline.client();
    let origin = "https://a.example";
    let preflight = |origin: &str| {
        Request::get("/paged")
            .method("OPTIONS")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "baggage,content-type,sentry-trace",
            )
            .header("access-control-request-headers", "tracestate, X-Own, a b")
    };
    let answer = client.answer(&preflight(origin)).await;
    let field = |name| answer.header(name);
    assert_eq!(answer.status, 204);
    assert_eq!(field("access-control-allow-origin"), Some(origin));
    assert_eq!(field("access-control-allow-methods"), Some("POST"));
    assert_eq!(field("access-control-max-age"), Some("60"));
    let vary = "Origin, Access-Control-Request-Headers";
    assert_eq!(field("vary"), Some(vary));
    let sent = field("access-control-allow-headers").expect("fields");
    for name in [
        "authorization",
        "content-type",
        "content-encoding",
        "idempotency-key",
        "prefer",
        "traceparent",
        "tracestate",
        "baggage",
        "sentry-trace",
        "x-own",
    ] {
        assert!(sent.split(", ").any(|n| n == name), "{name}: {sent}");
    }
    assert!(!sent.contains("a b"), "only names: {sent}");
    let answer = client.answer(&preflight("https://b.example")).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(answer.header("access-control-allow-methods"), None);

    let bearer = format!("Bearer {token}");
    for (request, status) in [
        (post("/paged", &token), 200),
        (Request::json("/paged", EVENT), 401),
        (Request::get("/paged"), 405),
        (
            Request::json("/paged", "{").header("authorization", &*bearer),
            400,
        ),
        (
            Request::post("/paged", EVENT).header("authorization", &*bearer),
            415,
        ),
    ] {
        let answer = client
            .answer(&request.clone().header("origin", origin))
            .await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
        assert_eq!(answer.header("vary"), Some("Origin"));
        let shown = answer
            .header("access-control-expose-headers")
            .unwrap_or_default();
        assert!(
            shown.contains("retry-after") && shown.contains("ratelimit"),
            "{answer:?}"
        );
        let answer = client
            .answer(&request.header("origin", "https://b.example"))
            .await;
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    // A stream that declares none is as it was.
    let open = Request::json("/open", EVENT).header("origin", origin);
    let answer = client.answer(&open).await;
    assert_eq!(
        (answer.header("vary"), answer.document()),
        (None, json!({ "accepted": 1 }))
    );
}

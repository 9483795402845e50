//! The console: what it shows, to how many, and who may do what.

use e2e::{
    Client, Kind, Link, Pipeline, Process, Request,
    console::{Updates, address, get, token},
    load::tweet,
    once, repository,
    wire::Wire,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

/// What a script, a mark of direction and a long text would do to a page that does not see to it.
const HOSTILE: &str = "<script>document.title='ran'</script><img src=x onerror=\"document.title='ran'\">\u{202e}txt\u{202c}";

fn console(pipeline: &Pipeline) -> &Process {
    pipeline.console.as_ref().expect("a console")
}

async fn open(console: &Process, path: &str) -> Updates {
    let opened = Updates::open(console, path).await;
    opened.unwrap_or_else(|e| panic!("{path}: {e:#}"))
}

fn wire(pipeline: &Pipeline, to: Link) -> &Wire {
    let mut wires = pipeline.wires.iter();
    let found = wires.find(|(link, _)| *link == to);
    &found.expect("a wire").1
}

/// A process' reads of something, by the console's own word.
async fn reads(console: &Process, from: &str) -> f64 {
    let name = format!("aguacero_console_reads_total{{from=\"{from}\"");
    console.metric(&name).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_are_shown_as_redis_has_them_also_after_redis_was_away() {
    let pipeline = Pipeline::weather().wired().console().start().await;
    let mut client = pipeline.client();
    let mut live = open(console(&pipeline), "/api/live/stream").await;
    for n in 0..10 {
        client
            .answer(&Request::json("/input", tweet(n)))
            .await
            .accepted(1);
    }
    let has = |update: &Value, total: u64| update["streams"][0]["total"] == total;
    let shown = live.until("10 events", |u| has(u, 10)).await;
    let redis_has = pipeline.redis.shown(pipeline.stream("weather")).await;
    let counter = &shown["streams"][0]["counters"][0];
    assert_eq!(counter["name"], "by_country");
    let top = counter["top"].as_array().expect("keys");
    assert!(!top.is_empty(), "{shown}");
    for key in top {
        let (name, figure) = (key[0].as_str().expect("a key"), &key[1]);
        let there = pipeline.redis.figure("{weather}:by_country", name).await;
        assert_eq!(figure.as_i64(), there, "{name}: {redis_has:?}");
    }

    wire(&pipeline, Link::Redis).cut();
    live.until("that Redis is away", |u| !u["redis"].is_null())
        .await;
    let page = get(console(&pipeline), "/").await;
    assert_eq!(page.status, 200, "pages stay");
    client
        .answer(&Request::json("/input", tweet(10)))
        .await
        .accepted(1);
    wire(&pipeline, Link::Redis).mend();
    let shown = live.until("11 events", |u| has(u, 11)).await;
    assert!(shown["redis"].is_null(), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_look_cause_one_read_a_second_and_nobody_none() {
    let pipeline = Pipeline::weather().console().start().await;
    let console = console(&pipeline);
    let mut many = Vec::new();
    for _ in 0..50 {
        many.push(open(console, "/api/live/stream").await);
    }
    let (began, before) = (std::time::Instant::now(), reads(console, "redis").await);
    while began.elapsed().as_secs() < 5 {
        for stream in &mut many {
            stream.next().await.expect("an update");
        }
    }
    let (after, seconds) = (reads(console, "redis").await, began.elapsed().as_secs_f64());
    let streams = console.metric("aguacero_console_streams").await;
    assert_eq!(streams, 50.0);
    assert!(
        after > before && after - before <= seconds + 1.0,
        "{before} {after} {seconds}"
    );

    drop(many);
    once("nobody looks", async || {
        console.metric("aguacero_console_streams").await == 0.0
    })
    .await;
    // The last read may have begun already.
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    let before = reads(console, "redis").await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(reads(console, "redis").await, before, "nobody looks");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_streams_than_there_may_be_are_refused_until_one_ends() {
    // Each is an open file of this test, too.
    let limit = getrlimit(Resource::Nofile);
    let current = limit.maximum.map_or(Some(4096), |max| Some(max.min(4096)));
    setrlimit(Resource::Nofile, Rlimit { current, ..limit }).expect("more open files");
    let pipeline = Pipeline::weather().console().start().await;
    let console = console(&pipeline);
    let mut many = Vec::new();
    for _ in 0..1000 {
        many.push(open(console, "/api/pipeline/stream").await);
    }
    let refused = Updates::open(console, "/api/live/stream").await;
    let refused = refused.expect_err("they are too many").to_string();
    assert!(refused.contains(" 503 "), "{refused}");
    assert_eq!(get(console, "/").await.status, 200, "pages stay");
    many.truncate(999);
    once("there is room for another", async || {
        Updates::open(console, "/api/live/stream").await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_shows_what_is_archived_with_its_place_and_a_large_event_cut() {
    let pipeline = Pipeline::weather().console().start().await;
    let console = console(&pipeline);
    let mut log = open(console, "/api/log/weather/stream").await;
    let mut client = pipeline.client();
    let event = json!({ "texto": HOSTILE, "país": "Chile", "z": "x".repeat(900_000) }).to_string();
    let request = Request::json("/input", event).header("prefer", "return=representation");
    let answer = client.answer(&request).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let stored = answer.document()["records"][0].clone();
    let is_there = |u: &Value| !u["entries"][0]["text"].is_null();
    let shown = log.until("the event", is_there).await;
    let entry = &shown["entries"][0];
    for field in ["id", "partition", "offset"] {
        assert_eq!(entry[field], stored[field], "{field}");
    }
    assert!(entry["bytes"].as_u64() > Some(900_000), "{entry}");
    let text = entry["text"].as_str().expect("a text");
    assert!(text.len() < 3000, "{} bytes", text.len());
    assert!(
        text.contains("<script>"),
        "as it is: the page shows it as text"
    );

    let id = stored["id"].as_str().expect("an id");
    let whole = get(console, &format!("/api/log/weather/{id}")).await;
    assert_eq!(whole.status, 200, "{}", whole.status);
    let whole = whole.document();
    assert_eq!(whole["offset"], stored["offset"]);
    let text = whole["text"].as_str().expect("a text");
    assert!(
        text.len() > 900_000 && text.contains("\u{202e}"),
        "{}",
        text.len()
    );
    for (path, status) in [
        ("/api/log/weather/0190b2c4-0000-7000-8000-000000000000", 404),
        ("/api/log/weather/x", 404),
        ("/api/log/nothing/stream", 404),
    ] {
        assert_eq!(get(console, path).await.status, status, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_goes_on_after_mongodb_was_away() {
    let pipeline = Pipeline::weather().wired().console().start().await;
    let mut log = open(console(&pipeline), "/api/log/weather/stream").await;
    let mut client = pipeline.client();
    let entries = |u: &Value| u["entries"].as_array().map(Vec::len);
    log.until("an empty log", |u| entries(u) == Some(0)).await;
    wire(&pipeline, Link::MongoDb).cut();
    log.until("that MongoDB is away", |u| u["mongodb"].is_string())
        .await;
    client
        .answer(&Request::json("/input", tweet(0)))
        .await
        .accepted(1);
    wire(&pipeline, Link::MongoDb).mend();
    let is_there = |u: &Value| entries(u) == Some(1) && u["mongodb"].is_null();
    log.until("the event", is_there).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_page_may_load_is_said_with_every_answer_and_texts_are_in_the_reader_s_language() {
    let pipeline = Pipeline::weather().console().start().await;
    let console = console(&pipeline);
    for path in [
        "/",
        "/log",
        "/pipeline",
        "/dead-letters",
        "/try",
        "/live.js",
        "/nothing",
        "/api/live/history",
    ] {
        let answer = get(console, path).await;
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'"),
            "{path}: {policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
        assert_eq!(
            answer.header("referrer-policy"),
            Some("no-referrer"),
            "{path}"
        );
    }
    let spanish = Request::get("/").header("accept-language", "es-CL, en;q=0.5");
    let answer = Client::new(address(console)).answer(&spanish).await;
    assert_eq!(answer.header("content-language"), Some("es"));
    assert!(answer.text().contains("<html lang=\"es\">"));
    assert_eq!(
        get(console, "/").await.header("content-language"),
        Some("en")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_shown_to_all_and_replayed_by_the_operator_alone() {
    let (file, token) = token();
    let pipeline = Pipeline::weather()
        .with("console.token_file", file.path().display())
        .console()
        .start()
        .await;
    let console = console(&pipeline);
    let topic = pipeline.topic("weather").to_owned();
    let value = [HOSTILE.as_bytes(), b"\xff"].concat();
    pipeline.kafka.write(&topic, 0, &value, None).await;
    let mut letters = open(console, "/api/dead-letters/stream").await;
    let shown = letters
        .until("the letter", |u| !u["letters"][0].is_null())
        .await;
    assert_eq!(
        shown["counts"],
        json!([{ "reason": "no-header", "open": 1, "replayed": 0, "discarded": 0 }])
    );
    let id = shown["letters"][0]["id"].as_str().expect("an id");
    let whole = get(
        console,
        &format!("/api/dead-letters/one?id={}", id.replace('/', "%2F")),
    )
    .await;
    let hex = whole.document()["value"]["hex"].clone();
    assert!(
        hex.as_str()
            .is_some_and(|hex| hex.trim_end().ends_with(" ff")),
        "{hex}"
    );

    let mut client = Client::new(address(console));
    let body = json!({ "id": id }).to_string();
    let discard = Request::json("/api/dead-letters/discard", body);
    for (request, status) in [
        (discard.clone(), 401),
        (
            discard.clone().header("authorization", "Bearer another"),
            401,
        ),
        (discard.clone().header("authorization", token), 401),
        (
            discard
                .clone()
                .header("origin", "https://elsewhere.example"),
            403,
        ),
    ] {
        let answer = client.answer(&request).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    assert_eq!(
        pipeline.archive.dead_letters().await[0].get("discarded_at"),
        None
    );

    // As another event of the stream it cannot be archived either, which is said by the same code.
    let bearer = format!("Bearer {token}");
    let with_token = |path: &str, body: Value| {
        Request::json(path, body.to_string()).header("authorization", &*bearer)
    };
    let replay = with_token("/api/dead-letters/replay", json!({ "id": id }));
    let answer = client.answer(&replay).await;
    assert_eq!(answer.status, 409, "{answer:?}");
    assert!(
        answer
            .text()
            .contains("its header does not tell its stream"),
        "{answer:?}"
    );
    let replay = with_token(
        "/api/dead-letters/replay",
        json!({ "id": id, "as": "weather" }),
    );
    let answer = client.answer(&replay).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.document()["offset"], 1);
    let discard = with_token("/api/dead-letters/discard", json!({ "id": id }));
    assert_eq!(client.answer(&discard).await.status, 200);
    let done = |u: &Value| {
        let of_reason =
            |r: &Value| r["reason"] == "no-header" && r["replayed"] == 1 && r["discarded"] == 1;
        u["counts"]
            .as_array()
            .is_some_and(|all| all.iter().any(of_reason))
    };
    letters.until("both are noted", done).await;
    let unknown = with_token("/api/dead-letters/discard", json!({ "id": "x" }));
    assert_eq!(client.answer(&unknown).await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_token_nobody_operates() {
    let pipeline = Pipeline::weather().console().start().await;
    let console = console(&pipeline);
    let request = Request::json("/api/dead-letters/discard", r#"{"id": "x"}"#);
    let request = request.header("authorization", "Bearer ");
    let answer = Client::new(address(console)).answer(&request).await;
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("console.token_file"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_tried_is_stored_and_found() {
    let pipeline = Pipeline::weather().console().start().await;
    let console = console(&pipeline);
    let mut client = Client::new(address(console));
    let request = Request::json("/api/try?path=%2Finput", tweet(1).to_string());
    let answer = client.answer(&request.key("tried")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let told = answer.document();
    assert_eq!(told["status"], 200, "{told}");
    let id = told["records"][0]["id"].as_str().expect("an id").to_owned();
    once("it is archived", async || {
        let found = get(console, &format!("/api/log/weather/{id}")).await;
        found.status == 200 && found.document()["offset"] == told["records"][0]["offset"]
    })
    .await;
    pipeline.exact("weather", 1).await;

    let refused = Request::json("/api/try?path=%2Finput", "{}");
    let told = client.answer(&refused).await.document();
    assert_eq!(
        told["status"], 422,
        "what the gateway says is shown: {told}"
    );
    for (request, status) in [
        (Request::json("/api/try?path=%2Felsewhere", "{}"), 404),
        (Request::post("/api/try?path=%2Finput", "{}"), 403),
        (
            Request::json("/api/try?path=%2Finput", "x".repeat(1 << 20)),
            413,
        ),
        (Request::get("/api/try"), 405),
    ] {
        let answer = client.answer(&request).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pipeline_says_where_it_stands_still() {
    let mut pipeline = Pipeline::weather().console().start().await;
    let edge = |u: &Value, from: &str, to: &str| {
        let edges = u["way"].as_array().cloned().unwrap_or_default();
        let found = edges
            .into_iter()
            .find(|e| e["from"] == from && e["to"] == to);
        found.unwrap_or_default()
    };
    let mut updates = open(console(&pipeline), "/api/pipeline/stream").await;
    let all_well = |u: &Value| {
        let edges = u["way"].as_array();
        edges.is_some_and(|all| all.iter().all(|e| e["state"] != "stands"))
    };
    let shown = updates.until("all is well", all_well).await;
    for process in shown["processes"].as_array().expect("processes") {
        assert_eq!(process["instances"][0]["state"], "ready", "{process}");
    }
    pipeline.consumer().kill();
    let shown = updates
        .until("the consumer is away", |u| {
            edge(u, "kafka", "consumer")["state"] == "stands"
        })
        .await;
    assert_eq!(edge(&shown, "kafka", "consumer")["why"], "consumer-away");
    assert_ne!(edge(&shown, "client", "gateway")["state"], "stands");
    pipeline.consumer().start_ready().await;
    updates.until("all is well again", all_well).await;
}

/// Beside the archive. (Needs PostgreSQL, as the parts of `scripts/test` that choose tests by "pipeline" do not.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_a_way_of_its_own_that_stands_still_by_itself() {
    let mut pipeline = Pipeline::builder(&repository("examples/guild.toml"))
        .tables(1)
        .console()
        .start()
        .await;
    let mut updates = open(console(&pipeline), "/api/pipeline/stream").await;
    let is_well = |u: &Value| {
        let edges = u["way"].as_array();
        edges.is_some_and(|all| {
            all.iter().any(|e| e["to"] == "postgres") && all.iter().all(|e| e["state"] != "stands")
        })
    };
    updates.until("all is well", is_well).await;
    pipeline.tables[0].kill();
    let edge = |u: &Value, to: &str| {
        let edges = u["way"].as_array().cloned().unwrap_or_default();
        edges
            .into_iter()
            .find(|e| e["to"] == to)
            .unwrap_or_default()
    };
    let is_away = |u: &Value| edge(u, "tables")["why"] == "tables-away";
    let shown = updates.until("consumer tables is away", is_away).await;
    assert_ne!(edge(&shown, "consumer")["state"], "stands");
    pipeline.tables[0].start_ready().await;
    updates.until("all is well again", is_well).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_served_while_every_store_and_process_is_away() {
    let mut pipeline = Pipeline::weather()
        .with("redis.url", "redis://127.0.0.1:1/0")
        .with("mongodb.uri", "mongodb://127.0.0.1:1")
        .console()
        .prepare()
        .await;
    let console = pipeline.console.as_mut().expect("a console");
    assert_eq!(console.kind(), Kind::Console);
    console.start_ready().await;
    for path in ["/", "/log", "/pipeline", "/dead-letters", "/try"] {
        assert_eq!(get(console, path).await.status, 200, "{path}");
    }
    for (path, field) in [
        ("/api/live/stream", "redis"),
        ("/api/log/weather/stream", "mongodb"),
        ("/api/dead-letters/stream", "mongodb"),
    ] {
        let mut updates = open(console, path).await;
        updates.until(path, |u| u[field].is_string()).await;
    }
    let mut updates = open(console, "/api/pipeline/stream").await;
    let is_away = |u: &Value| u["processes"][0]["instances"][0]["state"] == "away";
    updates.until("the gateway is away", is_away).await;
    console.shut_down().await;
}

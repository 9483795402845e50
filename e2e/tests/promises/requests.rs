//! What a request may look like: an array is JSON as a whole or not at all, what means nothing is no fault, and what is at
//! fault is named.

use std::{io::Write as _, time::Duration};

use e2e::{Client, Pipeline, Request, load::tweet, raw};
use flate2::{Compression, write::DeflateEncoder};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const GOOD: &str = r#"{"texto": "Su lluvia", "país": "Argentina"}"#;

fn good() -> Request {
    Request::json("/input", GOOD)
}

/// Sends what is refused; its answer says `what`, and nothing less.
async fn says(
    client: &mut Client,
    request: &Request,
    status: u16,
    what: &str,
) -> serde_json::Value {
    let problem = client.answer(request).await.problem(status);
    let detail = problem["detail"].as_str().expect("in words");
    assert!(detail.contains(what), "{detail}");
    problem
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_array_that_is_no_json_anywhere_is_refused_whole() {
    let pipeline = Pipeline::weather()
        .into_kafka_only()
        .with("gateway.event_bytes_max", 300_000)
        .start()
        .await;
    let client = &mut pipeline.client();
    let (deep, large) = ("[".repeat(200), "x".repeat(300_000));
    let spoilt: [(&[u8], usize); 7] = [
        (b"{\"texto\": \"\xff\"}", 11),
        (b"{\"texto\": \"\x01\"}", 11),
        (br#"{"texto" "a"}"#, 9),
        (br#"{"texto": nul}"#, 13),
        (br#"{"texto": "a",}"#, 14),
        (
            &format!("{{\"x\": {deep}1 2{}}}", "]".repeat(200)).into_bytes(),
            208,
        ),
        (
            &format!("{{\"x\": \"{large}\", 7: 1}}").into_bytes(),
            300_010,
        ),
    ];
    let (mut in_lines, before) = (0, format!("[{GOOD},\n{GOOD}, "));
    for (element, at) in spoilt {
        let body = [before.as_bytes(), element, b",", GOOD.as_bytes(), b"]"].concat();
        for dry_run in ["", "?dry-run"] {
            let request = Request::json(&format!("/input{dry_run}"), body.clone());
            let problem = says(client, &request, 400, "nothing of it is stored").await;
            assert_eq!(problem["offset"], before.len() + at, "{problem}");
        }
        let lines = [GOOD.as_bytes(), b"\n", element, b"\n", GOOD.as_bytes()].concat();
        let answer = client.answer(&Request::ndjson("/input", lines)).await;
        assert_eq!(
            (answer.status, &answer.document()["accepted"]),
            (207, &2.into())
        );
        in_lines += 2;
    }
    // What is JSON and does not fit is that element's fault alone.
    let unfit = [
        "7".to_owned(),
        r#"{"texto": "a", "país": "b", "país": "c"}"#.to_owned(),
        r#"{"texto": "\ud800", "país": "b"}"#.to_owned(),
        r#"{"texto": "a", "país": "b", "x": 1e999}"#.to_owned(),
        format!("{{\"x\": {deep}1{}}}", "]".repeat(200)),
        format!("{{\"x\": \"{large}\"}}"),
    ];
    for element in &unfit {
        let body = format!("[{GOOD}, {element}]");
        let answer = client.answer(&Request::json("/input", body)).await;
        assert_eq!(
            (answer.status, &answer.document()["accepted"]),
            (207, &1.into())
        );
    }
    let stored = pipeline.records("weather").await.len();
    assert_eq!(
        stored,
        in_lines + unfit.len(),
        "nothing of any array that is no JSON"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_not_utf_8_is_refused_by_name() {
    let pipeline = Pipeline::weather().into_kafka_only().start().await;
    let client = &mut pipeline.client();
    let utf16: Vec<u8> = GOOD.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let latin = b"{\"texto\": \"Llovizna en Logro\xf1o\", \"pais\": \"Espa\xf1a\"}";
    for (body, named) in [
        (format!("\u{feff}{GOOD}").into_bytes(), "byte-order mark"),
        (format!("\u{feff}[{GOOD}]").into_bytes(), "byte-order mark"),
        (utf16, "UTF-16"),
        (latin.to_vec(), "Latin-1"),
    ] {
        says(client, &Request::json("/input", body.clone()), 400, named).await;
        if named != "Latin-1" {
            let lines = [&body[..], b"\n", GOOD.as_bytes()].concat();
            says(client, &Request::ndjson("/input", lines), 400, named).await;
        }
    }
    client.answer(&good()).await.accepted(1);
    assert_eq!(pipeline.records("weather").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_means_nothing_is_no_fault() {
    let pipeline = Pipeline::weather().into_kafka_only().start().await;
    let client = &mut pipeline.client();
    for kind in [
        "application/json; charset=utf8",
        "application/json;charset=\"UTF-8\"",
        "Application/JSON ; Charset=latin1; x",
        "application/x-ndjson; charset=us-ascii",
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonl",
        "application/jsonlines",
        "Application/X-JSONLines; charset=utf-8",
    ] {
        let request = Request::post("/input", GOOD).header("content-type", kind);
        client.answer(&request).await.accepted(1);
    }
    for coding in ["", ",", "identity,", " , identity"] {
        let request = good().header("content-encoding", coding);
        client.answer(&request).await.accepted(1);
    }
    let packed = zstd::encode_all(GOOD.as_bytes(), 1).expect("a vector");
    let packed = Request::json("/input", packed).header("content-encoding", "zstd,");
    client
        .answer(&packed.header("content-encoding", ""))
        .await
        .accepted(1);
    let prefer = good().header("prefer", ",, return=representation,");
    let answer = client.answer(&prefer).await;
    assert!(answer.document()["records"].is_array(), "{answer:?}");
    // It says how the body is framed, which everybody on the way has to read alike.
    let chunks = format!("{:x}\r\n{GOOD}\r\n0\r\n\r\n", GOOD.len());
    let head = "POST /input HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked,\r\n\r\n";
    let answer = raw(pipeline.address(), format!("{head}{chunks}").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_plain_is_taken_by_a_stream_that_says_what_it_holds() {
    let toml = e2e::repository("aguacero.toml");
    for (held, body, events) in [
        ("json", format!("[{GOOD},{GOOD}]"), 2),
        ("ndjson", format!("{GOOD}\n{GOOD}\n{GOOD}"), 3),
    ] {
        let declared = format!("[streams.weather]\ntext_plain = \"{held}\"\n");
        let pipeline = Pipeline::builder(&toml.replace("[streams.weather]\n", &declared))
            .into_kafka_only()
            .start()
            .await;
        // As `navigator.sendBeacon` says it.
        let beacon =
            Request::post("/input", body).header("content-type", "text/plain;charset=UTF-8");
        pipeline.client().answer(&beacon).await.accepted(events);
    }
    let pipeline = Pipeline::weather().into_kafka_only().start().await;
    let beacon = Request::post("/input", GOOD).header("content-type", "text/plain");
    says(&mut pipeline.client(), &beacon, 415, "text/plain").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_packed_in_another_way_than_it_says_is_named() {
    let pipeline = Pipeline::weather().into_kafka_only().start().await;
    let client = &mut pipeline.client();
    let mut long = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
    long.window_log(27).expect("a window of 128 MiB");
    long.write_all(GOOD.as_bytes()).expect("a vector");
    let long = long.finish().expect("a vector");
    let mut raw = DeflateEncoder::new(Vec::new(), Compression::fast());
    raw.write_all(GOOD.as_bytes()).expect("a vector");
    let raw = raw.finish().expect("a vector");
    let zstd = zstd::encode_all(GOOD.as_bytes(), 1).expect("a vector");
    for (coding, body, named) in [
        ("gzip", GOOD.as_bytes(), "not packed at all"),
        ("gzip", &zstd, "zstd"),
        ("deflate", &zstd, "zstd"),
        ("deflate", &raw, "RFC 1951"),
        ("br", &zstd, "zstd"),
        ("br", &[0x11, 0x1e, 0, 0, 2, 10, 6, 3], "large window"),
        ("zstd", &long, "8 MiB"),
        ("zstd", b"BZh91AY&SY", "bzip2"),
        ("gzip", b"\x1f\x9d\x90{", "compress"),
        ("gzip", b"\x04\x22\x4d\x18\x64\x40", "LZ4"),
    ] {
        let request = Request::json("/input", body.to_vec()).header("content-encoding", coding);
        says(client, &request, 400, named).await;
    }
    let unknown = good().header("content-encoding", "compress");
    says(client, &unknown, 415, "compress").await;
    client.answer(&good()).await.accepted(1);
}

/// What is written of a body until it is answered, a piece each time.
async fn trickled(pipeline: &Pipeline, piece: &[u8], pause: Duration) -> String {
    let mut stream = TcpStream::connect(pipeline.address())
        .await
        .expect("a connection");
    let head = "POST /input HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\ncontent-length: 1000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("a header");
    let (mut answers, mut sender) = stream.split();
    let sending = async {
        while sender.write_all(piece).await.is_ok() {
            tokio::time::sleep(pause).await;
        }
        std::future::pending::<()>().await;
    };
    let mut answer = vec![0; 2048];
    let read = tokio::select! {
        read = answers.read(&mut answer) => read.expect("an answer"),
        () = sending => unreachable!("it ends with the answer"),
    };
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_comes_too_slowly_is_told_that_the_same_again_cannot_help() {
    let pipeline = Pipeline::weather()
        .into_kafka_only()
        .with("kafka.message_timeout_ms", 1000)
        .with("gateway.ack_timeout_ms", 2000)
        .with("gateway.request_timeout_ms", 3500)
        .with("gateway.body_timeout_ms", 1000)
        .start()
        .await;
    let steady = trickled(&pipeline, b"\n\n\n\n", Duration::from_millis(50)).await;
    assert!(steady.starts_with("HTTP/1.1 408 "), "{steady}");
    assert!(steady.contains("send smaller parts"), "{steady}");
    let silent = trickled(&pipeline, b"\n\n\n\n", Duration::from_secs(60)).await;
    assert!(silent.starts_with("HTTP/1.1 408 "), "{silent}");
    assert!(
        silent.contains("send it again") && !silent.contains("parts"),
        "{silent}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_a_trace_context_is_passed_on() {
    let pipeline = Pipeline::weather().into_kafka_only().start().await;
    let client = &mut pipeline.client();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (key, traceparents, tracestates) in [
        ("both", &[parent][..], &["congo=t61rcWkgMzE", "rojo=1,"][..]),
        ("no state", &[parent], &["a=b=c"]),
        ("no parent", &["00-0-0-01"], &["congo=1"]),
        ("two parents", &[parent, parent], &[]),
        ("state alone", &[], &["congo=1"]),
    ] {
        let mut request = Request::json("/input", tweet(1)).key(&key.replace(' ', "-"));
        for value in traceparents {
            request = request.header("traceparent", *value);
        }
        for value in tracestates {
            request = request.header("tracestate", *value);
        }
        client.answer(&request).await.accepted(1);
    }
    for record in pipeline.records("weather").await {
        let passed: Vec<_> = record.headers[1..]
            .iter()
            .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value).into_owned()))
            .collect();
        let expected = match record.header().client_key {
            b"both" => vec![
                ("traceparent", parent.to_owned()),
                ("tracestate", "congo=t61rcWkgMzE,rojo=1".to_owned()),
            ],
            b"no-state" => vec![("traceparent", parent.to_owned())],
            _ => vec![],
        };
        assert_eq!(passed, expected, "{:?}", record.header());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_with_a_fragment_is_refused() {
    let pipeline = Pipeline::weather().into_kafka_only().start().await;
    let post = |target: &str, more: &str| {
        format!(
            "POST {target} HTTP/1.1\r\nhost: x\r\nreferer: http://x/#top\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{more}\r\n{GOOD}",
            GOOD.len()
        )
    };
    for target in [
        "/input#top",
        "/input?a=1#",
        "http://x/input#/elsewhere",
        "/#input",
    ] {
        let answer = raw(pipeline.address(), post(target, "").as_bytes()).await;
        assert!(
            answer.starts_with("HTTP/1.1 400 ") && answer.contains('#'),
            "{target}: {answer}"
        );
    }
    let three = [
        post("/input", ""),
        post("/input", ""),
        post("/input", "connection: close\r\n"),
    ];
    let answers = raw(pipeline.address(), three.concat().as_bytes()).await;
    assert_eq!(
        answers.matches("HTTP/1.1 200 ").count(),
        3,
        "pipelined: {answers}"
    );
    assert_eq!(pipeline.records("weather").await.len(), 3);
}

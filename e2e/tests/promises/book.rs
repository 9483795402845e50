//! HTTP by the book, on raw sockets: what a proxy and the gateway could read in two ways.
//!
//! A row is a section of RFC 9112 (or of another one that it names), the bytes that are sent, and the statuses
//! that come back. A second POST is pipelined behind each, so one status says that the connection ended
//! with that answer, and two that it went on. Each POST has an event of its own, and Kafka holds those that were
//! answered 200 and no others: nothing behind a refusal was ever served as a request.

mod bodies;
mod frames;

use std::{collections::BTreeSet, net::SocketAddr};

use e2e::{DEADLINE, Pipeline, kafka::Record};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// The number of a row goes where the `@@@` is.
const EVENT: &str = r#"{"texto":"@@@ first","país":"Chile"}"#;
const SECOND: &str = r#"{"texto":"@@@ second","país":"Chile"}"#;

const LINE: &str = "POST /input HTTP/1.1";
const HOST: &str = "host: x\r\n";
const JSON: &str = "content-type: application/json\r\n";

/// Section, bytes, statuses.
type Row = (&'static str, Vec<u8>, &'static [u16]);

/// Served, and the connection goes on.
const SERVED: &[u16] = &[200, 200];
/// Served, and the connection ends.
const LAST: &[u16] = &[200];
/// Refused, and the connection ends.
const BAD: &[u16] = &[400];

/// A good event behind `head`, which says everything but its length.
fn sized(head: &[&[u8]]) -> Vec<u8> {
    let length = format!("content-length: {}\r\n\r\n{EVENT}", EVENT.len());
    [head.concat(), length.into_bytes()].concat()
}

/// A good request but for its first line.
fn line(line: impl AsRef<[u8]>) -> Vec<u8> {
    sized(&[line.as_ref(), b"\r\n", HOST.as_bytes(), JSON.as_bytes()])
}

/// A good request with more fields, each with its end of a line.
fn fields(fields: impl AsRef<[u8]>) -> Vec<u8> {
    let [line, host, json] = [LINE, HOST, JSON].map(str::as_bytes);
    sized(&[line, b"\r\n", host, fields.as_ref(), json])
}

/// A good request with these fields in the place of its Host.
fn host(fields: impl AsRef<[u8]>) -> Vec<u8> {
    sized(&[LINE.as_bytes(), b"\r\n", fields.as_ref(), JSON.as_bytes()])
}

/// The same request in HTTP/1.0.
fn old(mut request: Vec<u8>) -> Vec<u8> {
    request[LINE.len() - 1] = b'0';
    request
}

/// `bytes` with the row's number.
fn numbered(mut bytes: Vec<u8>, row: usize) -> Vec<u8> {
    let number = format!("{row:03}");
    for at in 0..bytes.len().saturating_sub(2) {
        if bytes[at..].starts_with(b"@@@") {
            bytes[at..at + 3].copy_from_slice(number.as_bytes());
        }
    }
    bytes
}

/// The last request of a connection.
fn second(row: usize) -> Vec<u8> {
    let length = SECOND.len();
    let request = format!(
        "{LINE}\r\n{HOST}{JSON}connection: close\r\ncontent-length: {length}\r\n\r\n{SECOND}"
    );
    numbered(request.into_bytes(), row)
}

/// The header of one of the gateway's answers.
struct Answer {
    status: u16,
    /// In lower case, with the first line.
    head: String,
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Writes `bytes` in pieces of so many, and reads until the gateway ends the connection.
async fn exchange_in_pieces(address: SocketAddr, bytes: &[u8], piece: usize) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream
        .set_nodelay(true)
        .expect("pieces as they are written");
    let (mut reader, mut writer) = stream.split();
    let write = async {
        for piece in bytes.chunks(piece) {
            if writer.write_all(piece).await.is_err() {
                break; // no more is taken
            }
            tokio::task::yield_now().await;
        }
    };
    let mut read = Vec::new();
    let both = async { tokio::join!(write, reader.read_to_end(&mut read)) };
    let ended = timeout(DEADLINE, both).await;
    assert!(ended.is_ok(), "the gateway ends the connection");
    String::from_utf8_lossy(&read).into_owned()
}

/// Writes `bytes` at once, and reads until the gateway ends the connection.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    exchange_in_pieces(address, bytes, usize::MAX).await
}

/// The answers in what was read, none of them to HEAD.
fn answers(mut read: &str) -> Vec<Answer> {
    let mut answers = Vec::new();
    while let Some((head, rest)) = read.split_once("\r\n\r\n") {
        let answer = Answer {
            status: head.get(9..12).and_then(|s| s.parse().ok()).unwrap_or(0),
            head: head.to_ascii_lowercase(),
        };
        let length = answer.field("content-length");
        let length = length.map_or(0, |length| length.parse().expect("a length"));
        read = &rest[length..];
        answers.push(answer);
    }
    assert_eq!(read, "", "nothing but answers");
    answers
}

/// What the events in Kafka are called.
fn stored(records: &[Record]) -> Vec<String> {
    let name = |value: &[u8]| {
        let document: serde_json::Value = serde_json::from_slice(value).expect("JSON");
        document["texto"].as_str().expect("a text").to_owned()
    };
    let mut names: Vec<_> = records.iter().map(|r| name(&r.value)).collect();
    names.sort();
    names
}

/// Sends each row over a connection of its own, whole and then in small pieces, and compares.
async fn by_the_book(pipeline: &Pipeline, rows: Vec<Row>) {
    let (mut due, mut faults) = (BTreeSet::new(), Vec::new());
    let twice = rows.iter().flat_map(|row| [(row, usize::MAX), (row, 7)]);
    for (row, ((rule, sent, statuses), piece)) in twice.enumerate() {
        let shown = String::from_utf8_lossy(&sent[..sent.len().min(300)]).into_owned();
        let sent = [numbered(sent.clone(), row), second(row)].concat();
        let piece = piece.max(sent.len() / 200);
        let read = exchange_in_pieces(pipeline.address(), &sent, piece).await;
        let answers = answers(&read);
        let got: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        let mut fault =
            |what: String| faults.push(format!("{rule} {what}: {shown:?} got {read:?}"));
        if got != *statuses {
            fault(format!("{got:?} instead of {statuses:?}"));
        }
        // 9.6: the last answer says so.
        if let Some(last) = answers.last()
            && last.field("connection") != Some("close")
            && !last.head.starts_with("http/1.0")
        {
            fault("no Connection: close".into());
        }
        // RFC 9110, 6.6.1: whoever has a clock says what it shows.
        let finals = answers.iter().filter(|answer| answer.status >= 200);
        if finals.clone().any(|answer| answer.field("date").is_none()) {
            fault("no Date".into());
        }
        let finals = statuses.iter().filter(|status| **status >= 200);
        for (status, name) in finals.zip(["first", "second"]) {
            if *status == 200 {
                due.insert(format!("{row:03} {name}"));
            }
        }
    }
    compare(pipeline, &due, faults).await;
}

/// Holds what Kafka has against what is `due`.
async fn compare(pipeline: &Pipeline, due: &BTreeSet<String>, mut faults: Vec<String>) {
    let stored = stored(&pipeline.records("weather").await);
    let missing = due.iter().filter(|name| !stored.contains(name));
    faults.extend(missing.map(|name| format!("{name} is not stored")));
    let surplus = stored.iter().filter(|name| !due.contains(*name));
    faults.extend(surplus.map(|name| format!("{name} is stored")));
    assert!(
        faults.is_empty() && stored.len() == due.len(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_line_is_read_in_one_way() {
    let pipeline = Pipeline::weather().into_kafka_only().start().await;
    let good = || line(LINE);
    let lf_only = || {
        let text = String::from_utf8(good()).expect("text");
        text.replace("\r\n", "\n").into_bytes()
    };
    let method = |bytes: usize| line(format!("{} /input HTTP/1.1", "X".repeat(bytes)));
    let path = |bytes: usize| line(format!("POST /{} HTTP/1.1", "x".repeat(bytes - 1)));
    #[rustfmt::skip] // a row is a line
    let rows = vec![
        ("3", good(), SERVED),
        // A lone LF may end a line, and hyper lets it; a proxy that does not must not hand it on (RFC 9110, 5.5).
        ("2.2", lf_only(), SERVED),
        ("2.2", [b"\r\n\r\n".to_vec(), good()].concat(), SERVED),
        ("2.2", [b"\n".to_vec(), good()].concat(), SERVED),
        ("2.2", [b"\r".to_vec(), good()].concat(), BAD),
        ("2.2", [b"\r\n".repeat(100_000), good()].concat(), &[431]),
        ("2.2", [b" ".to_vec(), good()].concat(), BAD),
        // Methods: 405 is theirs who know them, and says what there is.
        ("9110 9.1", line("post /input HTTP/1.1"), &[405, 200]),
        ("9110 9.1", line("BREW /input HTTP/1.1"), &[405, 200]),
        ("3.1", method(10_000), &[405, 200]),
        ("3.1", line("PO\u{1}ST /input HTTP/1.1"), BAD),
        ("3.1", line("PO\0ST /input HTTP/1.1"), BAD),
        ("3.1", line("PO(ST /input HTTP/1.1"), BAD),
        ("3.1", line("POSTé /input HTTP/1.1"), BAD),
        // Between the three there is one space, and nothing behind.
        ("3", line("POST  /input HTTP/1.1"), BAD),
        ("3", line("POST /input  HTTP/1.1"), BAD),
        ("3", line("POST\t/input HTTP/1.1"), BAD),
        ("3", line("POST /input\tHTTP/1.1"), BAD),
        ("3", line("POST /input\u{b}HTTP/1.1"), BAD),
        ("3", line("POST /input HTTP/1.1 "), BAD),
        ("3", line("POST /in put HTTP/1.1"), BAD),
        ("3", line("POST /input\rHTTP/1.1"), BAD),
        ("3", line("POST /input HTTP/1.1\r"), BAD),
        // Versions. 1.2 might be served as 1.1; hyper refuses what it does not know.
        ("2.3", line("POST /input"), BAD),
        ("2.3", line("POST /input "), BAD),
        ("2.3", line("POST /input HTTP/1.2"), BAD),
        ("2.3", line("POST /input HTTP/2.0"), BAD),
        ("2.3", line("POST /input HTTP/1.10"), BAD),
        ("2.3", line("POST /input HTTP/01.1"), BAD),
        ("2.3", line("POST /input http/1.1"), BAD),
        ("2.3", line("POST /input HTTP/1,1"), BAD),
        ("2.3", line("POST /input HTTPS/1.1"), BAD),
        // The target in origin-form.
        ("3.2.1", line("POST /input? HTTP/1.1"), SERVED),
        ("3.2.1", line("POST //input HTTP/1.1"), &[404, 200]),
        ("3.2.1", line("POST /input/ HTTP/1.1"), &[404, 200]),
        ("3.2.1", line("POST /INPUT HTTP/1.1"), &[404, 200]),
        ("3.2.1", line("POST /./input HTTP/1.1"), &[404, 200]),
        ("3.2.1", line("POST /x/../input HTTP/1.1"), &[404, 200]),
        ("3.2.1", line("POST /input;x HTTP/1.1"), &[404, 200]),
        ("3.2.1", line("POST /%69nput HTTP/1.1"), &[404, 200]),
        ("3.2.1", line("POST /input%00 HTTP/1.1"), &[404, 200]),
        ("3.2.1", line("POST /inp\u{fa}t HTTP/1.1"), &[404, 200]),
        ("3.2.1", line(b"POST /inp\xfat HTTP/1.1"), BAD),
        ("3.2.1", line("POST /input\0 HTTP/1.1"), BAD),
        ("3.2.1", line("POST /input\u{7f} HTTP/1.1"), BAD),
        ("3.2.1", line("POST \\input HTTP/1.1"), BAD),
        // Bounds; beyond 64 KiB it is hyper that answers.
        ("3", path(2_048), &[404, 200]),
        ("3", path(2_049), &[414]),
        ("3", path(70_000), &[414]),
        ("3", path(200_000), &[431]),
        ("3", method(200_000), &[431]),
        // A target has no fragment. One that is there is cut off before we see it: as harmless as a query.
        ("3.2", line("POST /input#x HTTP/1.1"), BAD),
        // In absolute-form, it counts, and not the Host.
        ("3.2.2", line("POST http://elsewhere/input HTTP/1.1"), SERVED),
        ("3.2.2", line("POST HTTP://elsewhere:81/input HTTP/1.1"), SERVED),
        ("3.2.2", line("POST http://elsewhere/x HTTP/1.1"), &[404, 200]),
        ("3.2.2", line("POST http:///input HTTP/1.1"), BAD),
        ("3.2.2", line("POST http:/input HTTP/1.1"), BAD),
        ("3.2.2", line("POST http://u@elsewhere/input HTTP/1.1"), BAD),
        // In authority-form, only for CONNECT; that is for proxies, and has no body (RFC 9110, 9.3.6).
        ("3.2.3", line("POST x:80 HTTP/1.1"), BAD),
        ("3.2.3", line("POST input HTTP/1.1"), BAD),
        ("3.2.3", line("CONNECT x:80 HTTP/1.1"), BAD),
        ("3.2.3", line("CONNECT /input HTTP/1.1"), BAD),
        ("3.2.3", line("CONNECT /elsewhere HTTP/1.1"), BAD),
        // In asterisk-form, only for OPTIONS.
        ("3.2.4", line("OPTIONS * HTTP/1.1"), &[204, 200]),
        ("3.2.4", line("POST * HTTP/1.1"), BAD),
        ("3.2.4", line("OPTIONS ** HTTP/1.1"), BAD),
        ("3.2.4", line("OPTIONS http://x HTTP/1.1"), &[404, 200]),
    ];
    by_the_book(&pipeline, rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_is_read_in_one_way() {
    let pipeline = Pipeline::weather().into_kafka_only().start().await;
    // With the four that a request has anyway: as many as there may be, and one more.
    let many = |n: usize| -> String { (3..n).map(|i| format!("x-{i}: y\r\n")).collect() };
    #[rustfmt::skip] // a row is a line
    let rows = vec![
        ("5.1", fields("x:y\r\n"), SERVED),
        ("5.1", fields("x: \t y \t \r\n"), SERVED),
        ("5.1", fields("x:\r\n"), SERVED),
        ("5.1", fields("!#$%&'*+-.^_`|~: y\r\n"), SERVED),
        ("5.1", fields("x : y\r\n"), BAD),
        ("5.1", fields("x\t: y\r\n"), BAD),
        ("5.1", fields(": y\r\n"), BAD),
        ("5.1", fields("x\r\n"), BAD),
        ("5.1", fields("x y: z\r\n"), BAD),
        ("5.1", fields("x(y): z\r\n"), BAD),
        ("5.1", fields("ñ: y\r\n"), BAD),
        ("5.1", fields("x\0: y\r\n"), BAD),
        // Lines that are folded, and what looks like it.
        ("5.2", fields("x: y\r\n z\r\n"), BAD),
        ("5.2", fields("x: y\r\n\tz\r\n"), BAD),
        ("5.2", fields("x: y\r\n \r\n"), BAD),
        ("2.2", host(" host: x\r\n"), BAD),
        // In a value.
        ("9110 5.5", fields("x: y\rz\r\n"), BAD),
        ("9110 5.5", fields("x: y\r\r\n"), BAD),
        ("9110 5.5", fields("x: y\0z\r\n"), BAD),
        ("9110 5.5", fields("x: y\u{8}z\r\n"), BAD),
        ("9110 5.5", fields("x: y\u{7f}z\r\n"), BAD),
        ("9110 5.5", fields(b"x: \x80\xff\r\n"), SERVED),
        // A lone LF ends a line (2.2), so what is behind it is a field: here one that may not be there twice.
        ("2.2", fields("x: y\nz: y\r\n"), SERVED),
        ("2.2", fields("x: y\nhost: z\r\n"), BAD),
        ("2.2", fields("x: y\ntransfer-encoding: x\r\n"), BAD),
        // Fields of which there is one only, if they are there twice.
        ("9110 8.3", fields(JSON), &[415, 200]),
        ("9110 8.3", fields("content-type: application/x-ndjson\r\n"), &[415, 200]),
        ("9110 11.6.2", fields("authorization: x\r\nauthorization: y\r\n"), SERVED), // where no key is asked for
        ("9110 5.3", fields("idempotency-key: x\r\nidempotency-key: y\r\n"), &[400, 200]),
        ("9110 5.3", fields("content-encoding: identity\r\ncontent-encoding: gzip\r\n"), &[415, 200]),
        // Bounds.
        ("9110 5.4", fields(many(99)), SERVED),
        ("9110 5.4", fields(many(100)), SERVED),
        ("9110 5.4", fields(many(101)), &[431]),
        ("9110 5.4", fields(format!("x: {}\r\n", "y".repeat(16_000))), SERVED),
        ("9110 5.4", fields(format!("x: {}\r\n", "y".repeat(17_000))), &[431]),
        ("9110 5.4", fields(format!("x: {}\r\n", "y".repeat(100_000))), &[431]),
        ("9110 5.4", fields(format!("{}: y\r\n", "x".repeat(17_000))), &[431]),
    ];
    by_the_book(&pipeline, rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_is_given_once() {
    let pipeline = Pipeline::weather().into_kafka_only().start().await;
    let old = |fields: &str| old(host(fields));
    #[rustfmt::skip] // a row is a line
    let rows = vec![
        ("3.2", host("Host: a.example:8080\r\n"), SERVED),
        ("3.2", host("hOST:[::1]:80\r\n"), SERVED),
        ("3.2", host(""), BAD),
        ("3.2", host("host: x\r\nhost: y\r\n"), BAD),
        ("3.2", host("host: x\r\nhost: x\r\n"), BAD),
        ("3.2", host("host: x\r\nHost:\r\n"), BAD),
        // Empty where the target has no authority, which ours may lack.
        ("3.2", host("host:\r\n"), SERVED),
        ("3.2", host("host: u@x\r\n"), BAD),
        ("3.2", host("host: u:p@x\r\n"), BAD),
        ("3.2", host("host: x/input\r\n"), BAD),
        ("3.2", host("host: x?y\r\n"), BAD),
        ("3.2", host("host: x#y\r\n"), BAD),
        ("3.2", host("host: http://x\r\n"), BAD),
        ("3.2", host("host: x, y\r\n"), BAD),
        ("3.2", host("host: x y\r\n"), BAD),
        ("3.2", host("host: x:y\r\n"), BAD),
        ("3.2", host("host: x:80:80\r\n"), BAD),
        ("3.2", host("host: [::1\r\n"), BAD),
        ("3.2", host("host: \"x\"\r\n"), BAD),
        ("3.2", host("host: ñ\r\n"), BAD),
        ("3.2", host("host : x\r\n"), BAD),
        // HTTP/1.0 does not need one, and ends the connection unless it is asked not to.
        ("3.2", old(""), LAST),
        ("3.2", old(HOST), LAST),
        ("3.2", old("host: x\r\nhost: y\r\n"), BAD),
        ("3.2", old("host: x y\r\n"), BAD),
        ("9.3", old("connection: keep-alive\r\n"), SERVED),
        ("9.3", old("connection: keep-alive, close\r\n"), LAST),
    ];
    by_the_book(&pipeline, rows).await;
}

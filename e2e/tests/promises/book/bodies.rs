//! Where a body ends, and what that means for the connection.

use e2e::{Pipeline, frames::PREFACE, once};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    BAD, EVENT, HOST, JSON, LAST, LINE, SERVED, answers, by_the_book, exchange, fields, line,
    numbered, old, second, stored,
};

fn statuses(read: &str) -> Vec<u16> {
    answers(read).iter().map(|answer| answer.status).collect()
}

/// A good header but for its first line and the fields that say where the body ends.
fn of(line: &str, framing: &str, body: &str) -> Vec<u8> {
    format!("{line}\r\n{HOST}{JSON}{framing}\r\n{body}").into_bytes()
}

/// The same of a good POST.
fn framed(framing: &str, body: &str) -> Vec<u8> {
    of(LINE, framing, body)
}

fn length(value: &str) -> Vec<u8> {
    framed(&format!("content-length:{value}\r\n"), EVENT)
}

fn coding(lines: &str) -> Vec<u8> {
    framed(lines, &good_chunks(""))
}

/// The event in chunks, with these trailers.
fn good_chunks(trailers: &str) -> String {
    format!("{:x}\r\n{EVENT}\r\n0\r\n{trailers}\r\n", EVENT.len())
}

fn chunks(body: &str) -> Vec<u8> {
    framed("transfer-encoding: chunked\r\n", body)
}

/// Chunks whose first size is written so.
fn size(written: &str) -> Vec<u8> {
    chunks(&format!("{written}{EVENT}\r\n0\r\n\r\n"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_ends_where_everybody_says_it_does() {
    let pipeline = Pipeline::weather()
        .into_kafka_only()
        .with("gateway.body_timeout_ms", 3_000) // so long it listens to what it has refused as too large
        .start()
        .await;
    let n = EVENT.len();
    let hex = format!("{n:x}");
    let both = [
        format!("transfer-encoding: chunked\r\ncontent-length: {n}\r\n"),
        format!("content-length: {n}\r\ntransfer-encoding: chunked\r\n"),
    ];
    let smuggled = format!("{LINE}\r\n{HOST}{JSON}content-length: {n}\r\n");
    #[rustfmt::skip] // a row is a line
    let rows = vec![
        ("6.2", length(&format!(" {n}")), SERVED),
        ("6.2", length(&format!("{n}")), SERVED),
        ("6.2", length(&format!("\t {n} ")), SERVED),
        ("6.2", length(&format!("000{n}")), SERVED),
        ("6.2", length(&format!("+{n}")), BAD),
        ("6.2", length("-1"), BAD),
        ("6.2", length("-0"), BAD),
        ("6.2", length(&format!("0x{hex}")), BAD),
        ("6.2", length(&format!("{n}.0")), BAD),
        ("6.2", length(&format!("{n} {n}")), BAD),
        ("6.2", length(&format!("{n}e0")), BAD),
        ("6.2", length(&format!("\"{n}\"")), BAD),
        ("6.2", length(&format!("{n}\u{0}")), BAD),
        ("6.2", length(&format!("{n}\u{a0}")), BAD),
        ("6.2", length(""), BAD),
        ("6.2", length(" "), BAD),
        ("6.2", length("99999999999999999999"), BAD),
        ("6.2", length(&format!("{}{n:020}", "0".repeat(40))), SERVED),
        ("6.2", length("18446744073709551615"), &[431]), // hyper's, for a length that it cannot count
        ("6.2", length("18446744073709551000"), &[413]),
        ("6.3", framed("", EVENT), &[411]),
        // Equal ones may be taken for one (RFC 9110, 8.6); in a list we do not.
        ("6.3", framed(&format!("content-length: {n}\r\ncontent-length: {n}\r\n"), EVENT), SERVED),
        ("6.3", framed(&format!("content-length: {n}\r\ncontent-length: 5\r\n"), EVENT), BAD),
        ("6.3", framed(&format!("content-length: {n}\r\ncontent-length: 0{n}\r\n"), EVENT), SERVED),
        ("6.3", framed(&format!("content-length: {n}\r\ncontent-length:\r\n"), EVENT), BAD),
        ("6.3", length(&format!("{n}, {n}")), BAD),
        ("6.3", length(&format!("{n},")), BAD),
        // A coding: `chunked`, once, in HTTP/1.1, and nothing beside it.
        ("6.1", coding("transfer-encoding: chunked\r\n"), SERVED),
        ("7", coding("Transfer-Encoding: Chunked \r\n"), SERVED),
        ("6.1", coding("transfer-encoding: gzip\r\n"), BAD),
        ("6.1", coding("transfer-encoding: identity\r\n"), BAD),
        ("6.1", coding("transfer-encoding:\r\n"), BAD),
        ("6.1", coding("transfer-encoding: gzip, chunked\r\n"), BAD),
        ("6.1", coding("transfer-encoding: chunked, gzip\r\n"), BAD),
        ("6.1", coding("transfer-encoding: chunked, chunked\r\n"), BAD),
        ("6.1", coding("transfer-encoding: chunked, identity\r\n"), BAD),
        ("6.1", coding("transfer-encoding: identity, chunked\r\n"), BAD),
        ("6.1", coding("transfer-encoding: , chunked\r\n"), BAD),
        ("6.1", coding("transfer-encoding: chunked,\r\n"), BAD),
        ("6.1", coding("transfer-encoding: chunked;q=1\r\n"), BAD),
        ("6.1", coding("transfer-encoding: \"chunked\"\r\n"), BAD),
        ("6.1", coding("transfer-encoding: xchunked\r\n"), BAD),
        ("6.1", coding("transfer-encoding: x chunked\r\n"), BAD),
        ("6.1", coding("transfer-encoding:\u{b}chunked\r\n"), BAD),
        ("6.1", coding("transfer-encoding: chunked\u{a0}\r\n"), BAD),
        ("6.1", coding("transfer-encoding : chunked\r\n"), BAD),
        ("6.1", coding("transfer-encoding:\r\n chunked\r\n"), BAD),
        ("6.1", coding("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"), BAD),
        ("6.1", coding("transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n"), BAD),
        ("6.1", coding("transfer-encoding: chunked\r\ntransfer-encoding: x\r\n"), BAD),
        ("6.1", coding("transfer-encoding: chunked\r\ntransfer-encoding:\r\n"), BAD),
        ("6.1", old(coding("transfer-encoding: chunked\r\n")), BAD),
        ("6.1", old(coding("connection: keep-alive\r\ntransfer-encoding: chunked\r\n")), BAD),
        // Beside a length it overrides that, and the connection ends.
        ("6.3", coding(&both[0]), LAST),
        ("6.3", coding(&both[1]), LAST),
        ("6.3", coding("transfer-encoding: chunked\r\ncontent-length: 5\r\n"), LAST),
        ("6.3", coding("content-length: x\r\ntransfer-encoding: chunked\r\n"), BAD),
        ("6.3", coding("transfer-encoding: x\r\ncontent-length: 5\r\n"), BAD),
        // Sizes of chunks.
        ("7.1", size(&format!("{}\r\n", hex.to_uppercase())), SERVED),
        ("7.1", size(&format!("{}{hex}\r\n", "0".repeat(100))), SERVED),
        ("7.1", size(&format!("{hex} \t\r\n")), SERVED),
        ("7.1", size(&format!(" {hex}\r\n")), BAD),
        ("7.1", size(&format!("-{hex}\r\n")), BAD),
        ("7.1", size(&format!("+{hex}\r\n")), BAD),
        ("7.1", size(&format!("0x{hex}\r\n")), BAD),
        ("7.1", size(&format!("{hex}h\r\n")), BAD),
        ("7.1", size(&format!("{hex}_0\r\n")), BAD),
        ("7.1", size(&format!("{hex} {hex}\r\n")), BAD),
        ("7.1", size(&format!("{hex}\0\r\n")), BAD),
        ("7.1", size(&format!("1{hex:0>16}\r\n")), BAD), // 2^64 and as many as there are
        ("7.1", size("ffffffffffffffffff\r\n"), BAD),
        ("7.1", size("\r\n"), BAD),
        ("7.1", size(";x\r\n"), BAD),
        ("7.1", size(&format!("{hex}\n")), BAD),
        ("7.1", size(&format!("{hex}\r")), BAD),
        ("7.1", size(&format!("{hex}\r\r\n")), BAD),
        ("7.1", size(&format!("{hex}\r\n\r\n")), BAD),
        // Ends of chunks.
        ("7.1", chunks(&format!("{hex}\r\n{EVENT}0\r\n\r\n")), BAD),
        ("7.1", chunks(&format!("{hex}\r\n{EVENT}\n0\r\n\r\n")), BAD),
        ("7.1", chunks(&format!("{hex}\r\n{EVENT}\r0\r\n\r\n")), BAD),
        ("7.1", chunks(&format!("{hex}\r\n{EVENT}x\r\n0\r\n\r\n")), BAD),
        ("7.1", chunks(&format!("{hex}\r\n{EVENT}\r\n\r\n0\r\n\r\n")), BAD),
        ("7.1", chunks(&format!("{hex}\r\n{EVENT}\r\n0\n\r\n")), BAD),
        ("7.1", chunks(&format!("{hex}\r\n{EVENT}\r\n0\r\n\rx")), BAD),
        // Extensions: ignored, in bounds, and without a lone LF or CR.
        ("7.1.1", size(&format!("{hex};a=b;c=\"d;e\"\r\n")), SERVED),
        ("7.1.1", size(&format!("{hex} ; a = b\r\n")), SERVED),
        ("7.1.1", size(&format!("{hex};\n{hex}\r\n")), BAD),
        ("7.1.1", size(&format!("{hex};\"\r\"\r\n")), BAD),
        ("7.1.1", size(&format!("{hex};{}\r\n", "x".repeat(64 << 10))), BAD),
        ("7.1.1", size(&format!("{hex};{}", "x".repeat(1 << 20))), BAD),
        // Trailers are thrown away. hyper looks for the CRLF alone at which they end, others may stop at a lone
        // LF before: so the connection ends with them.
        ("7.1.2", chunks(&good_chunks("x: y\r\n")), LAST),
        ("7.1.2", chunks(&good_chunks("content-length: 5\r\n")), LAST),
        ("7.1.2", chunks(&good_chunks("transfer-encoding: x\r\nhost: y\r\n")), LAST),
        ("7.1.2", chunks(&good_chunks(&format!("x: y\n\n{smuggled}"))), LAST),
        ("7.1.2", chunks(&good_chunks("x y\r\n")), BAD),
        ("7.1.2", chunks(&good_chunks("x: y\r\n z\r\n")), BAD),
        ("7.1.2", chunks(&good_chunks("x: y\0\r\n")), BAD),
        ("7.1.2", chunks(&good_chunks(&"x: y\r\n".repeat(101))), BAD),
        ("7.1.2", chunks(&good_chunks(&format!("x: {}\r\n", "y".repeat(64 << 10)))), BAD),
        ("7.1.2", chunks(&good_chunks(&"x: y\r\n".repeat(100_000))), BAD),
    ];
    by_the_book(&pipeline, rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_goes_on_only_where_both_know_where_the_next_request_begins() {
    let pipeline = Pipeline::weather().into_kafka_only().start().await;
    let n = EVENT.len();
    let sized = format!("content-length: {n}\r\n");
    let chunked = "transfer-encoding: chunked\r\n";
    let large = 100 << 10;
    #[rustfmt::skip] // a row is a line
    let rows = vec![
        // A body is read to its end, whatever the method and the answer.
        ("6", of("GET /input HTTP/1.1", &sized, EVENT), &[405, 200][..]),
        ("6", of("DELETE /input HTTP/1.1", &sized, EVENT), &[405, 200]),
        ("6", of("OPTIONS /input HTTP/1.1", &sized, EVENT), &[204, 200]),
        ("6", of("POST /elsewhere HTTP/1.1", &sized, EVENT), &[404, 200]),
        ("6", of("GET /input HTTP/1.1", "", ""), &[405, 200]),
        ("6", of("OPTIONS /input HTTP/1.1", "", ""), &[204, 200]),
        // … or the connection ends: where its length is not known, or too large for a body that nobody wants.
        ("9.3", of("GET /input HTTP/1.1", chunked, &good_chunks("")), &[405]),
        ("9.3", of("POST /elsewhere HTTP/1.1", chunked, &good_chunks("")), &[404]),
        ("9.3", of("POST /elsewhere HTTP/1.1", "transfer-encoding: x, chunked\r\n", &good_chunks("")), &[404]),
        ("9.3", of("GET /input HTTP/1.1", chunked, "x"), &[405]),
        ("9.3", of("GET /input HTTP/1.1", &format!("content-length: {large}\r\n"), &" ".repeat(large)), &[405]),
        // A length that is too short: what is left is no request. One that is 0 is no event.
        ("6.2", length(&format!(" {}", n - 1)), &[400, 400]),
        ("6.2", length(" 0"), &[422, 400]),
        ("6.2", framed("content-length: 0\r\n", ""), &[422, 200]),
        ("7.1", chunks("0\r\n\r\n"), &[422, 200]),
        // Connection.
        ("9.6", fields("connection: close\r\n"), LAST),
        ("9.6", fields("Connection: x, CLOSE\r\n"), LAST),
        ("9.6", fields("connection: close\r\nconnection: keep-alive\r\n"), LAST),
        ("9.6", fields("connection: keep-alive, host, content-length\r\n"), SERVED),
        // An upgrade is not followed: to HTTP/2 there is none any more (RFC 9113, 3.1).
        ("9110 7.8", fields("connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"), SERVED),
        ("9110 7.8", fields("connection: upgrade\r\nupgrade: websocket\r\n"), SERVED),
        ("9113 3.4", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r".to_vec(), BAD),
        // 100 only to who waits for it, and only if the body is wanted (RFC 9110, 10.1.1).
        ("9110 10.1.1", fields("expect: 100-continue\r\n"), &[100, 200, 200]),
        ("9110 10.1.1", fields("expect: 100-Continue\r\n"), &[100, 200, 200]),
        ("9110 10.1.1", fields("expect: something-else\r\n"), SERVED),
        ("9110 10.1.1", of("GET /input HTTP/1.1", &format!("expect: 100-continue\r\n{sized}"), EVENT), &[405]),
        ("9110 10.1.1", of("POST /input HTTP/1.0", &format!("expect: 100-continue\r\n{sized}"), EVENT), LAST),
        ("9110 10.1.1", of("GET /input HTTP/1.1", "expect: 100-continue\r\n", ""), &[405]),
    ];
    by_the_book(&pipeline, rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_answered_in_their_order() {
    let pipeline = Pipeline::weather().into_kafka_only().start().await;
    let kinds = [
        (line(LINE), 200),
        (line("POST /elsewhere HTTP/1.1"), 404),
        (framed("content-length: 2\r\n", "{}"), 422),
        (line("OPTIONS /input HTTP/1.1"), 204),
        (coding("transfer-encoding: chunked\r\n"), 200),
    ];
    let (mut sent, mut due) = (Vec::new(), Vec::new());
    for row in 0..50 {
        let (request, status) = &kinds[row * 7 % 5];
        sent.extend(numbered(request.clone(), row));
        due.push(*status);
    }
    sent.extend(second(50));
    due.push(200);
    let read = exchange(pipeline.address(), &sent).await;
    assert_eq!(statuses(&read), due);
    let stored = stored(&pipeline.records("weather").await);
    assert_eq!(stored.len(), due.iter().filter(|s| **s == 200).count());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_belongs_to_an_answer_is_there_and_nothing_else() {
    let pipeline = Pipeline::weather().into_kafka_only().start().await;
    let address = pipeline.address();
    let of = |line: &str, fields: &str| {
        format!("{line}\r\n{HOST}connection: close\r\n{fields}\r\n").into_bytes()
    };
    // RFC 9110, 9.3.2: HEAD is GET without the body, and with its length.
    let get = exchange(address, &of("GET /input HTTP/1.1", "")).await;
    let head = exchange(address, &of("HEAD /input HTTP/1.1", "")).await;
    let (get, body) = get.split_once("\r\n\r\n").expect("a header");
    let (head, nothing) = head.split_once("\r\n\r\n").expect("a header");
    assert!(!body.is_empty() && nothing.is_empty(), "{nothing}");
    let names = |head: &str| -> Vec<String> {
        let names = head
            .lines()
            .filter_map(|l| Some(l.split_once(": ")?.0.to_owned()));
        names.collect()
    };
    assert_eq!(names(get), names(head));
    // … and with what comes behind it.
    let both = [line("HEAD /input HTTP/1.1"), second(0)].concat();
    let read = exchange(address, &both).await;
    let behind = read.split_once("\r\n\r\n").map(|(_, behind)| behind);
    assert!(
        behind.is_some_and(|b| b.starts_with("HTTP/1.1 200 ")),
        "{read}"
    );
    // RFC 9112, 9.3: HTTP/1.0 is told that a connection goes on.
    let old = "GET /input HTTP/1.0\r\nconnection: keep-alive\r\n\r\n";
    let both = [old.as_bytes(), &second(1)].concat();
    let read = exchange(address, &both).await;
    let first = &answers(&read)[0];
    assert_eq!(first.field("connection"), Some("keep-alive"), "{read}");
    // RFC 9110, 15.5.6 and 9.3.7: 405 and the answer to OPTIONS say what there is.
    for line in [
        "GET /input HTTP/1.1",
        "OPTIONS /input HTTP/1.1",
        "OPTIONS * HTTP/1.1",
    ] {
        let read = exchange(address, &of(line, "")).await;
        let [answer] = &answers(&read)[..] else {
            panic!("{line}: {read}")
        };
        assert_eq!(
            answer.field("allow"),
            Some("post, options"),
            "{line}: {read}"
        );
        // 9110, 8.6: no length of what cannot be there.
        assert_eq!(
            answer.status == 204,
            answer.field("content-length").is_none()
        );
    }
    // A method is told shortened.
    let long = format!("{} /input HTTP/1.1", "X".repeat(10_000));
    let read = exchange(address, &of(&long, "")).await;
    assert!(
        read.starts_with("HTTP/1.1 405 ") && read.len() < 500,
        "{} bytes",
        read.len()
    );
    // 100 is for who waits, and is not said where the body is not wanted (RFC 9110, 10.1.1).
    for (line, fields, status) in [
        ("POST /elsewhere HTTP/1.1", "content-length: 5\r\n", 404),
        ("POST /input HTTP/1.1", "content-length: 5\r\n", 415),
        ("POST /input HTTP/1.1", "content-length: 99999999\r\n", 413),
        (
            "POST /input HTTP/1.1",
            "transfer-encoding: gzip, chunked\r\n",
            400,
        ),
        ("POST /input HTTP/1.1", "", 411),
    ] {
        let expecting = of(line, &format!("expect: 100-continue\r\n{fields}"));
        let read = exchange(address, &expecting).await;
        assert_eq!(statuses(&read), [status], "{line} {fields}: {read}");
    }
    // 8: a body that ends before its length is none.
    for framing in ["content-length: 9999\r\n", "transfer-encoding: chunked\r\n"] {
        let body = format!("{:x}\r\n{EVENT}\r\n", EVENT.len());
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let cut_off = framed(framing, &body);
        stream.write_all(&cut_off).await.expect("half a request");
        stream.shutdown().await.expect("its end");
        let mut read = String::new();
        stream.read_to_string(&mut read).await.expect("an answer");
        assert_eq!(statuses(&read), [400], "{framing}: {read}");
    }
    // RFC 9113, 3.4: in the middle of a connection the preface of HTTP/2 is no request, nor after a silence.
    let sent = [line(LINE), PREFACE.to_vec(), second(1)].concat();
    let read = exchange(address, &sent).await;
    assert_eq!(statuses(&read), [200]);
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(&line(LINE)).await.expect("a request");
    once("it sleeps", async || {
        let asleep = "aguacero_gateway_connections_asleep";
        pipeline.gateway.metric(asleep).await == 1.0
    })
    .await;
    let sent = [PREFACE.to_vec(), second(1)].concat();
    stream.write_all(&sent).await.expect("a preface");
    let mut read = String::new();
    stream.read_to_string(&mut read).await.expect("the end");
    assert_eq!(answers(&read).len(), 1, "{read}");
    assert_eq!(pipeline.records("weather").await.len(), 4);
}

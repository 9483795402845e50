//! TLS on the public address.

use std::{fs, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use e2e::{Pipeline, Request, load::tweet, once, raw};
use futures_util::future::join_all;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, ServerName},
    version::{TLS12, TLS13},
};
use socket2::SockRef;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

const EXPIRES: &str = "aguacero_gateway_certificate_expires_seconds";
const REFUSED: &str = "aguacero_gateway_certificate_refused";

/// A certificate that signs itself, for `localhost`.
struct Certificate {
    der: CertificateDer<'static>,
    pem: String,
    key: String,
}

impl Certificate {
    fn new() -> Self {
        Self::until(4096)
    }

    /// One that expires when the year begins.
    fn until(year: i32) -> Self {
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        let made = params.self_signed(&key).expect("one");
        Self {
            der: made.der().clone(),
            pem: made.pem(),
            key: key.serialize_pem(),
        }
    }

    fn write_to(&self, folder: &Path) {
        fs::write(folder.join("certificate.pem"), &self.pem).expect("our own folder");
        fs::write(folder.join("key.pem"), &self.key).expect("our own folder");
    }
}

/// A gateway that proves itself with the files in the folder.
async fn start(certificate: &Certificate) -> (Pipeline, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    certificate.write_to(folder.path());
    let pipeline = Pipeline::weather()
        .into_kafka_only()
        .with("gateway.header_timeout_ms", 1_000)
        .with(
            "gateway.tls_certificate",
            folder.path().join("certificate.pem").display(),
        )
        .with("gateway.tls_key", folder.path().join("key.pem").display())
        .start()
        .await;
    (pipeline, folder)
}

async fn connect(
    pipeline: &Pipeline,
    trusted: &Certificate,
    version: &'static SupportedProtocolVersion,
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(pipeline.address()).await?;
    secure(stream, trusted, version, protocols).await
}

async fn secure(
    stream: TcpStream,
    trusted: &Certificate,
    version: &'static SupportedProtocolVersion,
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der.clone()).expect("a root");
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

fn request(uri: &str, n: usize) -> hyper::Request<Full<Bytes>> {
    hyper::Request::post(uri)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::new(tweet(n).into()))
        .expect("a request")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_taken_under_tls_by_either_version_of_both_protocols() {
    let certificate = Certificate::new();
    let (pipeline, _folder) = start(&certificate).await;
    for version in [&TLS12, &TLS13] {
        let stream = connect(&pipeline, &certificate, version, &["http/1.1"])
            .await
            .expect("one");
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("one");
        tokio::spawn(connection);
        for n in 0..3 {
            let answer = sender
                .send_request(request("/input", n))
                .await
                .expect("an answer");
            assert_eq!(answer.status(), 200);
            answer.into_body().collect().await.expect("its body");
            // It sleeps between two requests, and goes on.
            once("it is asleep", async || {
                pipeline
                    .gateway
                    .metric("aguacero_gateway_connections_asleep")
                    .await
                    == 1.0
            })
            .await;
        }
        drop(sender);

        let stream = connect(&pipeline, &certificate, version, &["h2", "http/1.1"])
            .await
            .expect("one");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.expect("HTTP/2");
        tokio::spawn(connection);
        for n in 3..6 {
            let request = request("https://localhost/input", n);
            assert_eq!(
                sender
                    .send_request(request)
                    .await
                    .expect("an answer")
                    .status(),
                200
            );
        }
        drop(sender);
        pipeline.nobody_connected().await;
    }
    assert_eq!(pipeline.records("weather").await.len(), 12);
}

/// What rustls has taken and the socket has not is part of an answer, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_comes_whole_however_slowly_it_is_read() {
    let certificate = Certificate::new();
    let (pipeline, _folder) = start(&certificate).await;
    let read = async |records: usize| {
        let stream = narrow(&pipeline).await;
        let mut stream = secure(stream, &certificate, &TLS13, &[])
            .await
            .expect("TLS");
        let body = "0\n".repeat(records);
        let request = format!(
            "POST /input HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream
            .write_all(request.as_bytes())
            .await
            .expect("a request");
        // As long as a client that has nothing to say may be silent before its connection is put to sleep, and longer.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer).await;
        (records, answer.ends_with(b"}"), end.is_ok())
    };
    // Of 20 KB more each: some are as long as what the sockets take, and up to 64 KiB more.
    let lengths = (1..=20).map(|n| n * 200);
    for (records, is_whole, is_ended) in join_all(lengths.map(read)).await {
        assert!(
            is_whole && is_ended,
            "{records} records: {is_whole}, {is_ended}"
        );
    }
}

/// A connection with room for little of an answer.
async fn narrow(pipeline: &Pipeline) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4 << 10).expect("a small one");
    // The gateway's system takes so many segments ahead, of 64 KiB over loopback.
    let small = SockRef::from(&socket).set_tcp_mss(536);
    small.expect("small segments");
    socket.connect(pipeline.address()).await.expect("one")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_http_is_told_to_speak_tls_and_half_a_handshake_is_not_waited_for() {
    let certificate = Certificate::new();
    let (pipeline, _folder) = start(&certificate).await;
    let plain = "POST /input HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(100_000));
    for request in [plain, &long, "P"] {
        let mut client = pipeline.client();
        let told = raw(pipeline.address(), request.as_bytes()).await;
        assert!(told.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{told}");
        assert!(told.contains("https://"), "{told}");
        let answer = client.answer(&Request::get("/")).await;
        answer.problem(400);
    }
    for part in [&b""[..], b"\x16\x03\x01\x02\x00\x01", b"\0"] {
        assert!(!raw(pipeline.address(), part).await.contains("HTTP"));
    }
    let answers = "aguacero_gateway_answers_total";
    assert_eq!(pipeline.gateway.metric(answers).await, 6.0);
    assert_eq!(pipeline.records("weather").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_tells_clients_under_tls_by_an_answer_or_goaway() {
    let certificate = Certificate::new();
    let (mut pipeline, _folder) = start(&certificate).await;
    let stream = connect(&pipeline, &certificate, &TLS13, &["h2"])
        .await
        .expect("one");
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut http2, second) = handshake.await.expect("HTTP/2");
    let second = tokio::spawn(second);
    let stream = connect(&pipeline, &certificate, &TLS13, &["http/1.1"])
        .await
        .expect("one");
    let (mut http1, first) = http1::handshake(TokioIo::new(stream)).await.expect("one");
    let first = tokio::spawn(first);
    let sent = http2.send_request(request("https://localhost/input", 1));
    assert_eq!(sent.await.expect("an answer").status(), 200);
    pipeline.gateway.terminate();
    loop {
        let answer = http1.send_request(request("/input", 2)).await;
        let answer = answer.expect("every request is answered");
        assert_eq!(answer.status(), 200);
        let is_last = answer.headers().contains_key("connection");
        answer.into_body().collect().await.expect("its body");
        if is_last {
            break;
        }
    }
    for ended in [first.await, second.await] {
        ended.expect("no panic").expect("the end, and no error");
    }
    assert!(pipeline.gateway.ended().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_replaced_without_a_restart_and_a_broken_one_is_not_taken() {
    let (old, new) = (Certificate::new(), Certificate::new());
    let (pipeline, folder) = start(&old).await;
    let is_shown = async |certificate: &Certificate| {
        connect(&pipeline, certificate, &TLS13, &[]).await.is_ok()
    };
    assert!(is_shown(&old).await);
    assert!(!is_shown(&new).await);

    // The key of another one.
    fs::write(folder.path().join("key.pem"), &new.key).expect("our own folder");
    once("it is told", async || {
        pipeline.gateway.log().contains("do not belong together")
    })
    .await;
    assert!(is_shown(&old).await, "the old one stays");
    assert_eq!(pipeline.gateway.metric(REFUSED).await, 1.0);

    new.write_to(folder.path());
    once("the new one is shown", async || is_shown(&new).await).await;
    assert!(!is_shown(&old).await);
    assert_eq!(pipeline.gateway.metric(REFUSED).await, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_certificate_expires_is_told_and_one_that_has_is_warned_of() {
    let old = Certificate::until(2020);
    let (pipeline, folder) = start(&old).await;
    let is_told = |day: &str| {
        let log = pipeline.gateway.log();
        log.contains(&format!("expired at {day}T00:00:00Z"))
    };
    assert!(is_told("2020-01-01"), "{}", pipeline.gateway.log());
    assert_eq!(pipeline.gateway.metric(EXPIRES).await, 1_577_836_800.0);
    assert!(connect(&pipeline, &old, &TLS13, &[]).await.is_err());

    let newer = Certificate::until(2021);
    newer.write_to(folder.path());
    once("it is told of the newer one", async || {
        is_told("2021-01-01")
    })
    .await;
    let new = Certificate::until(4096);
    new.write_to(folder.path());
    once("it expires in 4096", async || {
        pipeline.gateway.metric(EXPIRES).await == 67_090_118_400.0
    })
    .await;
    assert!(connect(&pipeline, &new, &TLS13, &[]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_without_a_certificate_that_it_can_use_does_not_start() {
    let certificate = Certificate::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    certificate.write_to(folder.path());
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(at("empty.pem"), "").expect("our own folder");
    fs::write(at("other.pem"), Certificate::new().key).expect("our own folder");
    for (name, key) in [
        ("ed448.pem", ED448),
        ("rsa-512.pem", RSA_512),
        ("p-521.pem", P_521),
        ("dsa.pem", DSA),
        (
            "encrypted.pem",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n",
        ),
    ] {
        fs::write(at(name), key).expect("our own folder");
    }
    fs::write(at("both.p12"), b"\x30\x03\x02\x01\x03").expect("our own folder");
    fs::write(at("certificate.der"), &certificate.der).expect("our own folder");
    for (file, key, says) in [
        (at("certificate.pem"), at("ed448.pem"), "of the kind Ed448"),
        (at("certificate.pem"), at("rsa-512.pem"), "RSA of 512 bits"),
        (at("certificate.pem"), at("p-521.pem"), "ECDSA on P-521"),
        (at("certificate.pem"), at("dsa.pem"), "of the kind DSA"),
        (
            at("certificate.pem"),
            at("encrypted.pem"),
            "has an encrypted private key",
        ),
        (at("both.p12"), at("key.pem"), "is a PKCS#12 file"),
        (at("certificate.pem"), at("both.p12"), "is a PKCS#12 file"),
        (at("certificate.der"), at("key.pem"), "is DER, not PEM"),
        (at("none.pem"), at("key.pem"), "cannot be read"),
        (at("empty.pem"), at("key.pem"), "has no certificate in it"),
        (
            at("certificate.pem"),
            at("empty.pem"),
            "has no private key in it",
        ),
        (
            at("certificate.pem"),
            at("other.pem"),
            "cannot be used together with tls_certificate",
        ),
        (
            at("certificate.pem"),
            String::new(),
            "needs tls_key beside it",
        ),
    ] {
        let pipeline = Pipeline::weather()
            .into_kafka_only()
            .with("gateway.tls_certificate", &file)
            .with("gateway.tls_key", &key)
            .with("gateway.workers", 0)
            .prepare()
            .await;
        for verb in ["run", "check"] {
            let output = pipeline.gateway.command(verb).output();
            let output = output.expect("a program that starts");
            let told = [output.stdout, output.stderr].concat();
            let told = String::from_utf8_lossy(&told);
            assert!(
                !output.status.success() && told.contains(says) && told.contains("WORKERS"),
                "{verb}, {says}: {told}"
            );
        }
    }
}

/// Of no use but here, as the next ones.
const ED448: &str = "\
-----BEGIN PRIVATE KEY-----
MEcCAQAwBQYDK2VxBDsEOSY+qvGHncSV+KZhB0rWcgyjWYidP/Ca7r1vXwPqeN6p
tP3ficST8SVJOGhsn28GI89MDLJYJ33LQw==
-----END PRIVATE KEY-----
";

/// With 512 bits.
const RSA_512: &str = "\
-----BEGIN RSA PRIVATE KEY-----
MIIBOQIBAAJBANC9ne/ul6WKD44UK/zuloUqwnsxaNmH2cJQs79LBQc40GD+rIQ8
I1W/FVT1OFmhhIUeR4mvrgoMgVIoqJ0p4z0CAwEAAQJAMl5u6+SAxzsnQbtwWdog
jAWjZCKqEEONsivTE8fAcNs+6nSTVfaLFZX5Lbh8HGZyKGvbROJxfBIrCK+KnTIC
gQIhAPeFwGAkAa7Nij99SUEkwjwXD16izA+IG9Un9Roo02hRAiEA1+PU0cpLmQSk
4Kk/3RjK+VIFIxpGbQc0+AJFokHBfS0CIAwkfJZ6zbZUkPaiX8iZVAn8m51p4RbV
93+ScTyySgSxAiBF9HldkWN1rd+PPMiI6CO9Liqj+Tug0JkFVBckQJJl8QIgXkKK
e/EhjGYegpoTpur9vY4j7LFK4conlmxKE8ow4tY=
-----END RSA PRIVATE KEY-----
";

/// ECDSA.
const P_521: &str = "\
-----BEGIN PRIVATE KEY-----
MIHuAgEAMBAGByqGSM49AgEGBSuBBAAjBIHWMIHTAgEBBEIBXlH8Q7wVbG46n1xc
C27GSoPl6J7tw/6uJxmLB7j2Zk956bawp1wjM2ygAxCi43Kytpl2+lsFX0Iglg+H
k8EsydmhgYkDgYYABACAjyonoJqarKa9cXfeBnRvQSRLA2wANMPI6aNnlejZJ9b3
JOccB/cqL57hHGPa3b/i/MhaghjH940Pcko8+SQOGwCmMS7aOv0PvkbLT7pVSxxt
NRvQ1GrJUk++mL85f4MfWTrkr+gq+C1xva0KygESbrJdaJDIah+Y4lCarkCUW0fG
xA==
-----END PRIVATE KEY-----
";

/// In PKCS#8.
const DSA: &str = "\
-----BEGIN PRIVATE KEY-----
MIIBWwIBADCCATMGByqGSM44BAEwggEmAoGBAJC8M3aebm1MZ61+DBtjVYpXktQ3
tJG6uJa6aAoODrwb5PCIM2hgsr33QPFsG1fozEXJgZ4uYpwzAE5Zp8Ut8Nd3kUF9
nMJswAQCmQWpaFnRzyAmN2p9LVPhjvooCY5PA9/995eC2soEVWEngZpbVf9mxH9h
zqUYjMTqUEVlQL/VAh0A7sR+fBCECGEZPX4fFWau3eD1BC7xUwWlMPzPnwKBgFaN
Xp++VELH8024CXqvuiqKrZpR9Y9EGCwm/kjzvdaWN/vHmjTYzECIklYRptk7gmpi
pXIgCRTSujNXyMqc/EVZMB9Z6ML5Z+dDP0q0R2xpFW9O4PV/X1NejbQUvCluxvC4
VoyTeYz5nSMllfAyXR/m9CgDde2/mnVuT4nKdacIBB8CHQC0Xm7Ss6hy6RIdEniN
s6+Voc4UwFwMjJAgR3C7
-----END PRIVATE KEY-----
";

//! The wasm-producer's module: one that misbehaves takes nothing with it, one of another sum is not run, and one is replaced
//! by another while events come.

use std::{
    fs,
    path::{Path, PathBuf},
};

use e2e::{Kind, Pipeline, Request, once, repository};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::routes::{Voters, impatient, producers, single, votes};

const INSTANCES: &str = "aguacero_wasm_instances_total";
const REFUSED: &str = "aguacero_wasm_modules_refused_total";

/// A module and its sum, where the wasm-producer of a test looks for them.
struct Files(TempDir);

impl Files {
    /// The one that `scripts/wasm` has built.
    fn built() -> Self {
        let files = Self(tempfile::tempdir().expect("a folder"));
        files.put(&built());
        files
    }

    fn module(&self) -> PathBuf {
        self.0.path().join("producer.wasm")
    }

    fn sum(&self) -> PathBuf {
        self.0.path().join("producer.wasm.sha256")
    }

    fn put(&self, module: &[u8]) {
        write(&self.module(), module);
        let sum = Sha256::digest(module);
        let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        write(&self.sum(), format!("{sum}  producer.wasm\n").as_bytes());
    }
}

/// Whole or not at all, as whoever replaces a file should.
fn write(path: &Path, bytes: &[u8]) {
    let partial = path.with_extension("partial");
    fs::write(&partial, bytes).expect("a file");
    fs::rename(partial, path).expect("a file in its place");
}

fn built() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/wasm/producer.wasm");
    fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}: scripts/wasm builds it", path.display()))
}

/// The same code, and another sum: a section that nobody reads is at its end.
fn rebuilt() -> Vec<u8> {
    let mut module = built();
    module.extend([0, 2, 1, b'x']);
    module
}

/// One that does `submit` with each slab.
fn misbehaving(submit: &str) -> Vec<u8> {
    let text = include_str!("../../../sidecars/wasm-producer/tests/misbehaves.wat");
    let text = text.replace("SUBMIT)", &format!("{submit})"));
    wat::parse_str(text.replace("    ADVANCE\n", "")).expect("a module")
}

async fn started(files: &Files) -> Pipeline {
    impatient()
        .with("wasm_producer.module", files.module().display())
        .with("wasm_producer.sha256_file", files.sum().display())
        .with("wasm_producer.call_timeout_ms", 200)
        .with("wasm_producer.memory_bytes_max", 32 << 20)
        .start()
        .await
}

/// Waits until another instance than the first `seen` has begun.
async fn another_begins(pipeline: &mut Pipeline, seen: f64) {
    let [_, wasm] = producers(pipeline);
    once("another instance", async || {
        wasm.metric(INSTANCES).await > seen
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_module_had_that_loops_or_traps_or_takes_all_memory_is_sent_again_and_there_once() {
    let files = Files::built();
    let mut pipeline = started(&files).await;
    let mut client = pipeline.client();
    let all = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable";
    let kinds = [
        ("timeout", "(loop $again (br $again))"),
        ("trap", "unreachable"),
        ("memory", all),
    ];
    let mut sent = 0;
    for (reason, submit) in kinds {
        client.answer(&single(1, sent)).await.accepted(1);
        let seen = producers(&mut pipeline)[1].metric(INSTANCES).await;
        files.put(&misbehaving(submit));
        another_begins(&mut pipeline, seen).await;
        let refused = client.answer(&single(1, sent + 1)).await;
        assert!(
            [503, 504].contains(&refused.status),
            "{reason}: {refused:?}"
        );
        client.answer(&single(0, sent + 2)).await.accepted(1); // the other route goes on
        let stopped = format!("aguacero_wasm_stopped_total{{reason=\"{reason}\"}}");
        assert!(
            producers(&mut pipeline)[1].metric(&stopped).await > 0.0,
            "{stopped}"
        );
        let log = producers(&mut pipeline)[1].log();
        assert!(log.contains("the module was stopped"), "{log}");

        files.put(&if reason == "trap" { rebuilt() } else { built() });
        once("a module that works", async || {
            client.answer(&single(1, sent + 1)).await.status == 200
        })
        .await;
        sent += 3;
    }
    pipeline.exact("votes", sent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_of_another_sum_is_not_run_and_the_one_before_goes_on() {
    let files = Files::built();
    let mut pipeline = started(&files).await;
    let mut client = pipeline.client();
    client.answer(&single(1, 0)).await.accepted(1);
    write(&files.module(), &misbehaving("unreachable")); // without its sum
    let wasm = &producers(&mut pipeline)[1];
    once("a refused module", async || {
        wasm.metric(REFUSED).await > 0.0
    })
    .await;
    let log = wasm.log();
    assert!(log.contains("another module is not run"), "{log}");
    client.answer(&single(1, 1)).await.accepted(1);

    // Nor at a start.
    let wasm = &mut *producers(&mut pipeline)[1];
    wasm.kill();
    wasm.start();
    assert!(!wasm.ended().await.success());
    assert!(
        wasm.log()
            .contains("is declared: another module is not run")
    );
    files.put(&built());
    wasm.start_ready().await;
    once("the way to Kafka back", async || {
        client.answer(&single(1, 2)).await.status == 200
    })
    .await;
    pipeline.exact("votes", 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_is_replaced_while_events_come_and_not_one_is_refused() {
    let files = Files::built();
    let mut pipeline = votes()
        .with("wasm_producer.module", files.module().display())
        .with("wasm_producer.sha256_file", files.sum().display())
        .start()
        .await;
    let voters = Voters::start(&pipeline, 6);
    for module in [rebuilt(), built(), rebuilt()] {
        voters.progress(200).await;
        let seen = producers(&mut pipeline)[1].metric(INSTANCES).await;
        files.put(&module);
        another_begins(&mut pipeline, seen).await;
    }
    voters.progress(200).await;
    let stored = voters.finish().await;
    let stored_by = "aguacero_gateway_answers_total{stream=\"votes\",status=\"200\"";
    assert!(pipeline.gateway.metric(stored_by).await >= stored as f64);
    for status in ["503", "504"] {
        let refused =
            format!("aguacero_gateway_answers_total{{stream=\"votes\",status=\"{status}\"");
        let refused = pipeline.gateway.metric(&refused).await;
        assert!(refused == 0.0, "{refused} times {status}");
    }
    pipeline.exact("votes", stored).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_module_that_runs_out_of_memory_loses_nothing() {
    let mut pipeline = impatient()
        .with("wasm_producer.memory_bytes_max", 6 << 20)
        .start()
        .await;
    let voters = Voters::start(&pipeline, 4);
    voters.progress(50).await;
    // Far more than fits: several slabs at once of a body of 6 MB.
    let album = "x".repeat(200);
    let vote = |n: usize| {
        format!(
            r#"{{"name": "many {}", "album": "{album}", "year": "1970", "rank": 1}}"#,
            n % 50
        )
    };
    let body = |n: usize| (n..n + 9_000).map(vote).collect::<Vec<_>>().join("\n");
    let mut client = pipeline.client();
    let mut stopped = false;
    for n in 0..3 {
        let large = Request::ndjson("/votes/wasm", body(n)).key(&format!("large-{n}"));
        let answer = client.answer(&large).await;
        stopped |= answer.status != 200;
        if answer.status != 200 {
            let elsewhere = Request::ndjson("/votes/grpc", body(n)).key(&format!("large-{n}"));
            once("the large body by the other route", async || {
                client.answer(&elsewhere).await.status == 200
            })
            .await;
        }
    }
    assert!(stopped, "it fitted");
    let memory = "aguacero_wasm_stopped_total{reason=\"memory\"}";
    assert!(producers(&mut pipeline)[1].metric(memory).await > 0.0);
    voters.progress(50).await;
    let stored = voters.finish().await;
    pipeline.exact("votes", stored + 3 * 9_000).await;
}

#[test]
fn what_is_missing_for_the_module_is_told_at_start() {
    let pipeline = tempfile::tempdir().expect("a folder");
    let config = pipeline.path().join("votes.toml");
    fs::write(&config, repository("examples/votes.toml")).expect("a file");
    let told = std::process::Command::new(Kind::WasmProducer.path())
        .args(["run", "--config"])
        .arg(&config)
        .output()
        .expect("a program that starts");
    assert!(!told.status.success());
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    for what in [
        "wasm_producer.module: names no module",
        "wasm_producer.sha256: says of no module",
        "scripts/wasm",
    ] {
        assert!(told.contains(what), "{told}");
    }
}

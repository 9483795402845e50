//! `docs/metrics.md` and what is served: each metric of the one is one of the other.

use std::collections::{BTreeMap, BTreeSet};

use e2e::{Pipeline, Process, Request, eventually, once, repository};

/// What a row says, and what is served, of one metric.
#[derive(Debug, PartialEq, Eq)]
struct Metric {
    kind: String,
    labels: BTreeSet<String>,
    help: String,
}

type Metrics = BTreeMap<String, Metric>;

/// The rows of one process: those that are always served, and those that are when they have something to say.
#[derive(Debug, Default)]
struct Documented {
    always: Metrics,
    at_times: Metrics,
}

fn documented(process: &str) -> Documented {
    let page = repository("docs/metrics.md");
    let mut documented = Documented::default();
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, _unit, processes, served, help] = &cells[..] else {
            panic!("not 7 columns: {row}")
        };
        if *processes != "all" && !processes.split(", ").any(|p| p == process) {
            continue;
        }
        let names = |text: &str| -> BTreeSet<String> {
            let quoted = text.split('`').skip(1).step_by(2);
            quoted.map(str::to_owned).collect()
        };
        let metric = Metric {
            kind: (*kind).to_owned(),
            labels: names(labels),
            help: (*help).to_owned(),
        };
        let rows = match *served {
            "always" => &mut documented.always,
            "at times" => &mut documented.at_times,
            other => panic!("{name} is served {other:?}"),
        };
        let before = rows.insert(name.trim_matches('`').to_owned(), metric);
        assert!(before.is_none(), "{name} stands there twice");
    }
    documented
}

/// Reads Prometheus' text format.
fn served(text: &str) -> Metrics {
    let (mut helps, mut metrics) = (BTreeMap::new(), Metrics::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            helps.extend(rest.split_once(' '));
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|r| r.split_once(' '))
        {
            let metric = Metric {
                kind: kind.to_owned(),
                labels: BTreeSet::new(),
                help: helps.get(name).copied().unwrap_or_default().to_owned(),
            };
            assert!(metrics.insert(name.to_owned(), metric).is_none(), "{name}");
        } else if let Some((name, labels)) = line.split_once('{') {
            let base = |suffix| {
                name.strip_suffix(suffix)
                    .filter(|n| metrics.contains_key(*n))
            };
            let base = base("_bucket").or(base("_sum")).or(base("_count"));
            let metric = metrics
                .get_mut(base.unwrap_or(name))
                .unwrap_or_else(|| panic!("no type before {line}"));
            let names = labels.split("=\"").map(|part| {
                let from = part.rfind([',', '"']).map_or(0, |at| at + 1);
                part[from..].to_owned()
            });
            let is_label = |name: &String| name != "le" && !name.contains(['}', ' ']);
            metric.labels.extend(names.filter(is_label));
        }
    }
    metrics
}

/// What differs, in words; a row's meaning begins with what is served as help.
fn differences(process: &Process, text: &str) -> Vec<String> {
    let (mut differences, mut said) = (Vec::new(), documented(process.kind().program()));
    let mut tell = |name: &str, what: String| {
        differences.push(format!("{} {name}: {what}", process.name()));
    };
    for (name, metric) in served(text) {
        let row = said.always.remove(&name).or(said.at_times.remove(&name));
        match row {
            None => tell(&name, format!("is served and not documented: {metric:?}")),
            Some(row) => {
                let agrees = row.help.starts_with(&metric.help) && !metric.help.is_empty();
                if !agrees || row.kind != metric.kind || row.labels != metric.labels {
                    tell(
                        &name,
                        format!("documented as {row:?}, served as {metric:?}"),
                    );
                }
            }
        }
    }
    for name in said.always.keys() {
        tell(name, "is documented and not served".into());
    }
    differences
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_that_is_served_is_documented_and_every_documented_one_is_served() {
    let pipeline = Pipeline::weather().console().start().await;
    let mut client = pipeline.client();
    let event = r#"{"texto": "Su lluvia", "país": "Argentina"}"#;
    client
        .answer(&Request::json("/input", event))
        .await
        .accepted(1);
    let refused = client.answer(&Request::json("/input", "{}")).await;
    assert_eq!(refused.status, 422);
    pipeline.exact("weather", 1).await;
    let all = pipeline.processes();
    for process in all {
        eventually(&format!("{} as documented", process.name()), async || {
            let text = process.metrics().await.unwrap_or_default();
            match differences(process, &text) {
                none if none.is_empty() => Ok(()),
                // Some are told once a second.
                some => Err(some.join("\n")),
            }
        })
        .await;
    }
}

/// A metric that is served only at times cannot be seen in a run where all is well: its name is in the sources.
#[test]
fn every_documented_metric_has_its_name_in_the_sources() {
    const PRODUCER: &str = "sidecars/kafka-producer/src/metric.rs";
    let sources: [(&str, &[&str]); 6] = [
        ("gateway", &["gateway/src/metric.rs"]),
        ("kafka-producer", &[PRODUCER]),
        (
            "wasm-producer",
            &[PRODUCER, "sidecars/wasm-producer/src/metric.rs"],
        ),
        ("redis-writer", &["sidecars/redis-writer/src/metric.rs"]),
        ("consumer", &["consumer/src/metric.rs"]),
        ("console", &["console/src/metric.rs"]),
    ];
    for (process, sources) in sources {
        let text: String = sources.iter().map(|source| repository(source)).collect();
        let source = sources.join(" and ");
        for name in documented(process).at_times.keys() {
            assert!(text.contains(&format!("\"{name}\"")), "{name} in {source}");
        }
        // … and every name of the sources is documented.
        let said = documented(process);
        for name in text.split('"').filter(|part| {
            part.strip_prefix("aguacero_")
                .is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        }) {
            let is_documented = said.always.contains_key(name) || said.at_times.contains_key(name);
            assert!(
                is_documented,
                "{name} of {source} is not in docs/metrics.md"
            );
        }
    }
}

/// An alarm on the rise of a counter sees the first one only if there was a 0 before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_are_there_at_0_before_anything_has_happened() {
    let pipeline = Pipeline::weather().start().await;
    let consumer = &pipeline.consumers[0];
    let to = pipeline.producer.kind().program();
    let breaks = format!("aguacero_gateway_link_breaks_total{{to=\"{to}\"");
    let at_zero = [
        (
            &pipeline.gateway,
            "aguacero_gateway_answers_total{stream=\"weather\",status=\"200\"",
        ),
        (
            &pipeline.gateway,
            "aguacero_gateway_not_stored_total{reason=\"unconfirmed\"",
        ),
        (
            &pipeline.gateway,
            "aguacero_gateway_events_refused_total{stream=\"weather\",reason=\"unfit\"",
        ),
        (&pipeline.gateway, &breaks),
        (
            &pipeline.producer,
            "aguacero_producer_records_total{outcome=\"failed\"",
        ),
        (
            &pipeline.redis_writer,
            "aguacero_redis_writer_refused_total{reason=\"ledger\"",
        ),
        (
            consumer,
            "aguacero_consumer_dead_letters_total{reason=\"id-conflict\"",
        ),
        (
            consumer,
            "aguacero_consumer_archived_total{stream=\"weather\"",
        ),
    ];
    for (process, name) in at_zero {
        let text = process.metrics().await.unwrap_or_default();
        let line = format!("{name}}} 0");
        assert!(
            text.lines().any(|l| l == line),
            "{}: {line}\n{text}",
            process.name()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_again_over_a_new_connection_is_counted() {
    let mut pipeline = Pipeline::weather()
        .into_kafka_only()
        .with("gateway.workers", 1)
        .waiting_long()
        .start()
        .await;
    let request = Request::json("/input", r#"{"texto": "Su lluvia", "país": "Argentina"}"#);
    pipeline.client().answer(&request).await.accepted(1);
    once("one frame of one slab, and its receipt", async || {
        let gateway = &pipeline.gateway;
        gateway.metric("aguacero_gateway_frames_total").await == 1.0
            && gateway.metric("aguacero_gateway_slabs_total").await == 1.0
            && gateway.metric("aguacero_gateway_receipts_total").await == 1.0
            && gateway.metric("aguacero_gateway_slab_seconds_count").await == 1.0
            && gateway.metric("aguacero_gateway_frame_bytes_total").await > 50.0
    })
    .await;

    pipeline.producer.freeze().await;
    let (mut client, again) = (pipeline.client(), request.clone());
    let answer = tokio::spawn(async move { client.answer(&again).await });
    once("it is sent", async || {
        let slabs = "aguacero_gateway_slabs_total";
        pipeline.gateway.metric(slabs).await == 2.0
    })
    .await;
    pipeline.producer.kill_and_restart().await;
    answer.await.expect("an answer").accepted(1);
    once("a break, a link and what was sent again", async || {
        let gateway = &pipeline.gateway;
        let to = pipeline.producer.kind().program();
        let of = |name: &str| format!("aguacero_gateway_{name}{{to=\"{to}\"");
        gateway.metric(&of("link_breaks_total")).await == 1.0
            && gateway.metric(&of("links")).await == 1.0
            && gateway.metric("aguacero_gateway_slabs_resent_total").await == 1.0
    })
    .await;
}

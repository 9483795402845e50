//! What a request may ask for beside being stored: an answer at once, where each record is, or no storing.

use std::collections::BTreeMap;

use e2e::{Answer, Client, Kind, Pipeline, Request, eventually, load::tweet, once, repository};
use serde_json::{Value, json};
use tokio::net::TcpStream;

const UNFIT: &str = r#"{"texto": "Sol"}"#;

fn preferring(preference: &str, request: Request) -> Request {
    request.header("prefer", preference)
}

fn applied(answer: &Answer) -> Option<&str> {
    answer.header("preference-applied")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_received_is_stored_archived_and_counted_soon() {
    let pipeline = Pipeline::weather().start().await;
    let client = &mut pipeline.client();
    let batch = format!("[{},{}]", tweet(1), tweet(2));
    for (body, records) in [(tweet(0), 1), (batch, 2)] {
        let request = preferring("respond-async, wait=5", Request::json("/input", body));
        let answer = client.answer(&request).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(answer.document(), json!({ "received": records }));
        assert_eq!(applied(&answer), Some("respond-async"));
    }
    once("counted", async || {
        pipeline
            .gateway
            .metric("aguacero_gateway_events_total")
            .await
            == 3.0
    })
    .await;
    pipeline.exact("weather", 3).await;

    // With a record that is refused, the answer is what it is without the preference.
    let mixed = format!("[{},{UNFIT}]", tweet(3));
    for (body, status) in [(UNFIT.to_owned(), 422), (mixed, 207)] {
        let request = preferring("respond-async", Request::json("/input", body));
        let answer = client.answer(&request).await;
        assert_eq!(
            (answer.status, applied(&answer)),
            (status, None),
            "{answer:?}"
        );
    }
    pipeline.exact("weather", 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_received_is_stored_before_the_gateway_ends() {
    let mut pipeline = Pipeline::weather()
        .without(Kind::Consumer)
        .with("gateway.frames_in_flight_max", 1)
        .with("gateway.partition_slow_ms", 10_000)
        .start()
        .await;
    pipeline.producer.freeze().await;
    // The first one is on its way; the others cannot leave before its receipt.
    let mut client = pipeline.client();
    for n in 0..3 {
        let request = preferring("respond-async", Request::json("/input", tweet(n)));
        let answer = client.answer(&request).await;
        assert_eq!(answer.status, 202, "no receipt is waited for: {answer:?}");
    }
    drop(client);
    pipeline.gateway.terminate();
    once("no connection taken any more", async || {
        TcpStream::connect(pipeline.address()).await.is_err()
    })
    .await;
    pipeline.producer.thaw();
    assert!(pipeline.gateway.ended().await.success());
    assert_eq!(pipeline.kafka.count(pipeline.topic("weather")).await, 3);
}

/// Every record of the topic by its place, with its id.
async fn by_place(pipeline: &Pipeline, stream: &str) -> BTreeMap<(i64, i64), String> {
    let records = pipeline.records(stream).await;
    let place = |r: &e2e::kafka::Record| {
        let place = (i64::from(r.partition), r.offset);
        (place, r.id().to_string())
    };
    records.iter().map(place).collect()
}

/// The records that an answer tells of: index, place and id.
fn told(answer: &Answer, topic: &str) -> Vec<(u64, (i64, i64), String)> {
    assert_eq!(applied(answer), Some("return=representation"));
    let document = answer.document();
    let record = |r: &Value| {
        assert_eq!(r["topic"], topic, "{r}");
        let number = |name: &str| r[name].as_i64().unwrap_or_else(|| panic!("{name}: {r}"));
        let id = r["id"].as_str().expect("an id").to_owned();
        let place = (number("partition"), number("offset"));
        (number("index") as u64, place, id)
    };
    let records = document["records"].as_array().expect("a list");
    records.iter().map(record).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_representation_tells_where_each_record_is() {
    let pipeline = Pipeline::weather().into_kafka_only().start().await;
    let client = &mut pipeline.client();
    let mixed = format!("[{},{UNFIT},{}]", tweet(1), tweet(2));
    let mut all = Vec::new();
    for (body, status, indexes) in [
        (tweet(0), 200, &[0][..]),
        (mixed, 207, &[0, 2]),
        (format!("[{}]", tweet(3)), 200, &[0]),
    ] {
        let request = preferring("return=representation", Request::json("/input", body));
        let answer = client.answer(&request).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.document()["accepted"], indexes.len());
        let told = told(&answer, pipeline.topic("weather"));
        assert!(
            told.iter()
                .map(|(index, ..)| *index)
                .eq(indexes.iter().copied()),
            "{answer:?}"
        );
        all.extend(told);
    }
    let kafka = by_place(&pipeline, "weather").await;
    assert_eq!(kafka.len(), all.len());
    for (_, place, id) in all {
        assert_eq!(kafka.get(&place), Some(&id), "{place:?}");
    }
    let unfit = preferring("return=representation", Request::json("/input", UNFIT));
    assert_eq!(
        applied(&client.answer(&unfit).await),
        None,
        "there is nothing to show"
    );
    let plain = client.answer(&Request::json("/input", tweet(4))).await;
    assert_eq!(plain.text(), r#"{"accepted":1}"#);
}

const ONE_PARTITION: &str = r#"
[topics.t]
partitions = 1

[streams.s]
topic = "t"

[[streams.s.routes]]
path = "/s"

[gateway]
slab_bytes_max = 8388608
partition_slow_ms = 10000
"#;

/// Batches of about 3 MB, several of Kafka's each, one after another; what was told of them.
async fn send(mut client: Client, topic: String, name: usize) -> Vec<(u64, (i64, i64), String)> {
    let mut all = Vec::new();
    for round in 0..3 {
        let line = |n| {
            format!(
                "{{\"n\": \"{name}-{round}-{n}\", \"x\": \"{}\"}}\n",
                "x".repeat(3000)
            )
        };
        let lines: String = (0..1000).map(line).collect();
        let request = preferring("return=representation", Request::ndjson("/s", lines));
        let answer = client.answer(&request).await;
        // On a busy machine not all of it: what is stored is what is told.
        assert!(matches!(answer.status, 200 | 207), "{}", answer.status);
        let records = told(&answer, &topic);
        assert_eq!(answer.document()["accepted"], records.len());
        all.extend(records);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_are_true_where_two_gateways_write_to_one_partition() {
    let pipeline = Pipeline::builder(ONE_PARTITION)
        .into_kafka_only()
        .pods(2)
        .start()
        .await;
    let mut all = Vec::new();
    // Until at least one batch did not lie in a row.
    let all = eventually("a batch with another's records within", async || {
        let topic = pipeline.topic("s").to_owned();
        let sending = pipeline.addresses().into_iter().enumerate();
        let sending: Vec<_> = sending
            .map(|(n, address)| tokio::spawn(send(Client::new(address), topic.clone(), n)))
            .collect();
        for sent in sending {
            all.extend(sent.await.expect("all of it stored"));
        }
        let in_a_row = all.windows(2).all(|pair| {
            let [(_, (_, before), _), (index, (_, offset), _)] = pair else {
                return true;
            };
            *index == 0 || offset - before == 1
        });
        match in_a_row {
            true => Err(format!("{} records", all.len())),
            false => Ok(all.clone()),
        }
    })
    .await;
    let kafka = by_place(&pipeline, "s").await;
    for (index, place, id) in &all {
        assert_eq!(kafka.get(place), Some(id), "record {index} at {place:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_judges_everything_and_stores_nothing() {
    let pipeline = Pipeline::builder(&repository("aguacero.toml"))
        .without(Kind::Consumer)
        .start()
        .await;
    let client = &mut pipeline.client();
    for query in [
        "dry-run",
        "dry-run=true",
        "dry_run=1",
        "dryrun",
        "x=1&dryRun",
    ] {
        let path = format!("/input?{query}");
        let answer = client.answer(&Request::json(&path, tweet(0))).await;
        assert_eq!(
            (answer.status, answer.document()),
            (200, json!({ "valid": 1 })),
            "{query}"
        );
        let batch = format!("[{},{}]", tweet(0), tweet(1));
        let answer = client.answer(&Request::json(&path, batch)).await;
        assert_eq!(
            (answer.status, answer.document()),
            (200, json!({ "valid": 2 })),
            "{query}"
        );
        let mixed = format!("{}\n{UNFIT}\n", tweet(0));
        let answer = client.answer(&Request::ndjson(&path, mixed)).await;
        let document = answer.document();
        assert_eq!(
            (answer.status, &document["valid"], &document["rejected"]),
            (207, &json!(1), &json!(1))
        );
        assert_eq!(
            (document.get("accepted"), answer.header("idempotency-key")),
            (None, None)
        );
        client
            .answer(&Request::json(&path, UNFIT))
            .await
            .problem(422);
        client.answer(&Request::json(&path, "{")).await.problem(400);
        let both =
            Request::json(&path, tweet(0)).header("prefer", "respond-async, return=representation");
        assert_eq!(client.answer(&both).await.document(), json!({ "valid": 1 }));
    }
    let unclear = Request::json("/input?dry-run=maybe", tweet(0));
    client.answer(&unclear).await.problem(400);
    assert_eq!(pipeline.kafka.count(pipeline.topic("weather")).await, 0);
    assert_eq!(
        pipeline
            .gateway
            .metric("aguacero_gateway_events_total")
            .await,
        0.0
    );

    for query in ["dry-run=false", "dry_run=0", "other=1"] {
        let path = format!("/input?{query}");
        client
            .answer(&Request::json(&path, tweet(0)))
            .await
            .accepted(1);
    }
    assert_eq!(pipeline.kafka.count(pipeline.topic("weather")).await, 3);
}

const WITH_IDS: &str = r#"
[topics.t]
partitions = 1

[streams.s]
topic = "t"
id = "id"
fields = [{ name = "id", type = ["string", "integer"] }]

[[streams.s.routes]]
path = "/s"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_says_of_a_long_id_what_the_real_one_says() {
    let pipeline = Pipeline::builder(WITH_IDS)
        .without(Kind::Consumer)
        .start()
        .await;
    let client = &mut pipeline.client();
    for (bytes, fits) in [
        (512, true),
        (513, false),
        (500_000, false),
        (900_000, false),
    ] {
        let event = format!(r#"{{"id": "{}"}}"#, "x".repeat(bytes));
        for path in ["/s?dry-run", "/s"] {
            let answer = client.answer(&Request::json(path, event.clone())).await;
            if fits {
                assert_eq!(answer.status, 200, "{answer:?}");
                continue;
            }
            let problem = answer.problem(422);
            assert_eq!(problem["field"], "id");
            let detail = format!("may have 512 bytes, has {bytes}");
            assert_eq!(problem["detail"], detail.as_str(), "{path}");
        }
    }
    assert_eq!(pipeline.kafka.count(pipeline.topic("s")).await, 1);
}

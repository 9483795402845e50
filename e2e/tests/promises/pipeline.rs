//! One event's whole way.

use std::time::{SystemTime, UNIX_EPOCH};

use aguacero::id::value_hash;
use bson::{Bson, doc};
use e2e::{
    Pipeline, Request,
    archive::{id_of, ours},
    shown::Shown,
};

fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_millis() as i64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_kept_as_it_was_sent_archived_with_its_types_and_counted() {
    let pipeline = Pipeline::weather().start().await;
    let event = r#"{ "texto":"Su lluvia \u00e1 ☔","pa\u00eds" : "Argentina", "grados": -3, "viento": 12.50, "grande": 9007199254740993, "cero": -0.0, "todo": {"a.b": [1, null, true]} }"#;
    let before = now_ms();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = Request::json("/input", format!(" {event}\n"))
        .key("uno")
        .header("traceparent", trace);
    pipeline.client().answer(&request).await.accepted(1);
    let after = now_ms();

    let archive = pipeline.exact("weather", 1).await;
    let [record] = &pipeline.records("weather").await[..] else {
        panic!("one record")
    };
    assert_eq!(record.text(), event, "the client's bytes are kept");
    assert_eq!(record.key, None);
    assert!(
        (before..=after).contains(&record.timestamp),
        "the time of arrival"
    );
    assert_eq!(record.header().stream, "weather");
    assert_eq!(record.header().client_key, b"uno");
    let names: Vec<_> = record
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["aguacero", "traceparent"]);
    assert_eq!(record.headers[1].1, trace.as_bytes());

    let [document] = &archive[..] else {
        panic!("one document")
    };
    let mut events_own = document.clone();
    let stamp = events_own.remove("_aguacero").expect("ours");
    events_own.remove("_id");
    let expected = doc! {
        "texto": "Su lluvia á ☔", "país": "Argentina", "grados": -3, "viento": 12.5,
        "grande": 9_007_199_254_740_993_i64, "cero": -0.0, "todo": { "a.b": [1, Bson::Null, true] },
    };
    assert!(
        e2e::json::same(
            &Bson::Document(events_own.clone()),
            &Bson::Document(expected)
        ),
        "{events_own}"
    );
    assert_eq!(id_of(document), record.id());
    let incarnation = pipeline
        .kafka
        .describe(pipeline.topic("weather"))
        .await
        .expect("the topic")
        .incarnation;
    let hash = bson::Binary {
        subtype: bson::spec::BinarySubtype::Generic,
        bytes: value_hash(event.as_bytes()).to_vec(),
    };
    let expected = doc! {
        "stream": "weather", "at": bson::DateTime::from_millis(record.timestamp), "incarnation": incarnation,
        "partition": record.partition, "offset": record.offset, "hash": hash, "key": "uno",
    };
    assert_eq!(stamp, Bson::Document(expected));

    let shown = pipeline.redis.shown(pipeline.stream("weather")).await;
    assert_eq!(
        (shown.total, shown.counters["by_country"]["Argentina"]),
        (1, 1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_array_and_lines_are_stored_event_by_event() {
    let pipeline = Pipeline::weather().start().await;
    let mut client = pipeline.client();
    let events: Vec<_> = (0..7).map(e2e::load::tweet).collect();
    let array = format!("[{}]", events.join(" ,\n"));
    client
        .answer(&Request::json("/input", array))
        .await
        .accepted(7);
    let lines = format!(
        "{}\r\n\n{}",
        events[..3].join("\n"),
        events[3..].join("\r\n")
    );
    client
        .answer(&Request::ndjson("/input", lines))
        .await
        .accepted(7);
    client
        .answer(&Request::json("/input", format!("[{}]", events[0])))
        .await
        .accepted(1);
    assert_eq!(client.connections(), 1);

    let archive = pipeline.exact("weather", 15).await;
    let mut sent: Vec<&str> = events
        .iter()
        .chain(&events)
        .chain(&events[..1])
        .map(String::as_str)
        .collect();
    let records = pipeline.records("weather").await;
    let mut kept: Vec<&str> = records.iter().map(|r| r.text()).collect();
    sent.sort_unstable();
    kept.sort_unstable();
    assert_eq!(kept, sent);
    assert!(
        archive
            .iter()
            .all(|d| matches!(ours(d, "stream"), Bson::String(s) if s == "weather"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_of_a_batch_follow_one_another() {
    let pipeline = Pipeline::weather().into_kafka_only().start().await;
    let lines: String = (0..20).map(|n| e2e::load::tweet(n) + "\n").collect();
    pipeline
        .client()
        .answer(&Request::ndjson("/input", lines))
        .await
        .accepted(20);
    let mut records = pipeline.records("weather").await;
    records.sort_by_key(e2e::kafka::Record::id);
    for (i, record) in records.iter().enumerate() {
        assert_eq!(record.id(), records[0].id().plus(i as u64));
        assert_eq!(
            record.text(),
            e2e::load::tweet(i),
            "in the order of the body"
        );
        assert!(record.header().client_key.is_empty());
    }
    assert_eq!(records.len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_are_live_before_anything_is_archived() {
    let pipeline = Pipeline::weather()
        .without(e2e::Kind::Consumer)
        .start()
        .await;
    let lines: String = (0..70).map(|n| e2e::load::tweet(n) + "\n").collect();
    pipeline
        .client()
        .answer(&Request::ndjson("/input", lines))
        .await
        .accepted(70);
    let stream = pipeline.stream("weather");
    let shown: Shown = e2e::eventually("70 shown", async || {
        let shown = pipeline.redis.shown(stream).await;
        if shown.total == 70 {
            Ok(shown)
        } else {
            Err(format!("{shown:?}"))
        }
    })
    .await;
    let counts = &shown.counters["by_country"];
    assert_eq!(
        (counts.len(), counts["Perú"], counts["total-messages"]),
        (7, 10, 10),
        "{counts:?}"
    );
    assert_eq!(pipeline.archive.count("messages").await, 0);
}

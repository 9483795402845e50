use aguacero::{
    accept::{Decoder, fit::Fields},
    config::Config,
    id::EventId,
    ledger::Position,
};
use proptest::prelude::*;

use super::*;
use crate::decode::document::{self, Stamp};

fn config() -> Config {
    let toml = r#"
        [topics.t]
        partitions = 1
        replication = 1
        min_insync = 1
        [streams.s]
        topic = "t"
        fields = [
          { name = "a", aliases = ["b", "c"], type = ["string", "number", "boolean"] },
          { name = "d" },
          { name = "e", aliases = ["f"], type = ["string", "number", "boolean"] },
        ]
        counters = [{ name = "one", by = ["a"] }, { name = "two", by = ["e", "a"] }]
        [[streams.s.routes]]
        path = "/s"
        via = "grpc"
    "#;
    Config::parse(toml, "test", []).unwrap_or_else(|e| panic!("{e}"))
}

/// What the gateway counts, and what the consumer counts.
fn both(stream: &Stream, json: &str) -> (Deltas, Deltas) {
    let position = Position {
        incarnation: String::new(),
        partition: 0,
    };
    let id = EventId([0; 16]);
    let stamp = Stamp {
        id,
        stream: "s",
        at_ms: 0,
        position: &position,
        offset: 0,
        hash: [0; 16],
        client_key: b"",
    };
    let (mut gateway, mut consumer) = (Deltas::none(stream), Deltas::none(stream));
    let document = Decoder::new(1 << 20).decode(json.as_bytes(), |event| {
        let fields = Fields::find(stream, event);
        gateway.count(stream, |field| fields.scalar(field));
        document::write(event, json.len(), &stamp).unwrap()
    });
    Counting::new(stream).count(stream, &document.unwrap(), &mut consumer);
    (gateway, consumer)
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<f64>()
            .prop_filter("finite", |f| f.is_finite())
            .prop_map(Into::into),
        "[|\\\\é \0]{0,4}".prop_map(Into::into),
        Just(serde_json::json!([1])),
        Just(serde_json::json!({ "a": "x" })),
    ]
}

proptest! {
    #[test]
    fn a_document_counts_as_its_event_did(event in prop::collection::btree_map("[a-g]", value(), 0..7)) {
        let config = config();
        let json = serde_json::Value::Object(event.into_iter().collect()).to_string();
        let (gateway, consumer) = both(&config.streams[0], &json);
        prop_assert_eq!(gateway, consumer);
    }
}

#[test]
fn of_two_names_the_first_declared_counts_even_if_it_is_null() {
    let config = config();
    for (json, key) in [
        (r#"{"c":"z","b":"y"}"#, Some("y")),
        (r#"{"b":null,"c":"z"}"#, None),
        (r#"{"a":1.0}"#, Some("1")),
        (r#"{"a":{"a":1}}"#, None),
    ] {
        let (gateway, consumer) = both(&config.streams[0], json);
        assert_eq!(gateway, consumer, "{json}");
        assert_eq!(
            consumer.counters[0].keys().map(String::as_str).next(),
            key,
            "{json}"
        );
    }
}

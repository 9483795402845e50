//! Streams are declared, not programmed: three different systems on the same programs, each from its
//! file as it stands in the repository.

use std::collections::{BTreeMap, BTreeSet};

use bson::{Bson, Document};
use e2e::{Client, Pipeline, Request, archive::ours, kafka::Record, repository};

async fn post(client: &mut Client, path: &str, event: &str) {
    client
        .answer(&Request::json(path, event.to_owned()))
        .await
        .accepted(1);
}

fn key(record: &Record) -> &str {
    std::str::from_utf8(record.key.as_deref().unwrap_or_default()).expect("keys are UTF-8")
}

fn counts<const N: usize>(expected: [(&str, i64); N]) -> BTreeMap<String, i64> {
    expected.map(|(key, count)| (key.to_owned(), count)).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn premium_members_have_a_partition_of_their_own() {
    let pipeline = Pipeline::builder(&repository("examples/guild.toml"))
        .start()
        .await;
    let mut client = pipeline.client();
    for (i, premium) in [
        ", \"Registro premium\": true",
        ", \"Registro premium\": \"si\"",
        ", \"premium\": \"s\u{ed}\"",
    ]
    .into_iter()
    .enumerate()
    {
        let member =
            format!(r#"{{"Nombre": "Ana", "Apellido": "Rojas", "Rut": "1111111{i}-K"{premium}}}"#);
        post(&mut client, "/miembros", &member).await;
    }
    let ordinary = [
        ", \"premium\": false",
        ", \"Registro premium\": \"no\"",
        ", \"premium\": null",
        "",
    ];
    for (i, premium) in ordinary.into_iter().cycle().take(16).enumerate() {
        let rut = i % 8; // each one twice
        let member = format!(
            r#"{{"nombre": "Luis", "apellido": "Soto", "rut": "2222222{rut}-1"{premium}}}"#
        );
        post(&mut client, "/miembros", &member).await;
    }

    pipeline.exact("miembros", 19).await;
    let mut homes: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
    for record in pipeline.records("miembros").await {
        let premium = key(&record).starts_with('1');
        assert_eq!(record.partition == 2, premium, "{record:?}");
        homes
            .entry(key(&record).to_owned())
            .or_default()
            .insert(record.partition);
    }
    assert_eq!(homes.len(), 11);
    assert!(
        homes.values().all(|partitions| partitions.len() == 1),
        "a member's records stay in order: {homes:?}"
    );
    let shown = pipeline.redis.shown(pipeline.stream("miembros")).await;
    let expected = counts([("true", 1), ("si", 1), ("sí", 1), ("false", 4), ("no", 4)]);
    assert_eq!(shown.counters["by_premium"], expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_of_stray_carts_have_a_partition_of_their_own_in_the_topic_of_locations() {
    let pipeline = Pipeline::builder(&repository("examples/guild.toml"))
        .start()
        .await;
    let mut client = pipeline.client();
    for i in 0..6 {
        let cart = format!(
            r#"{{"Patente carrito": "AB-{i}", "Ubicación del carrito": [-33.4, -70.{i}]}}"#
        );
        post(&mut client, "/ubicaciones", &cart).await;
        post(&mut client, "/ubicaciones", &cart).await;
        post(
            &mut client,
            "/reportes",
            r#"{"Coordenadas": {"lat": -33.4, "lon": -70.6}}"#,
        )
        .await;
        let sale = format!(
            r#"{{"Cliente": "Eva", "Cantidad de Sopaipillas": 1{i}, "Hora": "12:0{i}", "Stock restante": 40, "ubicacion": "-33.4,-70.6", "patente": "AB-{i}"}}"#
        );
        post(&mut client, "/ventas", &sale).await;
    }
    let nonsense = r#"{"Coordenadas": {"lat": 91, "lon": 0}}"#;
    let problem = client
        .answer(&Request::json("/reportes", nonsense))
        .await
        .problem(422);
    assert_eq!(problem["field"], "Coordenadas");

    pipeline.exact("reportes", 6).await;
    pipeline.exact("ubicaciones", 12).await;
    pipeline.exact("ventas", 6).await;
    assert_eq!(pipeline.topic("reportes"), pipeline.topic("ubicaciones"));
    for record in pipeline.records("reportes").await {
        assert_eq!(
            record.partition == 2,
            record.header().stream == "reportes",
            "{record:?}"
        );
        assert_eq!(
            record.key.is_none(),
            record.header().stream == "reportes",
            "{record:?}"
        );
    }
    let shown = pipeline.redis.shown(pipeline.stream("ubicaciones")).await;
    assert_eq!(
        shown.counters["by_cart"],
        counts([
            ("AB-0", 2),
            ("AB-1", 2),
            ("AB-2", 2),
            ("AB-3", 2),
            ("AB-4", 2),
            ("AB-5", 2)
        ])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn votes_are_counted_by_band_album_and_rank() {
    let pipeline = Pipeline::builder(&repository("examples/votes.toml"))
        .start()
        .await;
    let votes = [
        r#"{"name": "Los Jaivas", "album": "Alturas de Macchu Picchu", "year": "1981", "rank": "1"}"#,
        r#"{"name": "Los Jaivas", "album": "Canción del Sur", "year": 1977, "rank": 1}"#,
        r#"{"name": "Inti-Illimani", "album": "Alturas | \"en vivo\"", "year": "1979", "rank": "9.5"}"#,
    ];
    pipeline
        .client()
        .answer(&Request::json(
            "/votes/grpc",
            format!("[{}]", votes.join(",")),
        ))
        .await
        .accepted(3);

    pipeline.exact("votes", 3).await;
    let shown = pipeline.redis.shown(pipeline.stream("votes")).await;
    assert_eq!(
        shown.counters["by_name"],
        counts([("Los Jaivas", 2), ("Inti-Illimani", 1)])
    );
    assert_eq!(
        shown.counters["by_rank"],
        counts([("1", 2), ("9.5", 1)]),
        "\"1\" and 1 are the same key"
    );
    assert_eq!(shown.counters["by_album"]["Alturas | \"en vivo\""], 1);
    assert_eq!(
        shown.counters["by_name_rank"],
        counts([("Los Jaivas|1", 2), ("Inti-Illimani|9.5", 1)])
    );
}

const KEYED: &str = r#"
    [topics.keyed]
    partitions = 7
    reserved = { apart = 3 }

    [streams.keyed]
    topic = "keyed"
    key = "k"
    fields = [{ name = "k", type = ["string", "integer", "boolean"], max_bytes = 64 }]
    counters = [{ name = "by_k", by = ["k"], max_distinct = 2 }]

    [[streams.keyed.routes]]
    path = "/keyed"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_leads_to_the_partition_that_the_java_client_would_choose() {
    let pipeline = Pipeline::builder(KEYED).into_kafka_only().start().await;
    let mut client = pipeline.client();
    // The hashes are those of Kafka's own test, UtilsTest.testMurmur2.
    let hashes: [(&str, i32); 6] = [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        (
            "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
            -58_897_971,
        ),
        ("abc", 479_470_107),
    ];
    for (key, _) in hashes {
        post(&mut client, "/keyed", &format!(r#"{{"k": "{key}"}}"#)).await;
    }
    post(&mut client, "/keyed", r#"{"k": 21}"#).await;
    post(&mut client, "/keyed", r#"{"k": "\u0061bc"}"#).await;

    let ordinary = [0, 1, 2, 4, 5, 6];
    let records = pipeline.records("keyed").await;
    assert_eq!(records.len(), 8);
    for record in &records {
        let (_, hash) = hashes
            .iter()
            .find(|(k, _)| *k == key(record))
            .expect("one of the keys");
        let expected = ordinary[(hash & 0x7fff_ffff) as usize % ordinary.len()];
        assert_eq!(record.partition, expected, "{record:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_beyond_the_bound_count_as_overflow_and_the_total_stays_exact() {
    let pipeline = Pipeline::builder(KEYED).start().await;
    let lines: String = (0..60)
        .map(|i| format!("{{\"k\": \"{}\"}}\n", i % 6))
        .collect();
    pipeline
        .client()
        .answer(&Request::ndjson("/keyed", lines))
        .await
        .accepted(60);
    post(
        &mut pipeline.client(),
        "/keyed",
        r#"{"other": "and no key at all"}"#,
    )
    .await;

    pipeline.exact("keyed", 61).await;
    let shown = pipeline.redis.shown(pipeline.stream("keyed")).await;
    assert_eq!(
        (shown.counters["by_k"].len(), shown.overflow["by_k"]),
        (2, 40),
        "{shown:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn integers_of_up_to_34_digits_are_archived_and_shown_as_they_were_sent() {
    let toml = r#"
        [topics.pages]
        partitions = 4
        replication = 1
        min_insync = 1
        [streams.pages]
        topic = "pages"
        access = "open"
        id = "id"
        key = "hash"
        fields = [
          { name = "id", type = ["integer", "string"] },
          { name = "hash", type = "integer", required = true, min = -1e34 },
        ]
        counters = [{ name = "by_hash", by = ["hash"] }, { name = "by_both", by = ["hash", "id"] }]
        [[streams.pages.routes]]
        path = "/pages"
        via = "grpc"
    "#;
    let pipeline = Pipeline::builder(toml).start().await;
    let mut client = pipeline.client();
    let longest = "9".repeat(34);
    let hashes = [
        "18446744073709551615",
        "9223372036854775808",
        "-9223372036854775809",
        "9223372036854775807",
        &longest,
    ];
    for (id, hash) in hashes.iter().enumerate() {
        let id = format!("1000000000000000000{id}0");
        for event in [
            format!(r#"{{"id":{id},"hash":{hash},"x":[[{hash}],{{"y":"\u0031"}}]}}"#),
            format!(r#"{{"id":"{id}","hash":{hash}}}"#),
        ] {
            for _ in 0..2 {
                post(&mut client, "/pages", &event).await;
            }
        }
    }
    for too_much in [format!("1{}", "0".repeat(34)), format!("-1{longest}")] {
        let event = format!(r#"{{"hash":{too_much}}}"#);
        let problem = client
            .answer(&Request::json("/pages", event))
            .await
            .problem(422);
        let detail = problem["detail"].as_str().expect("a text");
        assert!(detail.contains("up to 34 digits"), "{problem}");
    }

    // An integer and a text are two ids, and each of them is one event.
    let archive = pipeline.exact("pages", 2 * hashes.len()).await;
    for hash in hashes {
        let decimal = hash.parse().expect("34 digits");
        let expected = match hash.parse() {
            Ok(hash) => Bson::Int64(hash),
            Err(_) => Bson::Decimal128(decimal),
        };
        let with_it = || archive.iter().filter(|d| d.get("hash") == Some(&expected));
        assert_eq!(with_it().count(), 2, "{hash} in {archive:?}");
        let inside = |d: &&Document| {
            d.get_array("x")
                .is_ok_and(|x| x[0] == Bson::Array(vec![expected.clone()]))
        };
        assert_eq!(with_it().filter(inside).count(), 1, "{hash} in {archive:?}");
        // An id's text is what the client called the event.
        let called = |d: &Document| match d.get("id") {
            Some(Bson::Decimal128(id)) => ours(d, "key").as_str() == Some(&id.to_string()),
            _ => false,
        };
        assert!(with_it().any(called), "{hash} in {archive:?}");
    }
    let shown = pipeline.redis.shown(pipeline.stream("pages")).await;
    assert_eq!(
        shown.counters["by_hash"],
        counts(hashes.map(|hash| (hash, 2)))
    );
    let mut keys: Vec<_> = pipeline
        .records("pages")
        .await
        .iter()
        .map(|r| key(r).to_owned())
        .collect();
    keys.sort();
    keys.dedup();
    let mut sent = hashes.map(str::to_owned);
    sent.sort();
    assert_eq!(keys, sent);
    assert!(pipeline.archive.dead_letters().await.is_empty());
}

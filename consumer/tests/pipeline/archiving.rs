//! What reaches the archive, and what does not.

use std::{sync::Arc, time::Duration};

use aguacero::{
    id::{EventId, value_hash},
    ledger::Position,
};
use bson::{Binary, Bson, Document, doc, spec::BinarySubtype};
use consumer::{
    archive::{Archive, EventOutcome},
    batch::Source,
    decode::Event,
};

use crate::world::{World, borrowed, events, eventually, header};

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_archived_with_its_types_and_its_place() {
    let world = World::new(2).await;
    let json = r#"{"texto":"Su lluvia ☔","país":"Perú","n":{"a":[1,2147483648,1.5,null,true]},"t":"a\u0000b"}"#;
    let id = EventId::new_base();
    let offset = world.send(1, &[(id, json)]);
    let running = world.start().await;
    world.settled(1).await;

    let document = world.archive().find_one(doc! {}).await.unwrap().unwrap();
    let uuid = Binary {
        subtype: BinarySubtype::Uuid,
        bytes: id.0.to_vec(),
    };
    assert_eq!(document.get("_id"), Some(&Bson::Binary(uuid)));
    assert_eq!(document.get_str("texto").unwrap(), "Su lluvia ☔");
    assert_eq!(document.get_str("t").unwrap(), "a\0b");
    let list = document.get_document("n").unwrap().get_array("a").unwrap();
    assert_eq!(
        *list,
        [
            Bson::Int32(1),
            Bson::Int64(1 << 31),
            Bson::Double(1.5),
            Bson::Null,
            Bson::Boolean(true)
        ]
    );
    let ours = document.get_document("_aguacero").unwrap();
    let position = world.position(1);
    assert_eq!(ours.get_str("stream").unwrap(), world.stream().name);
    assert_eq!(ours.get_str("incarnation").unwrap(), position.incarnation);
    assert_eq!(
        (
            ours.get_i32("partition").unwrap(),
            ours.get_i64("offset").unwrap()
        ),
        (1, offset)
    );
    assert_eq!(
        ours.get_binary_generic("hash").unwrap(),
        &value_hash(json.as_bytes()).to_vec()
    );
    assert!(ours.get_datetime("at").is_ok());
    world.has_committed(1, offset + 1).await;
    running.stop().await;
}

/// What core's acceptance lets through, MongoDB takes and gives back unchanged.
#[tokio::test(flavor = "multi_thread")]
async fn mongodb_takes_every_accepted_name_and_depth() {
    let world = World::new(1).await;
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(63), "]".repeat(63));
    let deep_objects = format!("{}1{}", r#"{"a":"#.repeat(64), "}".repeat(64));
    let cases = [
        "{}",
        r#"{"":1}"#,
        r#"{"a.b":1}"#,
        r#"{"$set":{"a":1}}"#,
        r#"{"$ref":"x","$id":1,"$db":"y"}"#,
        r#"{"$id":1}"#,
        r#"{"$db":1}"#,
        r#"{"a":{"$ref":1}}"#,
        r#"{"a":{"":{"$x.y":[{"$z":{"":""}}]}}}"#,
        r#"{"$where":"1"}"#,
        r#"{".":1,"..":2,"$":3,"$$":4,"a.":5,".a":6}"#,
        r#"{"país":["a",["b"]],"texto":{"a":[1]}}"#,
        r#"{"_Id":1,"id":2," _id":3}"#,
        r#"{"a":{"_id":[1],"_aguacero":2}}"#,
        &deep,
        &deep_objects,
        r#"{"a":"\u0000","b":1e308,"c":-9223372036854775808,"d":5e-324,"e":-0,"f":-0.0}"#,
    ];
    let events: Vec<_> = cases
        .iter()
        .map(|json| (EventId::new_base(), *json))
        .collect();
    world.send(0, &events);
    let running = world.start().await;
    world.has_archived(cases.len() as i64).await;
    assert_eq!(world.dead_letters().await, []);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_sent_again_is_archived_and_counted_once() {
    let world = World::new(2).await;
    let events = events(500);
    let mut twice = borrowed(&events);
    twice.extend(borrowed(&events[100..300]));
    world.send(0, &twice);
    world.send(1, &borrowed(&events[250..]));
    let running = world.start().await;
    world.settled(500).await;
    world.send(1, &borrowed(&events));
    let more = world.send(0, &borrowed(&crate::world::events(10)));
    world.has_committed(0, more + 1).await;
    world.settled(510).await;
    assert_eq!(world.dead_letters().await, []);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_value_under_the_same_id_is_a_dead_letter() {
    let world = World::new(2).await;
    let (a, b) = (EventId::new_base(), EventId::new_base().plus(1));
    let (one, two) = (r#"{"país":"Perú"}"#, r#"{"país":"Chile"}"#);
    world.send(0, &[(a, one), (b, one), (b, two), (b, one)]); // within one batch
    let running = world.start().await;
    world.settled(2).await;
    world.send(1, &[(a, two), (a, one)]); // and against the archive
    let letters = eventually("both conflicts are dead letters", async || {
        let letters = world.dead_letters().await;
        if letters.len() == 2 {
            Ok(letters)
        } else {
            Err(format!("{letters:?}"))
        }
    })
    .await;
    let position = world.position(0);
    for letter in &letters {
        assert_eq!(letter.get_str("reason").unwrap(), "id-conflict");
        assert_eq!(letter.get_str("stream").unwrap(), world.stream().name);
        assert_eq!(letter.get_binary_generic("value").unwrap(), two.as_bytes());
    }
    let expected = [(0, 2, b), (1, 0, a)]
        .map(|(p, o, _)| format!("{}/{}/{p}/{o}", world.topic(), position.incarnation));
    let ids: Vec<_> = letters.iter().map(|l| l.get_str("_id").unwrap()).collect();
    assert_eq!(ids, expected);
    world.settled(2).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_archived_is_kept_with_its_reason_and_stops_nobody() {
    let world = World::new(1).await;
    let id = EventId::new_base();
    let good = header(world.stream(), id);
    let of = |n: u64| header(world.stream(), id.plus(n));
    let (a, b, c, d) = (of(1), of(2), of(3), of(4));
    let large = format!(
        r#"{{"a":"{}"}}"#,
        "x".repeat(world.config.gateway.event_bytes_max)
    );
    world.send_raw(
        0,
        &[
            (None, Some(b"{}")),
            (Some(b""), Some(b"{}")),
            (Some(&a), None),
            (Some(&b), Some(b"{\"a\":")),
            (Some(&c), Some(b"{\"_id\":1}")),
            (Some(&d), Some(large.as_bytes())),
            (Some(&good), Some(br#"{"pa\u00eds":"Per\u00fa"}"#)),
        ],
    );
    let running = world.start().await;
    world.settled(1).await;
    world.has_committed(0, 7).await;
    let letters = world.dead_letters().await;
    let reasons: Vec<_> = letters
        .iter()
        .map(|l| l.get_str("reason").unwrap())
        .collect();
    assert_eq!(
        reasons,
        [
            "no-header",
            "damaged-header",
            "no-value",
            "malformed",
            "unfit",
            "too-large"
        ]
    );
    assert_eq!(letters[3].get_binary_generic("value").unwrap(), b"{\"a\":");
    assert_eq!(
        letters[5].get_binary_generic("value").unwrap(),
        large.as_bytes()
    );
    assert_eq!(
        letters[4].get("id"),
        Some(&Bson::Binary(Binary {
            subtype: BinarySubtype::Uuid,
            bytes: id.plus(3).0.to_vec()
        }))
    );
    let headers = letters[4].get_array("headers").unwrap();
    assert_eq!(
        headers[0]
            .as_document()
            .unwrap()
            .get_binary_generic("value")
            .unwrap(),
        &c
    );
    running.stop().await;

    // Reading them again changes nothing.
    world.reset(0, 0);
    let running = world.start().await;
    world.send(0, &[(id.plus(9), "{}")]);
    world.settled(2).await;
    assert_eq!(world.dead_letters().await, letters);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_a_later_release_or_of_an_unknown_stream_stops_its_partition_alone() {
    let world = World::new(3).await;
    let mut newer = header(world.stream(), EventId::new_base());
    newer[0] = 2;
    let mut other = world.stream().clone();
    other.name = "nobody".into();
    let unknown = header(&other, EventId::new_base());
    let before = events(20);
    for (partition, bad) in [(0, &newer), (1, &unknown)] {
        let part = &before[partition as usize * 10..][..10];
        world.send(partition, &borrowed(part));
        world.send_raw(partition, &[(Some(bad), Some(b"{}"))]);
        world.send(partition, &borrowed(&events(5)));
    }
    let running = world.start().await;
    world.settled(20).await;
    world.send(2, &borrowed(&events(30)));
    world.settled(50).await;
    for partition in [0, 1] {
        world.has_committed(partition, 10).await;
        let line = format!(
            r#"aguacero_consumer_stopped_partition{{topic="{}",partition="{partition}"}}"#,
            world.topic()
        );
        assert_eq!(World::metric(&line), Some(1.0), "{line}");
    }
    assert_eq!(world.dead_letters().await, []);
    running.stop().await;
}

/// Acceptance lets no such event through; should one come nevertheless, it must not block the others.
#[tokio::test(flavor = "multi_thread")]
async fn what_mongodb_can_never_hold_is_told_apart_and_the_others_are_written() {
    let world = World::new(1).await;
    let (archive, source) = archive(&world).await;
    let mut deep = doc! { "a": 1 };
    for _ in 0..250 {
        deep = doc! { "a": deep };
    }
    let documents = [
        doc! { "a": 1 },
        doc! { "a": "x".repeat(17_000_000) },
        doc! { "a": 2 },
        deep,
        doc! { "a": 3 },
    ];
    let events = with_fields(documents);
    let writing = archive.insert(&source, &events, false);
    let archived = tokio::time::timeout(Duration::from_secs(30), writing).await;
    let archived = archived.expect("it is not tried for ever");
    let refused = [false, true, false, true, false];
    let outcomes: Vec<_> = archived
        .outcomes
        .iter()
        .map(|outcome| *outcome == EventOutcome::Refused)
        .collect();
    assert_eq!(outcomes, refused, "{archived:?}");
    let told: Vec<_> = archived.refused.iter().map(|(i, _)| *i).collect();
    assert_eq!(told, [1, 3]);
    assert_eq!(world.archived().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_larger_than_a_command_of_mongodb_is_written_whole_and_known_again() {
    let world = World::new(1).await;
    let (archive, source) = archive(&world).await;
    let large = |n: u8| doc! { "a": char::from(b'a' + n).to_string().repeat(5_000_000) };
    let events = with_fields((0..10).map(large));
    let first = archive.insert(&source, &events[4..6], false).await;
    assert_eq!(first.outcomes, [EventOutcome::New; 2]);
    let all = archive.insert(&source, &events, false).await;
    let mut outcomes = [EventOutcome::New; 10];
    outcomes[4..6].fill(EventOutcome::Repeat);
    assert_eq!(all.outcomes, outcomes);
    assert_eq!(world.archived().await, 10);
}

pub(crate) async fn archive(world: &World) -> (Archive, Source) {
    let archive = Archive::new(Arc::new(world.config.clone())).await.unwrap();
    let position = Position {
        incarnation: "i".into(),
        partition: 0,
    };
    let (topic, epoch) = (0, 1);
    let source = Source {
        topic,
        position,
        epoch,
    };
    (archive, source)
}

/// Events with these fields, as the consumer writes them.
pub(crate) fn with_fields(fields: impl IntoIterator<Item = Document>) -> Vec<Event> {
    let event = |(n, fields): (u16, Document)| {
        let mut id = [n as u8; 16];
        id[..2].copy_from_slice(&n.to_be_bytes());
        let (id, hash) = (EventId(id), id);
        let mut document = doc! { "_id": consumer::decode::uuid(id) };
        document.extend(fields);
        let subtype = BinarySubtype::Generic;
        let bytes = hash.to_vec();
        document.insert("_aguacero", doc! { "hash": Binary { subtype, bytes } });
        Event {
            record: n.into(),
            offset: n.into(),
            stream: 0,
            id,
            hash,
            document: bson::RawDocumentBuf::try_from(&document).unwrap(),
        }
    };
    (0..).zip(fields).map(event).collect()
}

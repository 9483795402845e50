//! Rules that somebody has given a collection: what they refuse is kept, and the others go on.

use std::time::Duration;

use aguacero::id::EventId;
use bson::{Document, doc};
use consumer::{archive::EventOutcome, metric};

use crate::{
    archiving::{archive, with_fields},
    world::{World, borrowed, events, eventually},
};

/// An index of the archive, as somebody makes it by hand.
async fn index(world: &World, keys: Document, options: Document) {
    let name = format!("rule-{}", keys.keys().next().unwrap());
    let mut index = doc! { "key": keys, "name": name };
    index.extend(options);
    make_index(world, &world.stream().archive, index).await;
}

async fn make_index(world: &World, collection: &str, index: Document) {
    let command = doc! { "createIndexes": collection, "indexes": [index] };
    world.database.run_command(command).await.unwrap();
}

/// From now on, no document may have this field.
async fn forbid(world: &World, field: &str) {
    let validator = doc! { field: { "$exists": false } };
    let modify = doc! { "collMod": &world.stream().archive, "validator": validator };
    world.database.run_command(modify).await.unwrap();
}

async fn make_collection(world: &World) {
    world
        .database
        .create_collection(&world.stream().archive)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_any_rule_of_a_collection_refuses_is_a_dead_letter_and_the_others_go_on() {
    let world = World::new(1).await;
    make_collection(&world).await;
    forbid(&world, "forbidden").await;
    index(
        &world,
        doc! { "u": 1 },
        doc! { "unique": true, "sparse": true },
    )
    .await;
    index(&world, doc! { "t": "text" }, doc! {}).await;
    index(&world, doc! { "g": "2dsphere" }, doc! {}).await;
    index(&world, doc! { "flat": "2d" }, doc! {}).await;
    index(&world, doc! { "h": "hashed" }, doc! {}).await;
    index(&world, doc! { "p": 1, "q": 1 }, doc! {}).await;
    let refused = [
        (11000, r#"{"u":7}"#),
        (121, r#"{"forbidden":1}"#),
        (17262, r#"{"t":"lluvia","language":"klingon"}"#),
        (17261, r#"{"t":"lluvia","language":7}"#),
        (16755, r#"{"g":{"type":"Point","coordinates":[500,1]}}"#),
        (13027, r#"{"flat":[500,1]}"#),
        (16766, r#"{"h":[1]}"#),
        (171, r#"{"p":[1],"q":[1]}"#),
    ];
    let id = EventId::new_base();
    let mut all = vec![(id, r#"{"país":"Perú","u":7}"#)];
    let ids = (1..).map(|n| id.plus(n));
    all.extend(ids.zip(refused.map(|(_, json)| json)));
    let good = events(20);
    all.extend(borrowed(&good));
    let last = world.send(0, &all);
    let running = world.start().await;
    world.settled(21).await;
    world.has_committed(0, last + 1).await;
    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), refused.len(), "{letters:?}");
    for (n, (code, json)) in refused.iter().enumerate() {
        let offset = n as i64 + 1;
        let letter = letters
            .iter()
            .find(|l| l.get_i64("offset").ok() == Some(offset));
        let letter = letter.unwrap_or_else(|| panic!("none of {json}"));
        assert_eq!(letter.get_str("reason").unwrap(), "refused");
        let detail = letter.get_str("detail").unwrap();
        let wanted = format!("collection events refuses the event: code {code}: ");
        assert!(detail.starts_with(&wanted), "{json}: {detail}");
        assert!(detail.len() > wanted.len(), "{json}: {detail}");
        assert_eq!(letter.get_binary_generic("value").unwrap(), json.as_bytes());
    }
    let line = format!(r#"{}{{collection="events",code="17262"}}"#, metric::REFUSED);
    assert_eq!(World::metric(&line), Some(1.0));
    running.stop().await;
}

/// Nor is it one if it is read again, and its rule has come meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_archived_already_is_refused_by_no_rule() {
    let world = World::new(1).await;
    let all = events(20);
    world.send(0, &borrowed(&all));
    let running = world.start().await;
    world.settled(20).await;
    forbid(&world, "país").await;
    index(&world, doc! { "texto": 1 }, doc! { "unique": true }).await;
    let last = world.send(0, &borrowed(&all));
    world.has_committed(0, last + 1).await;
    running.stop().await;
    world.reset(0, 0);
    let running = world.start().await;
    let last = world.send(0, &[(EventId::new_base(), "{}")]);
    world.has_committed(0, last + 1).await;
    world.settled(21).await;
    assert_eq!(world.dead_letters().await, []);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_value_under_the_id_of_a_refused_event_is_archived() {
    let world = World::new(1).await;
    make_collection(&world).await;
    forbid(&world, "forbidden").await;
    let id = EventId::new_base();
    let (bad, good) = (r#"{"forbidden":1}"#, r#"{"país":"Perú"}"#);
    let last = world.send(
        0,
        &[(id, bad), (id, bad), (id, good), (id, good), (id, "{}")],
    );
    let running = world.start().await;
    world.has_committed(0, last + 1).await;
    world.settled(1).await;
    let letters = world.dead_letters().await;
    let reasons: Vec<_> = letters
        .iter()
        .map(|l| (l.get_i64("offset").unwrap(), l.get_str("reason").unwrap()))
        .collect();
    let wanted = [(0, "refused"), (1, "refused"), (4, "id-conflict")];
    assert_eq!(reasons, wanted);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_refused_events_cost_no_thousand_commands() {
    let world = World::new(1).await;
    make_collection(&world).await;
    forbid(&world, "forbidden").await;
    world
        .database
        .run_command(doc! { "profile": 2 })
        .await
        .unwrap();
    let (archive, source) = archive(&world).await;
    let all = with_fields((0..1_000).map(|n| doc! { "forbidden": n }));
    let archived = archive.insert(&source, &all, false).await;
    assert_eq!(archived.outcomes, [EventOutcome::Refused; 1_000]);
    assert_eq!(archived.refused.len(), 1_000);
    let profile = world.database.collection::<Document>("system.profile");
    let ns = format!("{}.events", world.database.name());
    let commands = profile.count_documents(doc! { "ns": ns }).await.unwrap();
    assert!((1..=4).contains(&commands), "{commands}");
}

/// A view takes no documents, and MongoDB says so of a single one of them.
#[tokio::test(flavor = "multi_thread")]
async fn what_concerns_the_whole_collection_is_waited_for() {
    let world = World::new(1).await;
    let name = &world.stream().archive;
    let view = doc! { "create": name, "viewOn": "others", "pipeline": [] };
    world.database.run_command(view).await.unwrap();
    let (archive, source) = archive(&world).await;
    let events = with_fields([doc! { "a": 1 }, doc! { "a": 2 }]);
    let writing = archive.insert(&source, &events, false);
    tokio::pin!(writing);
    let early = tokio::time::timeout(Duration::from_secs(1), &mut writing).await;
    assert!(early.is_err(), "{early:?}");
    world.archive().drop().await.unwrap();
    assert_eq!(writing.await.outcomes, [EventOutcome::New; 2]);
}

/// There is no place for a dead letter beside its collection: one that is refused there is not lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_is_refused_is_waited_for() {
    let world = World::new(1).await;
    let index = doc! { "key": { "reason": 1 }, "name": "rule", "unique": true };
    make_index(&world, &world.config.mongodb.dead_letters, index).await;
    world.send_raw(0, &[(None, Some(b"a")), (None, Some(b"b"))]);
    let running = world.start().await;
    let has = async |n: usize| {
        eventually("the dead letters are there", async || {
            let letters = world.dead_letters().await;
            (letters.len() == n)
                .then_some(())
                .ok_or(format!("{letters:?}"))
        })
        .await;
    };
    has(1).await;
    assert!(world.committed(0).is_none_or(|next| next == 0));
    let drop = doc! { "dropIndexes": &world.config.mongodb.dead_letters, "index": "rule" };
    world.database.run_command(drop).await.unwrap();
    has(2).await;
    world.has_committed(0, 2).await;
    running.stop().await;
}

//! Several events under one id.

use aguacero::id::EventId;
use bson::doc;
use consumer::metric;

use crate::world::{World, events, eventually, second_stream};

/// The second stream, with other lines for `archive = "events"`.
fn another_stream(lines: &str) -> String {
    second_stream("NAME").replace(r#"archive = "events""#, lines)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_id_in_two_streams_with_collections_of_their_own_is_archived_in_each() {
    let world = World::with(2, "", &another_stream(r#"archive = "others""#)).await;
    let (id, json) = (EventId::new_base(), r#"{"país":"Perú"}"#);
    // Within one batch, and against the archive; equal values and others.
    for partition in [0, 1] {
        world.send_of(0, partition, &[(id, json), (id.plus(1), json)]);
        world.send_of(
            1,
            partition,
            &[(id, json), (id.plus(1), r#"{"país":"Chile"}"#)],
        );
    }
    let running = world.start().await;
    world.settled(4).await;
    for partition in [0, 1] {
        world.has_committed(partition, 4).await;
    }
    world.settled(4).await;
    let other = &world.config.streams[1];
    let mut other = world
        .archive_counts(other)
        .await
        .1
        .into_iter()
        .collect::<Vec<_>>();
    other.sort();
    assert_eq!(other, [("Chile".to_owned(), 1), ("Perú".to_owned(), 1)]);
    assert_eq!(world.dead_letters().await, []);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_value_in_other_bytes_is_a_repeat() {
    let world = World::new(2).await;
    let id = EventId::new_base();
    let same = [
        r#"{"país":"Perú","n":[1.50,100],"o":{"a":1,"b":2}}"#,
        r#" { "país" : "Perú" , "n" : [ 1.50 , 100 ], "o" : { "a" : 1 , "b" : 2 } } "#,
        r#"{"pa\u00eds":"Per\u00fa","n":[15e-1,1e2],"o":{"b":2,"a":1}}"#,
        r#"{"o":{"b":2.0,"a":1},"n":[1.5,100.0],"país":"Perú"}"#,
    ];
    let under_one_id: Vec<_> = same.iter().map(|json| (id, *json)).collect();
    // Within one batch, from another partition, after a restart and after the group begins again.
    let first = world.send(0, &under_one_id);
    let running = world.start().await;
    world.has_committed(0, first + 1).await;
    world.settled(1).await;
    let second = world.send(1, &under_one_id[1..]);
    world.has_committed(1, second + 1).await;
    running.stop().await;
    world.reset(0, 1);
    let running = world.start().await;
    let last = world.send(0, &[(id, same[2]), (id.plus(1), same[2])]);
    world.has_committed(0, last + 1).await;
    world.settled(2).await;
    assert_eq!(world.dead_letters().await, []);
    let kept = world.archive().find_one(doc! { "n": 1.5 }).await.unwrap();
    let kept = kept.unwrap();
    assert_eq!(
        kept.get_array("n").unwrap()[1],
        bson::Bson::Int32(100),
        "the first"
    );

    let last = world.send(
        1,
        &[(id, r#"{"país":"Perú","n":[1.5,101],"o":{"a":1,"b":2}}"#)],
    );
    world.has_committed(1, last + 1).await;
    assert_eq!(world.dead_letters().await.len(), 1, "another value");
    running.stop().await;
}

/// Many at once, so that they are read in several steps; some of them differ.
#[tokio::test(flavor = "multi_thread")]
async fn values_are_compared_however_many_there_are() {
    let world = World::new(1).await;
    let all = events(450);
    let first: Vec<_> = all.iter().map(|(id, json)| (*id, &**json)).collect();
    world.send(0, &first);
    let running = world.start().await;
    world.settled(450).await;
    let spaced = |(n, (id, json)): (usize, &(EventId, String))| match n % 50 {
        0 => (*id, r#"{"país":"Perú"}"#.to_owned()),
        _ => (*id, json.replace(':', " : ")),
    };
    let again: Vec<_> = all.iter().enumerate().map(spaced).collect();
    let again: Vec<_> = again.iter().map(|(id, json)| (*id, &**json)).collect();
    let last = world.send(0, &again);
    world.has_committed(0, last + 1).await;
    world.settled(450).await;
    assert_eq!(world.dead_letters().await.len(), 9);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_first_is_declared_it_is_kept_and_the_others_are_counted() {
    let lines = "archive = \"others\"\non_id_conflict = \"first\"";
    let world = World::with(2, "", &another_stream(lines)).await;
    let id = EventId::new_base();
    let at = |n: u8| format!(r#"{{"país":"Perú","sent_at":{n}}}"#);
    let (one, two, three) = (at(1), at(2), at(3));
    world.send_of(1, 0, &[(id, &one), (id, &two), (id, &one)]);
    let running = world.start().await;
    world.settled(1).await;
    let last = world.send_of(1, 1, &[(id, &three), (id, &one)]);
    // Another stream still has its dead letter.
    world.send(0, &[(id, &one), (id, &two)]);
    eventually("all is archived", async || {
        match world.dead_letters().await.len() {
            1 => Ok(()),
            n => Err(n.to_string()),
        }
    })
    .await;
    world.settled(2).await;
    world.has_committed(1, last + 1).await;
    let kept = world.database.collection::<bson::Document>("others");
    let kept = kept.find_one(doc! {}).await.unwrap().unwrap();
    assert_eq!(kept.get_i32("sent_at").unwrap(), 1);
    let stream = &world.config.streams[1].name;
    let line = format!(r#"{}{{stream="{stream}"}}"#, metric::NOT_FIRST);
    assert_eq!(World::metric(&line), Some(2.0));
    running.stop().await;
}

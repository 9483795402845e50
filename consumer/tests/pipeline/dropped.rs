//! What operators do to a collection under a running consumer.

use aguacero::config::Stream;
use bson::{Document, doc};
use consumer::metric;
use futures_util::TryStreamExt as _;

use crate::world::{World, borrowed, events, eventually};

const POSITION: &str =
    "_aguacero.stream_1__aguacero.incarnation_1__aguacero.partition_1__aguacero.offset_1";

fn keys() -> Document {
    doc! { "_aguacero.stream": 1, "_aguacero.incarnation": 1, "_aguacero.partition": 1, "_aguacero.offset": 1 }
}

async fn indices(world: &World, stream: &Stream) -> Vec<Document> {
    let list = doc! { "listIndexes": &stream.archive };
    match world.database.run_cursor_command(list).await {
        Ok(cursor) => cursor.try_collect().await.unwrap(),
        Err(_) => Vec::new(), // no collection
    }
}

/// Until every index of the archive is there again.
async fn has_its_indices(world: &World) {
    eventually("the indices are there", async || {
        let there = indices(world, world.stream()).await;
        let is_there = |name: &&str| there.iter().any(|i| i.get_str("name").ok() == Some(*name));
        let all = [POSITION, "_aguacero.at_-1", "país_1"].iter().all(is_there);
        let is_hidden = there.iter().any(|i| i.get_bool("hidden").unwrap_or(false));
        (all && !is_hidden)
            .then_some(())
            .ok_or(format!("{there:?}"))
    })
    .await;
}

fn mended() -> f64 {
    let line = format!(r#"{}{{collection="events"}}"#, metric::INDICES_MENDED);
    World::metric(&line).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_dropped_or_hidden_is_mended_and_archiving_goes_on() {
    let mut world = World::new(1).await;
    let running = world.start().await;
    world.send(0, &borrowed(&events(10)));
    world.settled(10).await;
    let name = world.stream().archive.clone();
    let drop_position = doc! { "dropIndexes": &name, "index": POSITION };
    let drop_all = doc! { "dropIndexes": &name, "index": "*" };
    let hide = doc! { "collMod": &name, "index": { "name": POSITION, "hidden": true } };
    for (n, command) in (2..).zip([drop_position, drop_all, hide]) {
        let before = mended();
        world.database.run_command(command).await.unwrap();
        // What Redis has lost is read by the index.
        crate::world::forget(&mut world).await;
        world.send(0, &borrowed(&events(10)));
        world.settled(10 * n).await;
        world.has_committed(0, 10 * n).await;
        has_its_indices(&world).await;
        eventually("it is counted", async || {
            let now = mended();
            (now > before)
                .then_some(())
                .ok_or(format!("{now} as before"))
        })
        .await;
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_or_a_database_that_is_dropped_is_made_again() {
    let world = World::new(1).await;
    let running = world.start().await;
    for round in 0..2 {
        let last = world.send(0, &borrowed(&events(10)));
        world.has_archived(10).await;
        world.has_committed(0, last + 1).await;
        match round {
            0 => world.archive().drop().await.unwrap(),
            _ => world.database.drop().await.unwrap(),
        }
        has_its_indices(&world).await;
    }
    let last = world.send(0, &borrowed(&events(10)));
    world.has_archived(10).await;
    world.has_committed(0, last + 1).await;
    running.stop().await;
}

/// Indices of the same fields that somebody has made before: one leaves documents out, one compares otherwise, and
/// the first has taken the usual name.
#[tokio::test(flavor = "multi_thread")]
async fn counters_are_read_by_an_index_that_has_every_document() {
    let mut world = World::new(1).await;
    let nothing = doc! { "nobody": { "$exists": true } };
    let indexes = vec![
        doc! { "key": keys(), "name": POSITION, "partialFilterExpression": nothing },
        doc! { "key": keys(), "name": "spanish", "collation": { "locale": "es" } },
    ];
    let make = doc! { "createIndexes": &world.stream().archive, "indexes": indexes };
    world.database.run_command(make).await.unwrap();
    let running = world.start().await;
    world.send(0, &borrowed(&events(10)));
    world.settled(10).await;
    crate::world::forget(&mut world).await;
    world.settled(10).await;
    running.stop().await;
}

//! What fails twice is done right the third time: the first attempt must have used up nothing.
//!
//! MongoDB is made to refuse by rules of its own (a view, a validator, an index that is gone), and its
//! profiler says how often it was asked.

use bson::{Document, doc};

use crate::{
    proxy::Proxy,
    world::{World, borrowed, events, eventually, forget, header, second_stream},
};

impl World {
    async fn command(&self, command: Document) {
        self.database.run_command(command).await.unwrap();
    }

    /// From now on MongoDB notes what it is asked.
    async fn profile(&self) {
        self.command(doc! { "profile": 2 }).await;
    }

    /// Waits until MongoDB was asked at least `n` times.
    async fn was_asked(&self, n: u64, what: Document) {
        let profile = self.database.collection::<Document>("system.profile");
        eventually("MongoDB is asked again", async || {
            match profile.count_documents(what.clone()).await.unwrap() {
                asked if asked >= n => Ok(()),
                asked => Err(format!("{asked} times: {what}")),
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn indices_that_cannot_be_made_twice_are_made_a_third_time() {
    let world = World::new(1).await;
    // The profiler does not see them; no other test lets any fail.
    let failed = async || {
        let status = world
            .database
            .run_command(doc! { "serverStatus": 1 })
            .await
            .unwrap();
        let commands = status
            .get_document("metrics")
            .unwrap()
            .get_document("commands")
            .unwrap();
        commands
            .get_document("listIndexes")
            .unwrap()
            .get_i64("failed")
            .unwrap()
    };
    let before = failed().await;
    let view = doc! { "create": "events", "viewOn": "other", "pipeline": [] };
    world.command(view).await;
    world.send(0, &borrowed(&events(3)));
    let running = world.start().await;
    eventually("MongoDB is asked again", async || {
        match failed().await - before {
            times if times >= 2 => Ok(()),
            times => Err(format!("{times} times")),
        }
    })
    .await;
    world.command(doc! { "drop": "events" }).await;
    world.settled(3).await;
    running.stop().await;
}

/// Of two streams, whose events alternate: one has a view where its collection should be.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_written_in_part_twice_is_completed_and_counted_once() {
    let others = second_stream("NAME").replace(r#"archive = "events""#, r#"archive = "others""#);
    let world = World::with(1, "", &others).await;
    // The profiler does not see inserts into a view.
    let retries = || World::metric(consumer::metric::ARCHIVE_RETRIES).unwrap_or_default();
    let running = world.start().await;
    world.send(0, &borrowed(&events(1)));
    world.settled(1).await;
    eventually("the view is there", async || {
        let view = doc! { "create": "others", "viewOn": "nothing", "pipeline": [] };
        world.command(doc! { "drop": "others" }).await;
        let made = world.database.run_command(view).await; // the consumer may be faster
        made.map(|_| ()).map_err(|e| e.to_string())
    })
    .await;
    let records: Vec<_> = events(10)
        .into_iter()
        .enumerate()
        .map(|(n, (id, json))| (header(&world.config.streams[n % 2], id), json))
        .collect();
    let records: Vec<_> = records
        .iter()
        .map(|(header, json)| (Some(&header[..]), Some(json.as_bytes())))
        .collect();
    world.send_raw(0, &records);
    world.has_archived(6).await;
    let before = retries();
    eventually("MongoDB is asked again", async || match retries() {
        now if now >= before + 2.0 => Ok(()),
        now => Err(format!("{before}, {now}")),
    })
    .await;
    let committed = world.committed(0);
    assert!(committed.is_none_or(|next| next < 11), "some are not there");
    world.command(doc! { "drop": "others" }).await;
    world.settled(11).await;
    world.has_committed(0, 11).await;
    assert_eq!(world.dead_letters().await, []);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_cannot_be_written_twice_is_kept_with_its_bytes() {
    let world = World::new(1).await;
    world.profile().await;
    let letters = &*world.config.mongodb.dead_letters;
    let none = doc! { "nothing": { "$exists": true } };
    world
        .command(doc! { "create": letters, "validator": none })
        .await;
    let id = aguacero::id::EventId::new_base();
    let damaged = b"{\"texto\": \"\xff\x00";
    let head = header(world.stream(), id);
    world.send_raw(0, &[(Some(&head), Some(damaged))]);
    world.send(0, &borrowed(&events(2)));
    let running = world.start().await;
    world.was_asked(3, doc! { "command.insert": letters }).await;
    assert_eq!(world.committed(0), None, "it is nowhere yet");
    world
        .command(doc! { "collMod": letters, "validator": {} })
        .await;
    world.settled(2).await;
    world.has_committed(0, 3).await;
    let kept = world.dead_letters().await;
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(kept[0].get_binary_generic("value").unwrap(), damaged);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_cannot_be_counted_twice_is_counted_the_third_time() {
    let mut world = World::new(1).await;
    let uri = &world.config.mongodb.uri;
    let host = uri.split_once("://").unwrap().1.to_owned();
    let mongodb = Proxy::to(host.split(['/', '?']).next().unwrap()).await;
    world.config.mongodb.uri = format!("mongodb://{}/?directConnection=true", mongodb.address);
    let running = world.start().await;
    world.send(0, &borrowed(&events(10)));
    world.settled(10).await;
    world.has_committed(0, 10).await;
    // The driver tries each of our attempts twice.
    mongodb.lose_answers(4, b"\x02find\0");
    forget(&mut world).await;
    eventually("all were lost", async || match mongodb.answers_to_lose() {
        0 => Ok(()),
        n => Err(format!("{n} to come")),
    })
    .await;
    world.settled(10).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settle_whose_answer_is_lost_twice_counts_once() {
    let mut world = World::new(1).await;
    let host = world
        .config
        .redis
        .url
        .split_once("://")
        .unwrap()
        .1
        .to_owned();
    let redis = Proxy::to(host.split('/').next().unwrap()).await;
    world.config.redis.url = format!("redis://{}", redis.address);
    let running = world.start().await;
    world.send(0, &borrowed(&events(5)));
    world.settled(5).await;
    for sent in [12, 19] {
        redis.lose_answers(2, b"EVALSHA");
        world.send(0, &borrowed(&events(7)));
        world.settled(sent).await;
        world.has_committed(0, sent).await;
        eventually("both were lost", async || match redis.answers_to_lose() {
            0 => Ok(()),
            n => Err(format!("{n} to come")),
        })
        .await;
        world.settled(sent).await;
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_is_lost_is_archived_and_counted_once() {
    let mut world = World::new(1).await;
    let uri = &world.config.mongodb.uri;
    let host = uri.split_once("://").unwrap().1.to_owned();
    let mongodb = Proxy::to(host.split(['/', '?']).next().unwrap()).await;
    world.config.mongodb.uri = format!("mongodb://{}/?directConnection=true", mongodb.address);
    let running = world.start().await;
    world.send(0, &borrowed(&events(5)));
    world.settled(5).await;
    for sent in [12, 19] {
        // The driver tries each of our attempts twice.
        mongodb.lose_answers(4, b"\x02insert\0");
        world.send(0, &borrowed(&events(7)));
        world.settled(sent).await;
        world.has_committed(0, sent).await;
        assert_eq!(mongodb.answers_to_lose(), 0, "all were lost");
    }
    assert_eq!(world.dead_letters().await, []);
    running.stop().await;
}

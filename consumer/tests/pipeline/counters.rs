//! Redis shows what the archive holds, whatever happened.

use bson::doc;

use crate::world::{World, borrowed, events, eventually, forget, second_stream};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_counted_live_is_replaced_by_what_was_archived() {
    let mut world = World::new(2).await;
    let events = events(4);
    let last = world.send(0, &borrowed(&events));
    // Two of them once more, as a retry would; the gateway counts what it has a receipt for.
    let again = world.send(0, &borrowed(&events[..2]));
    let position = world.position(0);
    world
        .live(
            position.clone(),
            (0, last),
            &["Perú", "Chile", "España", "México"],
        )
        .await;
    world
        .live(position.clone(), (last + 1, again), &["Perú", "Chile"])
        .await;
    let running = world.start().await;
    world.settled(4).await;
    // Late and repeated frames change nothing either.
    world
        .live(position, (0, last), &["Perú", "Chile", "España", "México"])
        .await;
    world.settled(4).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_everything_again_leaves_the_counters_exact() {
    let world = World::new(2).await;
    world.send(0, &borrowed(&events(700)));
    world.send(1, &borrowed(&events(300)));
    let running = world.start().await;
    world.settled(1000).await;
    running.stop().await;
    for partition in [0, 1] {
        world.reset(partition, 0);
    }
    let running = world.start().await;
    let last = world.send(0, &borrowed(&events(1)));
    world.has_committed(0, last + 1).await;
    world.has_committed(1, 300).await;
    world.settled(1001).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_was_emptied_is_filled_again_and_so_are_the_counters() {
    let world = World::new(1).await;
    world.send(0, &borrowed(&events(100)));
    let running = world.start().await;
    world.settled(100).await;
    running.stop().await;
    world
        .archive()
        .delete_many(bson::doc! { "_aguacero.offset": { "$lt": 50 } })
        .await
        .unwrap();
    world.reset(0, 20);
    let running = world.start().await;
    world.settled(80).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_redis_is_filled_again_also_for_idle_partitions() {
    let mut world = World::with(3, "settle_step = 7", "").await;
    world.send(0, &borrowed(&events(100)));
    world.send(1, &borrowed(&events(50)));
    let running = world.start().await;
    world.settled(150).await;
    for _ in 0..2 {
        forget(&mut world).await;
        world.settled(150).await;
    }
    running.stop().await;
    // While nobody was there to see it.
    forget(&mut world).await;
    let running = world.start().await;
    world.settled(150).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_streams_of_one_topic_keep_ledgers_of_their_own() {
    let mut world = World::with(1, "", &second_stream("NAME")).await;
    let (first, second, third) = (events(30), events(20), events(10));
    world.send(0, &borrowed(&first));
    let other = &world.config.streams[1];
    let headers: Vec<_> = second
        .iter()
        .map(|(id, json)| (crate::world::header(other, *id), json.as_bytes()))
        .collect();
    let records: Vec<_> = headers
        .iter()
        .map(|(header, json)| (Some(&header[..]), Some(*json)))
        .collect();
    world.send_raw(0, &records);
    let running = world.start().await;
    world.settled(50).await;
    world.send(0, &borrowed(&third));
    world.send_raw(0, &records);
    world.settled(60).await;
    forget(&mut world).await;
    world.settled(60).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_made_again_begins_anew_and_loses_nothing() {
    let mut world = World::new(2).await;
    world.send(0, &borrowed(&events(40)));
    world.send(1, &borrowed(&events(10)));
    let old = world.position(0);
    let running = world.start().await;
    world.settled(50).await;
    // Counted live, and gone with the topic before it could be archived.
    world
        .live(old.clone(), (40, 42), &["Perú", "Perú", "Chile"])
        .await;
    world.delete_topic().await;
    world.create_topic().await;
    assert_ne!(world.position(0), old);
    world.send(0, &borrowed(&events(25)));
    world.send(1, &borrowed(&events(60)));
    world.settled(135).await;
    // Late, of the topic that is gone.
    world.live(old, (0, 3), &["Perú"]).await;
    world.settled(135).await;
    forget(&mut world).await;
    world.settled(135).await;
    running.stop().await;
}

/// As a consumer does that was killed, whose last write MongoDB makes after somebody else has its partition.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_archived_late_of_a_topic_that_is_gone_is_counted() {
    let mut world = World::new(1).await;
    world.send(0, &borrowed(&events(20)));
    let running = world.start().await;
    world.settled(20).await;
    // Redis shows them again after the consumer has asked the archive which positions there are.
    forget(&mut world).await;
    world.settled(20).await;
    let mut late = world.archive().find_one(doc! {}).await.unwrap().unwrap();
    late.insert("_id", "late");
    let ours = late.get_document_mut("_aguacero").unwrap();
    ours.insert("incarnation", "of-a-topic-that-is-gone");
    world.archive().insert_one(late).await.unwrap();
    world.settled(21).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_made_again_while_nobody_consumed_is_read_from_its_beginning() {
    let mut world = World::new(1).await;
    world.send(0, &borrowed(&events(10)));
    let running = world.start().await;
    world.settled(10).await;
    running.stop().await;
    let old = world.position(0);
    world.delete_topic().await;
    world.create_topic().await;
    // More than the old one had, so that its committed offset would fit: Kafka forgets it with the
    // topic, but a commit may have been on its way.
    world.send(0, &borrowed(&events(30)));
    world.commit(0, 10, &old.incarnation);
    let running = world.start().await;
    world.settled(40).await;
    forget(&mut world).await;
    world.settled(40).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_counts_the_archive_again() {
    let mut world = World::with(2, "settle_step = 9", "").await;
    world.send(0, &borrowed(&events(40)));
    world.send(1, &borrowed(&events(20)));
    let running = world.start().await;
    world.settled(60).await;
    running.stop().await;
    // Something has gone wrong with Redis.
    let key = format!("{{{}}}:by_country", world.stream().name);
    let () = redis::cmd("HINCRBY")
        .arg(key)
        .arg("Perú")
        .arg(5)
        .query_async(&mut world.redis)
        .await
        .unwrap();
    consumer::rebuild(world.config.clone(), &world.stream().name.clone(), false)
        .await
        .unwrap();
    assert_eq!(
        world.archive_counts(world.stream()).await,
        world.shown(world.stream()).await
    );
    let running = world.start().await;
    consumer::rebuild(world.config.clone(), &world.stream().name.clone(), false)
        .await
        .unwrap();
    world.send(0, &borrowed(&events(5)));
    world.settled(65).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_redis_loses_of_a_stream_is_counted_anew_within_seconds() {
    let mut world = World::new(2).await;
    world.send(0, &borrowed(&events(60)));
    world.send(1, &borrowed(&events(40)));
    let running = world.start().await;
    world.settled(100).await;
    let position = world.position(0);
    let pending = format!("pending:{position}");
    for part in [
        "watermark",
        "by_country",
        "total",
        "settled",
        "settled:by_country",
        "meta",
        "pending",
        &pending,
    ] {
        // Something is pending, which the archive will never have.
        let beyond = (1000, 1001);
        world
            .live(position.clone(), beyond, &["Perú", "Chile"])
            .await;
        eventually("it was there", async || {
            match delete(&mut world, part).await {
                1 => Ok(()),
                n => Err(format!("{part}: {n}")),
            }
        })
        .await;
        world.settled(100).await;
    }
    running.stop().await;
    // While nobody was there to see it, and with live deltas on top.
    let mut sent = 100;
    for part in ["watermark", "by_country", "settled"] {
        assert_eq!(delete(&mut world, part).await, 1);
        let last = world.send(0, &borrowed(&events(3)));
        world
            .live(position.clone(), (last - 2, last), &["Perú"])
            .await;
        let running = world.start().await;
        sent += 3;
        world.settled(sent).await;
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_that_somebody_else_has_changed_mend_themselves_also_after_a_restart() {
    let mut world = World::with(2, "audit_interval_ms = 1000", "").await;
    world.send(0, &borrowed(&events(60)));
    let running = world.start().await;
    world.settled(60).await;
    let by_country = format!("{{{}}}:by_country", world.stream().name);
    let change = async |world: &mut World| {
        let mut change = redis::cmd("HINCRBY");
        let change = change.arg(&by_country).arg("Perú").arg(5);
        let _: i64 = change.query_async(&mut world.redis).await.unwrap();
    };
    change(&mut world).await;
    world.settled(60).await;
    running.stop().await;
    change(&mut world).await;
    let running = world.start().await;
    world.settled(60).await;
    // Documents that somebody deletes are counted no more.
    let some = bson::doc! { "_aguacero.offset": { "$lt": 20 } };
    world.archive().delete_many(some).await.unwrap();
    world.settled(40).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_below_a_watermark_is_counted_also_if_the_consumer_is_killed_at_once() {
    let world = World::with(1, "audit_interval_ms = 1000", "").await;
    world.send(0, &borrowed(&events(250)));
    let running = world.start().await;
    world.settled(250).await;
    let some = bson::doc! { "_aguacero.offset": { "$lt": 50 } };
    world.archive().delete_many(some).await.unwrap();
    world.settled(200).await;
    running.stop().await;
    world.reset(0, 0);
    let process = world.spawn("one");
    world.has_archived(250).await;
    drop(process);
    let running = world.start().await;
    world.settled(250).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pending_below_the_end_of_the_archive_is_settled_whosever_the_end_is() {
    let mut world = World::with(1, "batch_records_max = 7", &second_stream("NAME")).await;
    let running = world.start().await;
    let position = world.position(0);
    for round in 0..3 {
        // A slab of both with one event of the first, whose entry reaches to the slab's end, is counted live
        // before it is read.
        let (first, last) = (20 * round, 20 * round + 19);
        world
            .live_of(0, position.clone(), (first, last), &["Perú"])
            .await;
        let all = events(20);
        let mixed: Vec<_> = all
            .iter()
            .enumerate()
            .map(|(i, (id, json))| (usize::from(i > 0), *id, &json[..]))
            .collect();
        assert_eq!(world.send_mixed(0, &mixed), last);
        world.settled(last + 1).await;
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_or_database_that_was_dropped_is_counted_right_with_redis_or_without() {
    let mut world = World::new(2).await;
    world.send(0, &borrowed(&events(60)));
    world.send(1, &borrowed(&events(10)));
    let running = world.start().await;
    world.settled(70).await;
    let mut later = 0;
    for what in ["collection", "database", "collection and Redis"] {
        match what {
            "database" => world.database.drop().await.unwrap(),
            _ => world.archive().drop().await.unwrap(),
        }
        if what == "collection and Redis" {
            forget(&mut world).await;
        }
        world.settled(0).await;
        later += 5;
        world.send(0, &borrowed(&events(later)));
        world.settled(later as i64).await;
    }
    running.stop().await;
    // While nobody was there to see it.
    world.archive().drop().await.unwrap();
    let running = world.start().await;
    world.send(0, &borrowed(&events(3)));
    world.settled(3).await;
    running.stop().await;
}

async fn delete(world: &mut World, part: &str) -> i32 {
    let key = format!("{{{}}}:{part}", world.stream().name);
    let mut delete = redis::cmd("DEL");
    delete.arg(key).query_async(&mut world.redis).await.unwrap()
}

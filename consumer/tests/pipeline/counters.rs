//! Redis shows what the archive holds, whatever happened.

use crate::world::{World, borrowed, events, forget, second_stream};

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

//! Stores that are away, and consumers that are killed.

use std::time::Duration;

use crate::{
    proxy::Proxy,
    world::{World, borrowed, events, eventually},
};

/// `host:port` of a URL.
fn host(url: &str) -> String {
    let rest = url.split_once("://").unwrap().1;
    rest.split(['/', '?']).next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn mongodb_that_was_away_gets_everything_when_it_is_back() {
    let mut world = World::new(2).await;
    (
        world.config.consumer.buffer_bytes_max,
        world.config.consumer.batch_bytes_max,
    ) = (100_000, 20_000);
    let mongodb = Proxy::to(&host(&world.config.mongodb.uri)).await;
    world.config.mongodb.uri = format!("mongodb://{}/?directConnection=true", mongodb.address);
    let running = world.start().await;
    let mut sent = 0;
    for _ in 0..2 {
        world.send(0, &borrowed(&events(200)));
        world.settled(sent + 200).await;
        mongodb.cut();
        // More than may be in memory: the partition has to be paused.
        for _ in 0..10 {
            world.send(0, &borrowed(&events(200)));
        }
        sent += 2200;
        eventually("the partition is paused", async || {
            match World::metric("aguacero_consumer_paused_partitions ") {
                Some(paused) if paused >= 1.0 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        mongodb.mend();
        world.settled(sent).await;
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_archive_goes_on_while_redis_is_away_and_the_counters_follow() {
    let mut world = World::with(2, "settle_step = 100", "").await;
    let redis = Proxy::to(&host(&world.config.redis.url)).await;
    world.config.redis.url = format!("redis://{}", redis.address);
    // Also for one that is started meanwhile.
    redis.cut();
    let running = world.start().await;
    let mut last = [0, 0];
    for round in 1..=3 {
        for partition in 0..2 {
            last[partition as usize] = world.send(partition, &borrowed(&events(500)));
        }
        let sent = 1000 * round;
        world.has_archived(sent).await;
        for partition in 0..2 {
            world
                .has_committed(partition, last[partition as usize] + 1)
                .await;
        }
        if round == 2 {
            redis.mend();
            world.settled(sent).await;
            redis.cut();
        }
    }
    // A restart forgets what was not settled.
    running.stop().await;
    redis.mend();
    let running = world.start().await;
    world.settled(3000).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_consumer_leaves_nothing_out_and_nothing_twice() {
    let world = World::with(2, "batch_records_max = 50", "").await;
    let mut sent = 0;
    for round in 0..6 {
        let process = world.spawn("one");
        let before = world.archived().await;
        for partition in 0..2 {
            world.send(partition, &borrowed(&events(2000)));
            sent += 2000;
        }
        eventually("something is archived", async || {
            let now = world.archived().await;
            if now > before {
                Ok(())
            } else {
                Err(format!("{now}"))
            }
        })
        .await;
        tokio::time::sleep(Duration::from_millis(7 * round)).await; // at another point each time
        drop(process);
    }
    let running = world.start().await;
    world.settled(sent).await;
    running.stop().await;
}

//! Several consumers of one group, and consumers that come and go.

use crate::world::{World, borrowed, events, eventually, second_stream};

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_the_partitions_and_one_may_leave() {
    let world = World::with(4, "session_timeout_ms = 6000", "").await;
    let (first, second) = (world.start().await, world.start().await);
    let mut sent = 0;
    for round in 0..10 {
        for partition in 0..4 {
            world.send(partition, &borrowed(&events(25)));
            sent += 25;
        }
        if round == 5 {
            world.has_archived(sent).await;
        }
    }
    world.settled(sent).await;
    first.stop().await;
    for partition in 0..4 {
        world.send(partition, &borrowed(&events(10)));
        sent += 10;
    }
    world.settled(sent).await;
    assert_eq!(world.dead_letters().await, []);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kafka_had_deleted_before_it_was_read_is_told() {
    let world = World::new(1).await;
    world.send(0, &borrowed(&events(10)));
    let running = world.start().await;
    world.settled(10).await;
    world.has_committed(0, 10).await;
    running.stop().await;
    world.send(0, &borrowed(&events(20)));
    world.delete_records(0, 17).await;
    let running = world.start().await;
    world.settled(23).await;
    let line = format!(
        r#"aguacero_consumer_lost_total{{topic="{}",partition="0"}}"#,
        world.topic()
    );
    eventually("the loss is told", async || match World::metric(&line) {
        Some(7.0) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_replica_comes_back_to_its_partitions() {
    let world = World::with(2, "instance = \"one\"", "").await;
    let mut sent = 0;
    for _ in 0..3 {
        let running = world.start().await;
        for partition in 0..2 {
            world.send(partition, &borrowed(&events(15)));
            sent += 15;
        }
        world.settled(sent).await;
        running.stop().await;
    }
    let committed: i64 = (0..2).filter_map(|p| world.committed(p)).sum();
    assert_eq!(committed, sent);
}

/// As in a rolling restart with a configuration that has more.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_named_replicas_did_not_have_before_they_came_back_is_archived() {
    let topic = "[topics.NAME-b]\npartitions = 1\nreplication = 1\nmin_insync = 1\n";
    let another = topic.to_owned() + &second_stream("NAME-b");
    let world = World::with(2, "session_timeout_ms = 6000", &another).await;
    let mut before = world.config.clone();
    before.streams.truncate(1);
    let one = world.start_as("one", &before).await;
    let two = world.start_as("two", &before).await;
    world.send(0, &borrowed(&events(10)));
    world.has_archived(10).await;
    one.stop().await;
    let one = world.start_as("one", &world.config).await;
    two.stop().await;
    let two = world.start_as("two", &world.config).await;
    world.send(0, &borrowed(&events(10)));
    world.send_of(1, 0, &borrowed(&events(10)));
    world.settled(30).await;
    one.stop().await;
    two.stop().await;
}

/// Nobody else comes or goes, and nothing makes the group think anew.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_are_added_under_a_lone_named_replica_are_archived() {
    let world = World::with(2, "session_timeout_ms = 6000", "").await;
    for sent in [10, 30] {
        let one = world.start_as("one", &world.config).await;
        world.send(0, &borrowed(&events(10)));
        world.settled(sent).await;
        let partition = i32::try_from(sent / 10 + 1).unwrap();
        world
            .add_partitions(usize::try_from(partition + 1).unwrap())
            .await;
        world.send(partition, &borrowed(&events(10)));
        world.settled(sent + 10).await;
        one.stop().await;
    }
}

/// With members that all got their old partitions back.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_are_added_after_named_replicas_came_back_are_archived() {
    let world = World::with(2, "session_timeout_ms = 6000", "").await;
    let mut sent = 0;
    let mut send_to = |partitions: i32| {
        for partition in 0..partitions {
            world.send(partition, &borrowed(&events(10)));
            sent += 10;
        }
        sent
    };
    for _ in 0..2 {
        let one = world.start_as("one", &world.config).await;
        let two = world.start_as("two", &world.config).await;
        world.settled(send_to(2)).await;
        one.stop().await;
        two.stop().await;
    }
    let one = world.start_as("one", &world.config).await;
    let two = world.start_as("two", &world.config).await;
    world.settled(send_to(2)).await;
    world.add_partitions(4).await;
    world.settled(send_to(4)).await;
    one.stop().await;
    two.stop().await;
}

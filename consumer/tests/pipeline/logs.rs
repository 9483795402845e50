//! What happens to a partition's log, and to the group's offset in it: nothing of it is passed over in silence.

use std::time::Duration;

use aguacero::{id::EventId, kafka::client_config, record::HEADER};
use rdkafka::{
    message::{Header as KafkaHeader, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer as _},
};

use crate::world::{World, borrowed, events, eventually, header};

const TIMEOUT: Duration = Duration::from_secs(30);

/// What a metric of the first topic's partition 0 comes to; none is 0.
async fn comes_to(world: &World, metric: &str, value: f64) {
    eventually(
        &format!("{metric} is {value}"),
        async || match of_partition(world, metric) {
            n if n == value => Ok(()),
            n => Err(n.to_string()),
        },
    )
    .await;
}

fn of_partition(world: &World, metric: &str) -> f64 {
    let labels = format!(r#"{{topic="{}",partition="0"}}"#, world.topic());
    World::metric(&(metric.to_owned() + &labels)).unwrap_or_default()
}

const STOPPED: &str = "aguacero_consumer_stopped_partition";
const LOST: &str = "aguacero_consumer_lost_total";
const PASSED_OVER: &str = "aguacero_consumer_passed_over_total";

/// Nothing arrives that could tell, and the offset goes on all the same.
#[tokio::test(flavor = "multi_thread")]
async fn retention_that_passes_over_an_idle_partition_is_told_and_it_is_finished_behind_it() {
    let world = World::new(1).await;
    world.send(0, &borrowed(&events(10)));
    let running = world.start().await;
    world.settled(10).await;
    world.has_committed(0, 10).await;
    running.stop().await;
    world.send(0, &borrowed(&events(20)));
    world.delete_records(0, 30).await;
    let running = world.start().await;
    world.has_committed(0, 30).await;
    comes_to(&world, LOST, 20.0).await;
    // A partition that has read everything loses nothing.
    world.send(0, &borrowed(&events(5)));
    world.settled(15).await;
    world.delete_records(0, 35).await;
    world.send(0, &borrowed(&events(5)));
    world.settled(20).await;
    comes_to(&world, LOST, 20.0).await;
    running.stop().await;
}

/// While a partition has stopped, somebody deletes what it has stopped at.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_stopped_at_a_record_that_is_deleted_goes_on_behind_it() {
    let world = World::new(1).await;
    let mut later = header(world.stream(), EventId::new_base());
    later[0] = 2;
    world.send_raw(0, &[(Some(&later), Some(b"{}"))]);
    world.send(0, &borrowed(&events(5)));
    let running = world.start().await;
    comes_to(&world, STOPPED, 1.0).await;
    world.delete_records(0, 1).await;
    world.settled(5).await;
    comes_to(&world, STOPPED, 0.0).await;
    comes_to(&world, LOST, 1.0).await;
    running.stop().await;
}

/// Somebody else's transactions: each leaves a mark that no consumer is given, and some are taken back.
#[tokio::test(flavor = "multi_thread")]
async fn marks_of_transactions_are_no_loss() {
    let world = World::new(1).await;
    let running = world.start().await;
    world.send(0, &borrowed(&events(1)));
    let producer: BaseProducer = client_config(&world.config.kafka, "test")
        .set("transactional.id", world.topic())
        .create()
        .unwrap();
    producer.init_transactions(TIMEOUT).unwrap();
    for n in 0..20 {
        producer.begin_transaction().unwrap();
        write(&world, &producer, &events(3), None);
        if n % 4 == 0 {
            producer.flush(TIMEOUT).unwrap();
            producer.abort_transaction(TIMEOUT).unwrap();
        } else {
            producer.commit_transaction(TIMEOUT).unwrap();
        }
    }
    let sent = 2 + 15 * 3;
    world.send(0, &borrowed(&events(1)));
    world.settled(sent).await;
    // Behind the last record there may be a mark that nobody is given: it is not waited for.
    producer.begin_transaction().unwrap();
    write(&world, &producer, &events(3), None);
    producer.flush(TIMEOUT).unwrap();
    producer.abort_transaction(TIMEOUT).unwrap();
    world.has_committed(0, world.end()).await;
    world.settled(sent).await;
    assert_eq!(of_partition(&world, LOST), 0.0);
    running.stop().await;
}

/// A topic that comes to be compacted while what is in it waits: nobody can tell what is gone from what never was
/// there, so it is told.
#[tokio::test(flavor = "multi_thread")]
async fn records_that_were_compacted_away_are_told_as_lost() {
    let world = World::new(1).await;
    let producer: BaseProducer = client_config(&world.config.kafka, "test").create().unwrap();
    let mut later = header(world.stream(), EventId::new_base());
    later[0] = 2;
    send(&world, &producer, &later, "{}", Some("the first"));
    producer.flush(TIMEOUT).unwrap();
    let running = world.start().await;
    comes_to(&world, STOPPED, 1.0).await;
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "100"),
        ("min.cleanable.dirty.ratio", "0.001"),
    ];
    world.alter_topic(&settings).await;
    write(&world, &producer, &events(10), Some("the same"));
    producer.flush(TIMEOUT).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await; // the segment has its time
    write(&world, &producer, &events(1), Some("another"));
    producer.flush(TIMEOUT).unwrap();
    eventually("nine of ten compacted away", async || {
        match world.readable() {
            3 => Ok(()),
            n => Err(format!("{n} records")),
        }
    })
    .await;
    pass_over(&world, 0).await;
    world.settled(2).await;
    comes_to(&world, LOST, 9.0).await;
    running.stop().await;
}

/// What `consumer dead-letters pass-over` leaves.
async fn pass_over(world: &World, offset: i64) {
    let id = format!(
        "{}/{}/0/{offset}",
        world.topic(),
        world.position(0).incarnation
    );
    let letters = world
        .database
        .collection(&world.config.mongodb.dead_letters);
    let letter = bson::doc! { "_id": id, "reason": "passed-over" };
    letters.insert_one(letter).await.unwrap();
}

/// As the gateway would have, with a key if wanted.
fn write(world: &World, producer: &BaseProducer, events: &[(EventId, String)], key: Option<&str>) {
    for (id, json) in events {
        send(world, producer, &header(world.stream(), *id), json, key);
    }
}

fn send(world: &World, producer: &BaseProducer, header: &[u8], value: &str, key: Option<&str>) {
    let headers = OwnedHeaders::new().insert(KafkaHeader {
        key: HEADER,
        value: Some(header),
    });
    let mut record = BaseRecord::<str, str>::to(world.topic())
        .partition(0)
        .headers(headers)
        .payload(value);
    record.key = key;
    producer.send(record).map_err(|(e, _)| e).unwrap();
}

/// Thirty are archived, and the consumer is down.
async fn thirty(world: &World) {
    world.send(0, &borrowed(&events(30)));
    let running = world.start().await;
    world.settled(30).await;
    world.has_committed(0, 30).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_that_somebody_has_moved_forward_is_told_with_what_is_passed_over() {
    let world = World::new(1).await;
    thirty(&world).await;
    world.send(0, &borrowed(&events(20)));
    world.reset(0, 45);
    let running = world.start().await;
    comes_to(&world, PASSED_OVER, 15.0).await;
    world.settled(35).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_that_somebody_has_moved_beyond_the_end_is_the_end() {
    let world = World::new(1).await;
    thirty(&world).await;
    world.send(0, &borrowed(&events(5)));
    world.reset(0, 1000);
    let running = world.start().await;
    comes_to(&world, PASSED_OVER, 5.0).await;
    world.has_committed(0, 35).await;
    world.send(0, &borrowed(&events(10)));
    world.settled(40).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_that_somebody_has_moved_back_or_before_the_beginning_loses_nothing() {
    let world = World::new(1).await;
    thirty(&world).await;
    for (deleted, set) in [(0, 10), (20, 5)] {
        world.delete_records(0, deleted).await;
        world.reset(0, set);
        let running = world.start().await;
        world.has_committed(0, 30).await;
        world.settled(30).await;
        running.stop().await;
    }
    assert_eq!(of_partition(&world, PASSED_OVER), 0.0);
    assert_eq!(of_partition(&world, LOST), 0.0);
}

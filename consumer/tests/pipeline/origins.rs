//! Whose an archive is: a changed configuration, or a second cluster with the same stores, is told.

use aguacero::shutdown::Shutdown;
use consumer::App;

use crate::world::{World, borrowed, events, eventually};

/// Why a consumer with another archive for the stream does not start; none if it archives the event that is sent.
async fn refusal(world: &World, archive: &str) -> Option<String> {
    let mut config = world.config.clone();
    config.streams[0].archive = archive.into();
    world.send(0, &borrowed(&events(1)));
    let collection = world.database.collection::<bson::Document>(archive);
    let archived = async || collection.count_documents(bson::doc! {}).await.unwrap();
    let before = archived().await;
    let (trigger, shutdown) = Shutdown::new();
    let app = App::build(config).await.unwrap();
    let mut running = tokio::spawn(app.run(shutdown));
    tokio::select! {
        ended = &mut running => return Some(format!("{:#}", ended.unwrap().unwrap_err())),
        () = eventually("it archives", async || match archived().await {
            n if n > before => Ok(()),
            n => Err(n.to_string()),
        }) => {}
    }
    trigger.fire();
    running.await.unwrap().unwrap();
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_is_changed_is_refused_unless_it_was_renamed_or_is_adopted() {
    let world = World::new(1).await;
    world.send(0, &borrowed(&events(30)));
    let running = world.start().await;
    world.settled(30).await;
    running.stop().await;
    let refused = refusal(&world, "elsewhere").await.expect("refused");
    for part in [".events", ".elsewhere", "--adopt", &world.stream().name] {
        assert!(refused.contains(part), "{refused}");
    }
    let mut changed = world.config.clone();
    changed.streams[0].archive = "elsewhere".into();
    let (told, is_right) = consumer::archive::explain(&changed).await;
    assert!(
        !is_right && told.contains("REFUSED") && told.contains(".elsewhere"),
        "{told}"
    );
    let (told, is_right) = consumer::archive::explain(&world.config).await;
    assert!(is_right, "{told}");
    // Adopted: the old documents stay where they are, and are not counted.
    let mut config = world.config.clone();
    config.streams[0].archive = "elsewhere".into();
    let name = world.stream().name.clone();
    consumer::rebuild(config.clone(), &name, true)
        .await
        .unwrap();
    assert_eq!(world.shown(world.stream()).await.0, 0);
    assert!(refusal(&world, "events").await.is_some());
    assert_eq!(refusal(&world, "elsewhere").await, None);
    // Renamed in MongoDB: it is the same.
    let database = &world.config.mongodb.database;
    let rename = bson::doc! {
        "renameCollection": format!("{database}.elsewhere"), "to": format!("{database}.renamed"),
    };
    let admin = world.database.client().database("admin");
    admin.run_command(rename).await.unwrap();
    assert_eq!(refusal(&world, "renamed").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_of_another_kafka_cluster_is_refused_and_its_counters_stay() {
    let mut world = World::with(1, "audit_interval_ms = 1000", "").await;
    world.send(0, &borrowed(&events(30)));
    let running = world.start().await;
    world.settled(30).await;
    running.stop().await;
    let marks = world
        .database
        .collection::<bson::Document>(aguacero::config::ARCHIVES);
    let other = bson::doc! { "$set": { "cluster": "another-cluster" } };
    marks.update_many(bson::doc! {}, other).await.unwrap();
    let refused = refusal(&world, "events").await.expect("refused");
    assert!(refused.contains("another-cluster"), "{refused}");
    assert_eq!(world.shown(world.stream()).await.0, 30);
    // Only the Redis is another system's: at the start, and while it runs.
    marks.drop().await.unwrap();
    let running = world.start().await;
    world.settled(31).await; // with the one that was refused above
    let meta = format!("{{{}}}:meta", world.stream().name);
    let mut set = redis::cmd("HSET");
    let set = set
        .arg(&meta)
        .arg("origin")
        .arg("another-cluster/d.events/aa");
    let _: i32 = set.query_async(&mut world.redis).await.unwrap();
    world.send(0, &borrowed(&events(5)));
    world.has_archived(36).await;
    let name = &world.stream().name;
    let metric = format!("aguacero_consumer_foreign_counters{{stream=\"{name}\"}}");
    eventually("it is told", async || match World::metric(&metric) {
        Some(1.0) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert_eq!(world.shown(world.stream()).await.0, 31);
    // What was settled there is not compared with this archive either.
    let mut wanted = redis::cmd("HEXISTS");
    let wanted = wanted.arg(&meta).arg("recount");
    let wanted: bool = wanted.query_async(&mut world.redis).await.unwrap();
    assert!(!wanted, "the owner would have to count anew");
    running.stop().await;
    let refused = refusal(&world, "events").await.expect("refused");
    assert!(
        refused.contains("another system uses this Redis"),
        "{refused}"
    );
    assert_eq!(world.shown(world.stream()).await.0, 31);
}

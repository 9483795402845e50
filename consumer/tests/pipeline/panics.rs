//! A bug in the poll loop.

use std::{
    fmt::Debug,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use aguacero::shutdown::Shutdown;
use consumer::App;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use crate::world::World;

/// The topic whose consumer is to panic; other tests run at the same time.
static TOPIC: Mutex<Option<String>> = Mutex::new(None);

/// Panics in the poll thread as soon as it tells which partitions of [`TOPIC`] it was given.
struct Panics;

/// Whether some field names [`TOPIC`].
struct Names(bool);

impl Visit for Names {
    fn record_debug(&mut self, _: &Field, value: &dyn Debug) {
        let topic = TOPIC.lock().unwrap_or_else(PoisonError::into_inner);
        let value = format!("{value:?}");
        self.0 |= topic.as_ref().is_some_and(|topic| value.contains(topic));
    }
}

impl Subscriber for Panics {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("consumer::poll")
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut names = Names(false);
        event.record(&mut names);
        let polls = std::thread::current().name() == Some("poll");
        assert!(!(polls && names.0), "a bug that this test has put there");
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// With the consumer in its hands, a thread that unwinds hangs.
#[tokio::test(flavor = "multi_thread")]
async fn a_poll_loop_that_panics_ends_the_process() {
    tracing::subscriber::set_global_default(Panics).unwrap();
    let world = World::new(1).await;
    *TOPIC.lock().unwrap() = Some(world.topic().to_owned());
    let (_trigger, shutdown) = Shutdown::new();
    let app = App::build(world.config.clone()).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(30), app.run(shutdown)).await;
    let error = ended.expect("it ends").expect_err("with an error");
    assert!(format!("{error:#}").contains("panicked"), "{error:#}");
}

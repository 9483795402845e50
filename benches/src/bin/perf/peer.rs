//! The other client, `benches::peer`, where it is built in (`--features benches/krafka`); nothing elsewhere.

#[cfg(feature = "krafka")]
use benches::peer;
use benches::produce::Produced;

use crate::{Effort, sides::Events};

/// The broker, a topic and its partitions.
pub(crate) type Place = (String, String, i32);

/// What is produced and awaited by so many tasks.
#[cfg(feature = "krafka")]
pub(crate) async fn awaited(
    (brokers, topic, _): &Place,
    events: &Events,
    tasks: usize,
    effort: Effort,
) -> anyhow::Result<Option<Produced>> {
    let (warm_up, duration) = (effort.warm_up, effort.duration);
    let produced = peer::awaited(brokers, topic, &events.plain, tasks, warm_up, duration);
    produced.await.map(Some)
}

/// `n` events in runs of `batch`, as fast as it goes.
#[cfg(feature = "krafka")]
pub(crate) async fn raw(
    (brokers, topic, partitions): &Place,
    events: &Events,
    n: u64,
    batch: u64,
) -> anyhow::Result<Option<Produced>> {
    let produced = peer::raw(brokers, topic, &events.plain, n, batch, *partitions);
    produced.await.map(Some)
}

/// Nothing.
#[cfg(not(feature = "krafka"))]
pub(crate) async fn awaited(
    _: &Place,
    _: &Events,
    _: usize,
    _: Effort,
) -> anyhow::Result<Option<Produced>> {
    Ok(None)
}

/// Nothing.
#[cfg(not(feature = "krafka"))]
pub(crate) async fn raw(_: &Place, _: &Events, _: u64, _: u64) -> anyhow::Result<Option<Produced>> {
    Ok(None)
}

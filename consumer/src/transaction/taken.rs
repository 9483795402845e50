//! Which events were taken: an id of a stream once, for each group.

use std::collections::{HashMap, HashSet};

use aguacero::id::EventId;
use deadpool_postgres::GenericClient;
use tokio_postgres::Error;
use uuid::Uuid;

use super::event::Event;

const KEY: &str = "SELECT key FROM aguacero.streams WHERE consumer_group = $1 AND stream = $2";

const NEW_KEY: &str = "INSERT INTO aguacero.streams (consumer_group, stream) VALUES ($1, $2) \
     ON CONFLICT (consumer_group, stream) DO UPDATE SET stream = EXCLUDED.stream RETURNING key";

/// In the order of the ids, so that two transactions with the same ones wait for each other instead of locking each other out.
const TAKE: &str = "INSERT INTO aguacero.events (stream, id, hash) \
     SELECT $1, id, hash FROM unnest($2::uuid[], $3::uuid[]) AS new (id, hash) ORDER BY id \
     ON CONFLICT (stream, id) DO NOTHING RETURNING id";

const THERE: &str = "SELECT id, hash FROM aguacero.events WHERE stream = $1 AND id = ANY ($2)";

const GIVE_BACK: &str = "DELETE FROM aguacero.events WHERE stream = $1 AND id = ANY ($2)";

/// What becomes of events: positions in the list that was asked about.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// They were not there before.
    pub(super) new: Vec<usize>,
    /// They were there.
    pub(super) repeats: Vec<usize>,
    /// Another value was there under their id.
    pub(super) conflicts: Vec<usize>,
}

/// The number under which the events of a group's stream are kept.
pub(super) async fn key(
    client: &impl GenericClient,
    group: &str,
    stream: &str,
) -> Result<i32, Error> {
    let known = client.prepare_cached(KEY).await?;
    if let Some(row) = client.query_opt(&known, &[&group, &stream]).await? {
        return Ok(row.get(0));
    }
    Ok(client.query_one(NEW_KEY, &[&group, &stream]).await?.get(0))
}

/// Takes those of `events`, all of the stream with this key, that are not there.
pub(super) async fn take(
    client: &impl GenericClient,
    key: i32,
    events: &[(usize, &Event)],
) -> Result<Taken, Error> {
    let mut first: HashMap<EventId, (usize, [u8; 16])> = HashMap::with_capacity(events.len());
    for (i, event) in events {
        first.entry(event.id).or_insert((*i, event.hash));
    }
    let (ids, hashes): (Vec<Uuid>, Vec<Uuid>) = first
        .iter()
        .map(|(id, (_, hash))| (Uuid::from_bytes(id.0), Uuid::from_bytes(*hash)))
        .unzip();
    let take = client.prepare_cached(TAKE).await?;
    let rows = client.query(&take, &[&key, &ids, &hashes]).await?;
    let new: HashSet<Uuid> = rows.iter().map(|row| row.get(0)).collect();
    let old: Vec<Uuid> = ids.into_iter().filter(|id| !new.contains(id)).collect();
    let mut there = HashMap::new();
    if !old.is_empty() {
        let look = client.prepare_cached(THERE).await?;
        for row in client.query(&look, &[&key, &old]).await? {
            there.insert(row.get::<_, Uuid>(0), row.get::<_, Uuid>(1).into_bytes());
        }
    }
    let mut taken = Taken::default();
    for (i, event) in events {
        let id = Uuid::from_bytes(event.id.0);
        let (is_first, hash) = match first.get(&event.id) {
            Some((at, hash)) if new.contains(&id) => (at == i, *hash),
            _ => (false, there.get(&id).copied().unwrap_or(event.hash)),
        };
        match () {
            () if is_first => taken.new.push(*i),
            () if hash == event.hash => taken.repeats.push(*i),
            () => taken.conflicts.push(*i),
        }
    }
    Ok(taken)
}

/// Lets ids go whose events were refused: they may come again once the cause is mended.
pub(super) async fn give_back(
    client: &impl GenericClient,
    key: i32,
    ids: &[Uuid],
) -> Result<(), Error> {
    client.execute(GIVE_BACK, &[&key, &ids]).await?;
    Ok(())
}

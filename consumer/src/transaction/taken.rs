//! Which events were taken: an id of a stream once, for each group.

use std::collections::{HashMap, hash_map::Entry};

use deadpool_postgres::{GenericClient, Transaction};
use tokio_postgres::{Error, error::SqlState};
use uuid::Uuid;

use super::event::Event;

const KEY: &str = "SELECT key FROM aguacero.streams WHERE consumer_group = $1 AND stream = $2";

const NEW_KEY: &str = "INSERT INTO aguacero.streams (consumer_group, stream) VALUES ($1, $2) \
     ON CONFLICT (consumer_group, stream) DO UPDATE SET stream = EXCLUDED.stream RETURNING key";

/// One look into the index for each id, whatever the planner believes of a table that has just been filled: of `= ANY` it
/// makes a scan of all that the stream has.
const THERE: &str = "SELECT new.id, there.hash FROM unnest($2::uuid[]) AS new (id) CROSS JOIN LATERAL \
     (SELECT hash FROM aguacero.events WHERE stream = $1 AND events.id = new.id LIMIT 1) AS there";

/// Without `ON CONFLICT`, which costs PostgreSQL more than twice as much a row: one that is there makes it fail
/// ([`is_there`]).
const TAKE: &str = "INSERT INTO aguacero.events (stream, id, hash) \
     SELECT $1, id, hash FROM unnest($2::uuid[], $3::uuid[]) AS new (id, hash)";

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

/// Takes those of `events`, all of the stream with this key, that are not there. `looks`: asks first which are there,
/// instead of trying as if none were.
pub(super) async fn take(
    transaction: &mut Transaction<'_>,
    key: i32,
    events: &[(usize, &Event)],
    looks: bool,
) -> Result<Taken, Error> {
    if !looks {
        let (taken, new) = sorted_out(events, HashMap::new());
        let savepoint = transaction.transaction().await?;
        match insert(&savepoint, key, new).await {
            Ok(()) => {
                savepoint.commit().await?;
                return Ok(taken);
            }
            Err(error) if is_there(&error) => savepoint.rollback().await?,
            Err(error) => return Err(error),
        }
    }
    let ids: Vec<Uuid> = events.iter().map(|(_, event)| uuid(event)).collect();
    let look = transaction.prepare_cached(THERE).await?;
    let rows = transaction.query(&look, &[&key, &ids]).await?;
    let there = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let (taken, new) = sorted_out(events, there);
    insert(transaction, key, new).await?;
    Ok(taken)
}

/// What becomes of events, where these ids are there with these hashes; and what is to be inserted.
fn sorted_out(
    events: &[(usize, &Event)],
    mut there: HashMap<Uuid, Uuid>,
) -> (Taken, Vec<(Uuid, Uuid)>) {
    let mut taken = Taken::default();
    let mut new = Vec::with_capacity(events.len());
    for (i, event) in events {
        let (id, hash) = (uuid(event), Uuid::from_bytes(event.hash));
        match there.entry(id) {
            Entry::Vacant(vacant) => {
                vacant.insert(hash);
                new.push((id, hash));
                taken.new.push(*i);
            }
            Entry::Occupied(other) if *other.get() == hash => taken.repeats.push(*i),
            Entry::Occupied(_) => taken.conflicts.push(*i),
        }
    }
    // Two transactions with the same ones wait for each other instead of locking each other out.
    new.sort_by_key(|(id, _)| id.as_u128());
    (taken, new)
}

async fn insert(
    transaction: &Transaction<'_>,
    key: i32,
    new: Vec<(Uuid, Uuid)>,
) -> Result<(), Error> {
    if new.is_empty() {
        return Ok(());
    }
    let (ids, hashes): (Vec<Uuid>, Vec<Uuid>) = new.into_iter().unzip();
    let take = transaction.prepare_cached(TAKE).await?;
    transaction.execute(&take, &[&key, &ids, &hashes]).await?;
    Ok(())
}

fn uuid(event: &Event) -> Uuid {
    Uuid::from_bytes(event.id.0)
}

/// Whether one of the events is there. Who has looked, and is told this, was overtaken by another process, which has
/// committed: to do it again finds it.
pub(super) fn is_there(error: &Error) -> bool {
    error.as_db_error().is_some_and(|said| {
        *said.code() == SqlState::UNIQUE_VIOLATION
            && (said.schema(), said.table()) == (Some("aguacero"), Some("events"))
    })
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

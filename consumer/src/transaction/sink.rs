//! The sink: a batch is one transaction.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aguacero::{
    config::{Config, OnIdConflict},
    ledger::Position,
    log_limiter,
};
use deadpool_postgres::{Client, Pool, Transaction};
use tokio::sync::Semaphore;
use tokio_postgres::Error;
use uuid::Uuid;

use super::{
    Apply, StoredLetter, dead_letters, event::Row, offsets, refusal, repeats::Repeats, taken, told,
};
use crate::{
    batch::{Batch, Source},
    decode::{
        Decoded, Event,
        dead_letter::{DeadLetter, Reason},
        decode_as,
    },
    metric,
    retry::Backoff,
    sink::{Outcome, Resume, Sink},
};

/// What is said while PostgreSQL does not do it.
const AWAY: &str = "PostgreSQL does not take rows";

/// What is deferred to the commit would refuse a whole transaction, and nobody would know for which row.
const AT_ONCE: &str = "SET CONSTRAINTS ALL IMMEDIATE";

/// Applies batches to PostgreSQL exactly once.
pub struct TransactionSink<A> {
    config: Arc<Config>,
    pool: Pool,
    apply: A,
    /// Of batches that are written at the same time.
    turns: Semaphore,
    repeats: Repeats,
    /// The offset that this process left in the store, by partition, and the epoch in which it did.
    left: Mutex<HashMap<Position, (u64, i64)>>,
}

/// What a transaction came to.
#[derive(Debug, Default)]
struct Written {
    /// Events that were applied, by stream.
    applied: HashMap<usize, u64>,
    /// Events that were there, by stream.
    repeats: HashMap<usize, u64>,
    dead: Vec<DeadLetter>,
    /// Events that came after another one under their id, of streams that want the first alone, by stream.
    not_first: HashMap<usize, u64>,
}

/// How a try has ended.
enum Attempt {
    /// It is committed.
    Written(Written),
    /// Another process has taken one of the events in between.
    TakenMeanwhile,
    /// The store is behind what this process left there.
    GoneBack,
}

impl<A: Apply> TransactionSink<A> {
    /// Of the group `config.consumer.group`.
    #[must_use]
    pub fn new(config: Arc<Config>, pool: Pool, apply: A) -> Self {
        Self {
            turns: Semaphore::new(config.consumer.writers),
            config,
            pool,
            apply,
            repeats: Repeats::default(),
            left: Mutex::default(),
        }
    }

    fn group(&self) -> &str {
        &self.config.consumer.group
    }

    fn topic(&self, source: &Source) -> &str {
        &self.config.topics[source.topic].name
    }

    async fn client(&self) -> Result<Client, String> {
        let client = self.pool.get().await;
        client.map_err(|error| told_of_pool(&error))
    }

    /// What the store has of a partition.
    async fn stands(
        &self,
        topic: &str,
        position: &Position,
    ) -> Result<Option<offsets::Stands>, String> {
        let client = self.client().await?;
        let stands = offsets::read(&client, (self.group(), topic), position).await;
        stands.map_err(|error| told(&error))
    }

    /// One try. An error is a server that is away.
    async fn attempt(
        &self,
        batch: &Batch,
        decoded: &Decoded<Row>,
        last: i64,
    ) -> Result<Attempt, String> {
        let mut client = self.client().await?;
        let told = |error: Error| told(&error);
        let mut transaction = client.transaction().await.map_err(told)?;
        let at = (self.group(), self.topic(&batch.source));
        transaction.batch_execute(AT_ONCE).await.map_err(told)?;
        let stands = offsets::read(&transaction, at, &batch.source.position)
            .await
            .map_err(told)?;
        if self.has_gone_back(&batch.source, stands) {
            return Ok(Attempt::GoneBack);
        }
        let written = match self.apply_new(&mut transaction, batch, decoded).await {
            Err(error) if taken::is_there(&error) => return Ok(Attempt::TakenMeanwhile),
            written => written.map_err(told)?,
        };
        let next = (last + 1, batch.leader_epoch);
        offsets::keep(&transaction, at, &batch.source.position, next)
            .await
            .map_err(told)?;
        transaction.commit().await.map_err(told)?;
        let left = (batch.source.epoch, last + 1);
        lock(&self.left).insert(batch.source.position.clone(), left);
        Ok(Attempt::Written(written))
    }

    /// Whether somebody has put the database back to an earlier state, or another in its place.
    fn has_gone_back(&self, source: &Source, stands: Option<offsets::Stands>) -> bool {
        let left = lock(&self.left).get(&source.position).copied();
        left.is_some_and(|(epoch, next)| {
            epoch == source.epoch && stands.is_none_or(|(stands, _)| stands < next)
        })
    }

    /// Everything but the offset.
    async fn apply_new(
        &self,
        transaction: &mut Transaction<'_>,
        batch: &Batch,
        decoded: &Decoded<Row>,
    ) -> Result<Written, Error> {
        let mut written = Written {
            dead: decoded.dead.clone(),
            ..Written::default()
        };
        let (mut keys, mut new) = (HashMap::new(), Vec::with_capacity(decoded.events.len()));
        // In the order of the configuration, so that two transactions wait for each other.
        let mut streams = decoded.streams.clone();
        streams.sort_unstable();
        for stream in streams.into_iter().filter(|s| self.apply.wants(*s)) {
            let name = &self.config.streams[stream].name;
            let key = taken::key(&*transaction, self.group(), name).await?;
            keys.insert(stream, key);
            let of_stream = decoded.events.iter().enumerate();
            let of_stream: Vec<_> = of_stream.filter(|(_, e)| e.stream == stream).collect();
            let taken =
                taken::take(transaction, key, &of_stream, self.repeats.are_likely()).await?;
            self.repeats
                .were_seen(taken.repeats.len() + taken.conflicts.len() > 0);
            written.repeats.insert(stream, taken.repeats.len() as u64);
            new.extend(taken.new);
            match self.config.streams[stream].on_id_conflict {
                OnIdConflict::First => {
                    let count = taken.conflicts.len() as u64;
                    written.not_first.insert(stream, count);
                }
                OnIdConflict::DeadLetter => {
                    let events = taken.conflicts.iter().map(|i| &decoded.events[*i]);
                    let detail = "the store holds another value under this id";
                    written
                        .dead
                        .extend(events.map(|e| letter(e, Reason::IdConflict, detail.to_owned())));
                }
            }
        }
        new.sort_unstable();
        let new: Vec<_> = new.into_iter().map(|i| &decoded.events[i]).collect();
        let refused =
            refusal::apply_or_narrow(&self.apply, transaction, &batch.source, &new).await?;
        for event in &new {
            *written.applied.entry(event.stream).or_default() += 1;
        }
        let mut free = BTreeMap::new();
        for (i, why) in refused {
            let event = new[i];
            *written.applied.entry(event.stream).or_default() -= 1;
            written.dead.push(letter(event, Reason::Refused, why));
            let ids: &mut Vec<_> = free.entry(event.stream).or_default();
            ids.push(Uuid::from_bytes(event.id.0));
        }
        for (stream, ids) in free {
            taken::give_back(&*transaction, keys[&stream], &ids).await?;
        }
        dead_letters::write(
            &*transaction,
            &self.config,
            self.group(),
            batch,
            &written.dead,
        )
        .await?;
        Ok(written)
    }

    fn report(&self, batch: &Batch, written: &Written) {
        let name = |stream: usize| self.config.streams[stream].name.clone();
        for (stream, count) in &written.applied {
            metrics::counter!(metric::ROWS, "stream" => name(*stream)).increment(*count);
        }
        for (stream, count) in &written.repeats {
            metrics::counter!(metric::DUPLICATES, "stream" => name(*stream)).increment(*count);
        }
        for (stream, count) in &written.not_first {
            metrics::counter!(metric::NOT_FIRST, "stream" => name(*stream)).increment(*count);
        }
        metrics::histogram!(metric::BATCH).record(batch.len() as f64);
        dead_letters::report(&self.config, metric::DEAD_LETTERS, batch, &written.dead);
        crate::archiver::freshness(batch);
    }

    /// Tries dead letters of one partition again, in one transaction: those that are stored now are forgotten, the others
    /// keep the reason of this time. One that this release or configuration cannot judge ends it, unchanged as those
    /// behind it.
    ///
    /// # Errors
    /// What PostgreSQL said; then nothing has changed.
    pub async fn retry(
        &self,
        source: &Arc<Source>,
        letters: &[StoredLetter],
    ) -> Result<Retried, String> {
        let mut batch = Batch::new(source.clone());
        for letter in letters {
            let header = letter.header.as_deref();
            let name = aguacero::record::HEADER.as_bytes();
            let headers = header.map(|header| (name, Some(header))).into_iter();
            batch.push(
                (letter.offset, letter.at_ms),
                letter.key.as_deref(),
                letter.value.as_deref(),
                headers,
            );
        }
        let mut decoded = decode_as(&self.config, &batch, &|event, raw| Ok(Row::of(event, raw)));
        let stop = decoded.stop.take();
        let mut client = self.client().await?;
        let told = |error: Error| told(&error);
        let mut transaction = client.transaction().await.map_err(told)?;
        transaction.batch_execute(AT_ONCE).await.map_err(told)?;
        let written = self
            .apply_new(&mut transaction, &batch, &decoded)
            .await
            .map_err(told)?;
        let still: Vec<_> = written.dead.iter().map(|letter| letter.record).collect();
        let judged = batch.records().enumerate();
        let judged = judged.take_while(|(_, r)| stop.as_ref().is_none_or(|(at, _)| r.offset < *at));
        let stored = judged.filter(|(i, _)| !still.contains(i));
        let stored: Vec<i64> = stored.map(|(_, record)| record.offset).collect();
        let at = (self.group(), self.topic(source));
        dead_letters::forget(&transaction, at, source, &stored)
            .await
            .map_err(told)?;
        transaction.commit().await.map_err(told)?;
        Ok(Retried {
            stored: stored.len(),
            stop,
        })
    }
}

/// What became of dead letters that were tried again.
#[derive(Debug)]
pub struct Retried {
    /// How many of them were stored.
    pub stored: usize,
    /// The offset of the first that cannot be judged, and why.
    pub stop: Option<(i64, String)>,
}

impl<A: Apply> Sink for TransactionSink<A> {
    async fn write(&self, batch: Batch) -> Outcome {
        let _turn = self.turns.acquire().await;
        let mut decoded = decode_as(&self.config, &batch, &|event, raw| Ok(Row::of(event, raw)));
        let stop = decoded.stop.take();
        if let Some(last) = decoded.last {
            let mut backoff = Backoff::new();
            let written = loop {
                match self.attempt(&batch, &decoded, last).await {
                    Ok(Attempt::Written(written)) => break written,
                    Ok(Attempt::TakenMeanwhile) => {}
                    Ok(Attempt::GoneBack) => return Outcome::Unsure,
                    Err(error) => {
                        metrics::counter!(metric::ARCHIVE_RETRIES).increment(1);
                        backoff.after(AWAY, "", &error).await;
                    }
                }
            };
            log_limiter::ended(AWAY, "");
            self.report(&batch, &written);
            self.apply.committed().await;
        }
        match stop {
            None => Outcome::Finished,
            Some((at, why)) => Outcome::Stopped { at, why },
        }
    }

    fn way_past(&self, topic: &str, partition: i32, at: i64) -> String {
        let group = match self.group() {
            group if group == self.config.tables.group => String::new(),
            group => format!(" --group {group}"),
        };
        format!("To pass it over: consumer tables pass-over {topic}/{partition}/{at}{group}")
    }

    async fn passed_over(&self, source: &Source, at: i64) -> Option<i64> {
        match self.stands(self.topic(source), &source.position).await {
            Ok(stands) => stands.map(|(next, _)| next).filter(|next| *next > at),
            Err(error) => {
                log_limiter::repeated(AWAY, "", &error);
                None // it is asked again
            }
        }
    }

    async fn resume(&self, topic: &str, position: &Position) -> Resume {
        let mut backoff = Backoff::new();
        loop {
            match self.stands(topic, position).await {
                Ok(Some((next, leader_epoch))) => return Resume::At { next, leader_epoch },
                Ok(None) => return Resume::Beginning,
                Err(error) => backoff.after(AWAY, "", &error).await,
            }
        }
    }
}

fn letter(event: &Event<Row>, reason: Reason, detail: String) -> DeadLetter {
    DeadLetter {
        record: event.record,
        reason,
        detail,
        id: Some(event.id),
        stream: Some(event.stream),
    }
}

/// What keeps a connection from being had.
#[must_use]
pub fn told_of_pool(error: &deadpool_postgres::PoolError) -> String {
    match error {
        deadpool_postgres::PoolError::Backend(error) => told(error),
        other => other.to_string(),
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

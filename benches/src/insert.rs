//! The limit of the archive: `insert_many` of the documents that the consumer makes of the same records.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use aguacero::{config::Config, id::EventId, ledger::Position, record};
use anyhow::{Context as _, ensure};
use bson::RawDocumentBuf;
use consumer::{
    archive::Archive,
    batch::{Batch, Source},
    decode,
};
use mongodb::{
    Client, Collection,
    options::{Acknowledgment, CollectionOptions, WriteConcern},
};
use tokio::task::JoinSet;

/// Between two looks at how many documents there are.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// The longest pause between two of them that came.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// Records `from` to `from + n` in `partition`, as the consumer's poll loop has them: those that
/// [`crate::produce::raw`] makes of the same events.
#[must_use]
pub fn batch(events: &[String], from: u64, n: u64, partition: i32) -> Batch {
    let position = Position {
        incarnation: "an-incarnation-of-22-b".into(),
        partition,
    };
    let mut batch = Batch::new(Arc::new(Source {
        topic: 0,
        position,
        epoch: 1,
    }));
    let mut header = Vec::new();
    for n in from..from + n {
        record::Header {
            id: EventId(u128::from(n).to_be_bytes()),
            stream: "weather",
            client_key: b"",
        }
        .write(&mut header);
        let headers = [(record::HEADER.as_bytes(), Some(&header[..]))];
        let event = &events[n as usize % events.len()];
        let place = (n as i64, 1_700_000_000_000 + n as i64 / 100);
        batch.push(place, None, Some(event.as_bytes()), headers.into_iter());
    }
    batch
}

/// The documents of records `numbers` in batches of `batch_records`, each of the next of `partitions`.
pub fn documents(
    config: &Config,
    events: &[String],
    numbers: Range<u64>,
    batch_records: u64,
    partitions: i32,
) -> anyhow::Result<VecDeque<Vec<RawDocumentBuf>>> {
    let starts = numbers.clone().step_by(batch_records as usize);
    let batches = (0..).zip(starts).map(|(number, from): (i32, u64)| {
        let records = batch_records.min(numbers.end - from);
        let batch = batch(events, from, records, number % partitions);
        let decoded = decode::decode(config, &batch);
        let documents: Vec<_> = decoded.events.into_iter().map(|e| e.document).collect();
        ensure!(documents.len() as u64 == records, "{:?}", decoded.dead);
        Ok(documents)
    });
    batches.collect()
}

/// The collection of stream `weather` in MongoDB as `config` says, written to as the consumer does.
pub async fn collection(config: &Config) -> anyhow::Result<Collection<RawDocumentBuf>> {
    let client = Client::with_uri_str(&config.mongodb.uri).await?;
    let concern = WriteConcern::builder()
        .w(Acknowledgment::Majority)
        .journal(true)
        .build();
    let options = CollectionOptions::builder().write_concern(concern).build();
    let stream = config.stream("weather").context("no stream weather")?;
    let database = client.database(&config.mongodb.database);
    Ok(database.collection_with_options(&stream.archive, options))
}

/// Inserts `batches` with `config.consumer.writers` at the same time, under the consumer's own indices.
pub async fn raw(
    config: &Config,
    collection: &Collection<RawDocumentBuf>,
    batches: VecDeque<Vec<RawDocumentBuf>>,
) -> anyhow::Result<()> {
    let batches = Arc::new(Mutex::new(batches));
    let mut writers = JoinSet::new();
    for _ in 0..config.consumer.writers {
        let (batches, collection) = (Arc::clone(&batches), collection.clone());
        let next = move || {
            let mut batches = batches.lock().unwrap_or_else(PoisonError::into_inner);
            batches.pop_front()
        };
        writers.spawn(async move {
            while let Some(batch) = next() {
                collection.insert_many(batch).ordered(false).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(written) = writers.join_next().await {
        written??;
    }
    Ok(())
}

/// Makes the consumer's indices of `config`'s archives.
pub async fn create_indices(config: &Config) -> anyhow::Result<()> {
    let archive = Archive::new(Arc::new(config.clone())).await?;
    Ok(archive.create_indices().await?)
}

/// Drops the database of `collection`.
pub async fn forget(collection: &Collection<RawDocumentBuf>) -> anyhow::Result<()> {
    let client = collection.client();
    Ok(client.database(&collection.namespace().db).drop().await?)
}

/// Waits until `collection`, which holds `before` documents, holds `n` more. Returns how many came after the
/// first were seen, and the time that they took.
pub async fn arrived(
    collection: &Collection<RawDocumentBuf>,
    before: u64,
    n: u64,
) -> anyhow::Result<(u64, Duration)> {
    let (mut first, mut last) = (None, (0, Instant::now()));
    loop {
        let count = collection.estimated_document_count().await?;
        let count = count.saturating_sub(before);
        let now = Instant::now();
        if count > last.0 {
            last = (count, now);
            first = first.or(Some(last));
        }
        if let Some((count, began)) = first.filter(|_| last.0 >= n) {
            return Ok((n - count.min(n), now - began));
        }
        let silent = now - last.1;
        ensure!(
            silent < STALLED_AFTER,
            "{} of {n} documents after {silent:?}",
            last.0
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

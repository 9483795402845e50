//! The sink that this process has: a batch into MongoDB; the counters follow.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use aguacero::{config::Config, ledger::Position, log_limiter};
use mongodb::error::Error;

use crate::{
    archive::{Archive, Archived, EventOutcome, Refusal},
    batch::{Batch, Source},
    decode::{
        Decoded,
        dead_letter::{DeadLetter, Reason},
        decode,
    },
    metric,
    poll::Incarnations,
    retry::Backoff,
    settle::{Settler, Written},
    sink::{Outcome, Sink},
};

/// What is said while MongoDB does not answer.
const UNREAD: &str = "the archive cannot be read";

/// What the archive had of a partition when this process got it.
struct Before {
    epoch: u64,
    highest: Option<i64>,
}

/// Archives, and has the counters settled.
pub struct Archiver {
    config: Arc<Config>,
    archive: Arc<Archive>,
    settler: Arc<Settler>,
    incarnations: Arc<Incarnations>,
    before: Mutex<HashMap<Position, Before>>,
}

impl Archiver {
    /// Of the parts that it needs.
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        archive: Arc<Archive>,
        settler: Arc<Settler>,
        incarnations: Arc<Incarnations>,
    ) -> Self {
        Self {
            config,
            archive,
            settler,
            incarnations,
            before: Mutex::default(),
        }
    }

    /// The highest offset that the archive had of the batch's partition when this process got it; of the
    /// first batch MongoDB is asked, and waited for.
    async fn archived_before(&self, source: &Source) -> Option<i64> {
        let known = |before: &HashMap<Position, Before>| {
            let before = before.get(&source.position)?;
            (before.epoch == source.epoch).then_some(before.highest)
        };
        if let Some(highest) = known(&self.lock()) {
            return highest;
        }
        let mut backoff = Backoff::new();
        let highest = loop {
            match self.highest(source).await {
                Ok(highest) => break highest,
                Err(error) => backoff.after(UNREAD, "", &error).await,
            }
        };
        let epoch = source.epoch;
        let before = Before { epoch, highest };
        self.lock().insert(source.position.clone(), before);
        highest
    }

    /// The highest offset of the partition that has a document of any stream.
    async fn highest(&self, source: &Source) -> Result<Option<i64>, Error> {
        let mut highest = None;
        let streams = self.config.streams.iter();
        for stream in streams.filter(|s| s.topic == source.topic) {
            highest = highest.max(self.archive.highest(stream, &source.position).await?);
        }
        Ok(highest)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Position, Before>> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A record below what the archive has was archived already, unless it belongs to another incarnation
    /// than it seems to: then it would be taken for that.
    async fn is_of_another(&self, batch: &Batch) -> bool {
        let topic = &self.config.topics[batch.source.topic].name;
        !self
            .incarnations
            .still(topic, &batch.source.position.incarnation)
            .await
    }

    fn report(&self, batch: &Batch, decoded: &Decoded, archived: &Archived) {
        let with = |stream: usize, outcome: EventOutcome| {
            let events = decoded.events.iter().zip(&archived.outcomes);
            events
                .filter(|(e, f)| e.stream == stream && **f == outcome)
                .count() as u64
        };
        for &stream in &decoded.streams {
            let name = &self.config.streams[stream].name;
            metrics::counter!(metric::ARCHIVED, "stream" => name.clone())
                .increment(with(stream, EventOutcome::New));
            metrics::counter!(metric::DUPLICATES, "stream" => name.clone())
                .increment(with(stream, EventOutcome::Repeat));
        }
        metrics::histogram!(metric::BATCH).record(batch.len() as f64);
    }
}

impl Sink for Archiver {
    async fn write(&self, batch: Batch) -> Outcome {
        let mut decoded = decode(&self.config, &batch);
        let again = self.archived_before(&batch.source).await >= batch.first();
        if again && self.is_of_another(&batch).await {
            return Outcome::Unsure;
        }
        let archived = self
            .archive
            .insert(&batch.source, &decoded.events, again)
            .await;
        let (conflicts, refused) = (conflicts(&decoded, &archived), refused(&decoded, &archived));
        decoded.dead.extend(conflicts);
        decoded.dead.extend(refused);
        self.archive.write_dead_letters(&batch, &decoded.dead).await;
        if let Some(last) = decoded.last {
            let written = Written {
                events: &decoded.events,
                archived: &archived,
            };
            for &stream in &decoded.streams {
                let stream = &self.config.streams[stream];
                self.settler.archived(stream, &batch.source, last, &written);
            }
        }
        self.report(&batch, &decoded, &archived);
        freshness(&batch);
        match decoded.stop {
            None => Outcome::Finished,
            Some((at, why)) => Outcome::Stopped { at, why },
        }
    }

    async fn last_archived(&self, source: &Source) -> Option<i64> {
        let topic = &self.config.topics[source.topic].name;
        let mut backoff = Backoff::new();
        loop {
            let asked = async {
                let letter = self.archive.last_dead_letter(topic, &source.position);
                Ok::<_, Error>(letter.await?.max(self.highest(source).await?))
            };
            match asked.await {
                Ok(last) => return last,
                Err(error) => backoff.after(UNREAD, "", &error).await,
            }
        }
    }

    async fn passed_over(&self, source: &Source, at: i64) -> Option<i64> {
        let topic = &self.config.topics[source.topic].name;
        let asked = self.archive.passed_over(topic, &source.position, at).await;
        asked.unwrap_or_else(|error| {
            log_limiter::repeated(UNREAD, "", &error);
            None // it is asked again
        })
    }
}

fn conflicts(decoded: &Decoded, archived: &Archived) -> Vec<DeadLetter> {
    let events = decoded.events.iter().zip(&archived.outcomes);
    let letter = |(event, _): (&crate::decode::Event, _)| DeadLetter {
        record: event.record,
        reason: Reason::IdConflict,
        detail: "the archive holds another value under this id".into(),
        id: Some(event.id),
        stream: Some(event.stream),
    };
    events
        .filter(|(_, outcome)| **outcome == EventOutcome::Conflict)
        .map(letter)
        .collect()
}

fn refused(decoded: &Decoded, archived: &Archived) -> Vec<DeadLetter> {
    let letter = |(i, refusal): &(usize, Refusal)| {
        let event = &decoded.events[*i];
        DeadLetter {
            record: event.record,
            reason: refusal.reason,
            detail: refusal.detail.clone(),
            id: Some(event.id),
            stream: Some(event.stream),
        }
    };
    archived.refused.iter().map(letter).collect()
}

/// How old the batch's oldest event is, now that it is stored.
pub(crate) fn freshness(batch: &Batch) {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    if let Some(then) = batch.first_timestamp_ms() {
        metrics::histogram!(metric::FRESHNESS)
            .record((now.as_secs_f64() - then as f64 / 1000.0).max(0.0));
    }
}

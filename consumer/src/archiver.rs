//! The sink that this process has: a batch into MongoDB, then the counters.

use std::{sync::Arc, time::SystemTime};

use aguacero::config::{Config, Stream};

use crate::{
    archive::{Archive, Archived, EventOutcome},
    batch::Batch,
    decode::{
        Decoded,
        dead_letter::{DeadLetter, Reason},
        decode,
    },
    metric,
    poll::Incarnations,
    settle::{Settler, Written},
    sink::{Outcome, Sink},
};

/// Archives and settles.
pub struct Archiver {
    config: Arc<Config>,
    archive: Arc<Archive>,
    settler: Arc<Settler>,
    incarnations: Arc<Incarnations>,
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
        }
    }

    /// Where the watermarks of the batch's streams are.
    async fn watermarks(&self, batch: &Batch, decoded: &Decoded) -> Vec<(&Stream, Option<i64>)> {
        let mut watermarks = Vec::with_capacity(decoded.streams.len());
        for &stream in &decoded.streams {
            let stream = &self.config.streams[stream];
            watermarks.push((stream, self.settler.watermark(stream, &batch.source).await));
        }
        watermarks
    }

    /// A record below a watermark was settled already, unless it belongs to another incarnation than it
    /// seems to: then it would never be counted.
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
        let watermarks = self.watermarks(&batch, &decoded).await;
        let again = watermarks.iter().any(|(_, at)| *at >= batch.first());
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
            for (stream, from) in watermarks {
                self.settler
                    .settle_batch(stream, &batch.source, from, last, &written)
                    .await;
            }
        }
        self.report(&batch, &decoded, &archived);
        freshness(&batch);
        match decoded.stop {
            None => Outcome::Finished,
            Some((at, why)) => Outcome::Stopped { at, why },
        }
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
    let letter = |(i, why): &(usize, String)| {
        let event = &decoded.events[*i];
        DeadLetter {
            record: event.record,
            reason: Reason::Unfit,
            detail: format!("MongoDB can never hold the event: {why}"),
            id: Some(event.id),
            stream: Some(event.stream),
        }
    };
    archived.refused.iter().map(letter).collect()
}

fn freshness(batch: &Batch) {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    if let Some(then) = batch.first_timestamp_ms() {
        metrics::histogram!(metric::FRESHNESS)
            .record((now.as_secs_f64() - then as f64 / 1000.0).max(0.0));
    }
}

//! The promise that everything serves: what Redis shows, what MongoDB holds and what is in Kafka are
//! the same events, each once.

use std::collections::{BTreeSet, HashMap};

use bson::Document;

use crate::{
    Pipeline,
    archive::id_of,
    eventually,
    kafka::Record,
    shown::Shown,
};

impl Pipeline {
    /// Waits until everything of `stream` that is in Kafka is archived and settled, and checks that the
    /// archive holds `events` events, that their ids are those in Kafka, and that Redis shows exactly
    /// them. Returns the archive.
    pub async fn exact(&self, stream: &str, events: usize) -> Vec<Document> {
        let (archive, records) = self.settled(stream, events).await;
        let in_kafka: BTreeSet<_> = records.iter().map(Record::id).collect();
        let archived: BTreeSet<_> = archive.iter().map(id_of).collect();
        assert!(in_kafka == archived, "Kafka holds {} ids, the archive {}", in_kafka.len(), archived.len());
        archive
    }

    /// The same where the topic was deleted meanwhile: the archive may hold what Kafka no longer does.
    pub async fn settled(&self, stream: &str, events: usize) -> (Vec<Document>, Vec<Record>) {
        let what = format!("{events} events of {stream} exact");
        eventually(&what, async || self.look(stream, events).await).await
    }

    async fn look(&self, name: &str, events: usize) -> Result<(Vec<Document>, Vec<Record>), String> {
        let stream = self.stream(name);
        let archive = self.archive.of_stream(stream).await;
        assert!(archive.len() <= events, "the archive holds {} events of {name}, not {events}", archive.len());
        if archive.len() != events {
            return Err(format!("the archive holds {} events; {}", archive.len(), self.summary(name).await));
        }
        let mut records = self.records(name).await;
        records.retain(|r| r.header().stream == name);
        self.is_settled(name, &records).await?;
        let shown = self.redis.shown(stream).await;
        shown.compare(&Shown::of(stream, &archive))?;
        Ok((archive, records))
    }

    /// Whether nothing that is in Kafka can change the counters any more.
    async fn is_settled(&self, name: &str, records: &[Record]) -> Result<(), String> {
        let stream = self.stream(name);
        let topic = self.kafka.describe(self.topic(name)).await.ok_or("the topic is gone")?;
        let watermarks = self.redis.watermarks(stream).await;
        let mut last: HashMap<i32, i64> = HashMap::new();
        for record in records {
            last.insert(record.partition, record.offset); // ascending
        }
        for (partition, offset) in last {
            let watermark = watermarks.get(&format!("{}/{partition}", topic.incarnation));
            if watermark.is_none_or(|w| *w < offset) {
                return Err(format!("partition {partition} is settled to {watermark:?} of {offset}"));
            }
        }
        let pending = self.redis.pending(stream).await;
        if pending.is_empty() { Ok(()) } else { Err(format!("pending: {pending:?}")) }
    }

    /// Where everything stands, for the one who reads a failure.
    async fn summary(&self, name: &str) -> String {
        let stream = self.stream(name);
        let shown = self.redis.shown(stream).await;
        let ends = self.kafka.ends(self.topic(name)).await;
        let watermarks = self.redis.watermarks(stream).await;
        format!("Redis shows {}, offsets {ends:?}, settled {watermarks:?}", shown.total)
    }
}

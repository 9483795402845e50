//! The promise that everything serves: what Redis shows, what MongoDB holds and what is in Kafka are
//! the same events, each once.

use std::collections::{BTreeSet, HashMap};

use aguacero::id::EventId;
use bson::Document;

use crate::{
    Pipeline,
    archive::{id_of, ours},
    eventually,
    kafka::Record,
    shown::Shown,
};

impl Pipeline {
    /// Waits until everything of `stream` that is in Kafka is archived and settled, and checks that the
    /// archive holds `events` events, that their ids are those in Kafka, and that Redis shows exactly
    /// them. Returns the archive.
    pub async fn exact(&self, stream: &str, events: usize) -> Vec<Document> {
        let what = format!("{events} events of {stream} exact");
        let (archive, in_kafka) =
            eventually(&what, async || self.look(stream, Some(events)).await).await;
        assert!(
            ids(&archive) == in_kafka,
            "Kafka holds {} ids, the archive {events}",
            in_kafka.len()
        );
        archive
    }

    /// The same where the topic was deleted meanwhile: the archive holds at least what Kafka does.
    pub async fn exact_beyond_kafka(&self, stream: &str) -> Vec<Document> {
        let what = format!("{stream} exact");
        let (archive, in_kafka) = eventually(&what, async || self.look(stream, None).await).await;
        let archived = ids(&archive);
        let missing = in_kafka.difference(&archived).count();
        assert_eq!(
            missing,
            0,
            "of the {} ids in Kafka, the archive lacks some",
            in_kafka.len()
        );
        archive
    }

    /// The values of the records that a stream's archive was made from.
    pub async fn archived_values(&self, stream: &str) -> BTreeSet<Vec<u8>> {
        let archive = self.archive.of_stream(self.stream(stream)).await;
        let place = |d: &Document| (ours(d, "partition").as_i32(), ours(d, "offset").as_i64());
        let places: BTreeSet<_> = archive.iter().map(place).collect();
        let records = self.records(stream).await.into_iter();
        let made = records.filter(|r| places.contains(&(Some(r.partition), Some(r.offset))));
        made.map(|r| r.value).collect()
    }

    pub(crate) async fn look(
        &self,
        name: &str,
        events: Option<usize>,
    ) -> Result<(Vec<Document>, BTreeSet<EventId>), String> {
        let stream = self.stream(name);
        let mut records = self.records(name).await;
        records.retain(|r| r.header().stream == name);
        self.is_settled(name, &records).await?;
        let archive = self.archive.of_stream(stream).await;
        let count = archive.len();
        assert!(
            events.is_none_or(|n| count <= n),
            "the archive holds {count} events of {name}, not {events:?}"
        );
        if events.is_some_and(|n| count < n) {
            return Err(format!(
                "the archive holds {count} events, Kafka {} records",
                records.len()
            ));
        }
        let shown = self.redis.shown(stream).await;
        shown.compare(&Shown::of(stream, &archive))?;
        Ok((archive, records.iter().map(Record::id).collect()))
    }

    /// Whether nothing that is in Kafka can change the counters any more.
    async fn is_settled(&self, name: &str, records: &[Record]) -> Result<(), String> {
        let stream = self.stream(name);
        let topic = self
            .kafka
            .describe(self.topic(name))
            .await
            .ok_or("the topic is gone")?;
        let watermarks = self.redis.watermarks(stream).await;
        let mut last: HashMap<i32, i64> = HashMap::new();
        for record in records {
            last.insert(record.partition, record.offset); // ascending
        }
        for (partition, offset) in last {
            let watermark = watermarks.get(&format!("{}/{partition}", topic.incarnation));
            if watermark.is_none_or(|w| *w < offset) {
                return Err(format!(
                    "partition {partition} is settled to {watermark:?} of {offset}"
                ));
            }
        }
        let pending = self.redis.pending(stream).await;
        if pending.is_empty() {
            return Ok(());
        }
        let topic = topic.incarnation;
        Err(format!(
            "the topic is {topic}, settled {watermarks:?}, pending {pending:?}"
        ))
    }
}

fn ids(archive: &[Document]) -> BTreeSet<EventId> {
    archive.iter().map(id_of).collect()
}

//! Records that cannot be stored, kept in PostgreSQL with the reason, and whole, so that they can be tried again.

use std::ops::RangeInclusive;

use aguacero::{config::Config, log_limiter, record::HEADER};
use deadpool_postgres::GenericClient;
use tokio_postgres::{Error, Row};
use uuid::Uuid;

use super::offsets;
use crate::{
    batch::{Batch, Source},
    decode::dead_letter::{DeadLetter, Reason, beginning, place},
};

/// Milliseconds since 1970, of years that PostgreSQL has and people read: a record may have any.
const TIMES: RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;
/// Bytes of the reason; it may repeat a part of the record.
const DETAIL_BYTES_MAX: usize = 64 << 10;

const WRITE: &str = "INSERT INTO aguacero.dead_letters \
     (consumer_group, topic, incarnation, partition, \"offset\", at, stream, id, reason, detail, key, value, header) \
     SELECT $1, $2, $3, $4, letter.at_offset, to_timestamp(letter.at_ms::double precision / 1000), \
            letter.stream, letter.id, letter.reason, letter.detail, letter.key, letter.value, letter.header \
     FROM unnest($5::bigint[], $6::bigint[], $7::text[], $8::uuid[], $9::text[], $10::text[], $11::bytea[], $12::bytea[], $13::bytea[]) \
          AS letter (at_offset, at_ms, stream, id, reason, detail, key, value, header) \
     ON CONFLICT (consumer_group, topic, incarnation, partition, \"offset\") \
     DO UPDATE SET reason = EXCLUDED.reason, detail = EXCLUDED.detail";

/// Those of a group; of one reason, and of one stream, if that is given.
const LETTERS: &str = "FROM aguacero.dead_letters WHERE consumer_group = $1 AND ($2::text IS NULL OR reason = $2) \
     AND ($3::text IS NULL OR stream = $3)";

/// Of a [`StoredLetter`], in the order in which it is read.
const COLUMNS: &str = "topic, incarnation, partition, \"offset\", (extract(epoch FROM at) * 1000)::bigint, stream, id, \
     reason, detail, key, value, header";

const NEWEST: &str = "ORDER BY at DESC, topic, partition, \"offset\" DESC LIMIT $4";

/// In the order of the primary key, behind a place.
const NEXT: &str = "AND (topic, incarnation, partition, \"offset\") > ($4, $5, $6, $7) \
     ORDER BY topic, incarnation, partition, \"offset\" LIMIT $8";

const FORGET: &str = "DELETE FROM aguacero.dead_letters WHERE consumer_group = $1 AND topic = $2 AND incarnation = $3 \
     AND partition = $4 AND \"offset\" = ANY ($5)";

/// A dead letter as the store has it.
#[derive(Debug, Clone)]
pub struct StoredLetter {
    /// Name of its topic.
    pub topic: String,
    /// The topic's incarnation.
    pub incarnation: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Milliseconds since 1970: when the event arrived.
    pub at_ms: i64,
    /// Its stream, if it could be read.
    pub stream: Option<String>,
    /// The event's id, if it could be read.
    pub id: Option<Uuid>,
    /// Why, for programs.
    pub reason: String,
    /// Why, for people.
    pub detail: String,
    /// The record's key.
    pub key: Option<Vec<u8>>,
    /// The record's value.
    pub value: Option<Vec<u8>>,
    /// The record's header that is ours.
    pub header: Option<Vec<u8>>,
}

impl StoredLetter {
    fn of(row: &Row) -> Self {
        Self {
            topic: row.get(0),
            incarnation: row.get(1),
            partition: row.get(2),
            offset: row.get(3),
            at_ms: row.get(4),
            stream: row.get(5),
            id: row.get(6),
            reason: row.get(7),
            detail: row.get(8),
            key: row.get(9),
            value: row.get(10),
            header: row.get(11),
        }
    }
}

/// Those of a group, the newest first, at most `limit`; of one reason, and of one stream, if that is given.
pub async fn list(
    client: &impl GenericClient,
    group: &str,
    (reason, stream): (Option<&str>, Option<&str>),
    limit: i64,
) -> Result<Vec<StoredLetter>, Error> {
    let list = format!("SELECT {COLUMNS} {LETTERS} {NEWEST}");
    let rows = client
        .query(&list, &[&group, &reason, &stream, &limit])
        .await?;
    Ok(rows.iter().map(StoredLetter::of).collect())
}

/// The next behind `after`, of one partition after the other in the order of their offsets, at most `limit`.
pub async fn next(
    client: &impl GenericClient,
    group: &str,
    (reason, stream): (Option<&str>, Option<&str>),
    after: Option<&StoredLetter>,
    limit: i64,
) -> Result<Vec<StoredLetter>, Error> {
    let (topic, incarnation, partition, offset) = after.map_or(("", "", -1, -1), |letter| {
        (
            letter.topic.as_str(),
            letter.incarnation.as_str(),
            letter.partition,
            letter.offset,
        )
    });
    let next = format!("SELECT {COLUMNS} {LETTERS} {NEXT}");
    let rows = client
        .query(
            &next,
            &[
                &group,
                &reason,
                &stream,
                &topic,
                &incarnation,
                &partition,
                &offset,
                &limit,
            ],
        )
        .await?;
    Ok(rows.iter().map(StoredLetter::of).collect())
}

/// How many there are.
pub async fn count(
    client: &impl GenericClient,
    group: &str,
    (reason, stream): (Option<&str>, Option<&str>),
) -> Result<i64, Error> {
    let count = format!("SELECT count(*) {LETTERS}");
    Ok(client
        .query_one(&count, &[&group, &reason, &stream])
        .await?
        .get(0))
}

/// Writes those of a batch. Again changes nothing.
pub(super) async fn write(
    client: &impl GenericClient,
    config: &Config,
    group: &str,
    batch: &Batch,
    letters: &[DeadLetter],
) -> Result<(), Error> {
    let (topic, position) = (
        &config.topics[batch.source.topic].name,
        &batch.source.position,
    );
    let letters: Vec<_> = letters
        .iter()
        .filter_map(|letter| Some((letter, batch.record(letter.record)?)))
        .collect();
    if letters.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = letters
        .iter()
        .map(|(letter, _)| {
            let stream = letter
                .stream
                .map(|stream| config.streams[stream].name.as_str());
            // PostgreSQL has no NUL in a text.
            let detail = beginning(&letter.detail, DETAIL_BYTES_MAX).replace('\0', "\u{fffd}");
            (
                stream,
                letter.id.map(|id| Uuid::from_bytes(id.0)),
                letter.reason.as_str(),
                detail,
            )
        })
        .collect();
    let offsets: Vec<i64> = letters.iter().map(|(_, record)| record.offset).collect();
    let at: Vec<i64> = letters
        .iter()
        .map(|(_, record)| record.timestamp_ms.clamp(*TIMES.start(), *TIMES.end()))
        .collect();
    let streams: Vec<_> = names.iter().map(|name| name.0).collect();
    let ids: Vec<_> = names.iter().map(|name| name.1).collect();
    let reasons: Vec<_> = names.iter().map(|name| name.2).collect();
    let details: Vec<_> = names.iter().map(|name| name.3.as_str()).collect();
    let keys: Vec<_> = letters.iter().map(|(_, record)| record.key).collect();
    let values: Vec<_> = letters.iter().map(|(_, record)| record.value).collect();
    let headers: Vec<_> = letters
        .iter()
        .map(|(_, record)| record.header(HEADER))
        .collect();
    client
        .execute(
            WRITE,
            &[
                &group,
                topic,
                &position.incarnation,
                &position.partition,
                &offsets,
                &at,
                &streams,
                &ids,
                &reasons,
                &details,
                &keys,
                &values,
                &headers,
            ],
        )
        .await?;
    Ok(())
}

/// Forgets those that were stored after all.
pub(super) async fn forget(
    client: &impl GenericClient,
    (group, topic): (&str, &str),
    source: &Source,
    offsets: &[i64],
) -> Result<(), Error> {
    let position = &source.position;
    client
        .execute(
            FORGET,
            &[
                &group,
                &topic,
                &position.incarnation,
                &position.partition,
                &offsets,
            ],
        )
        .await?;
    Ok(())
}

/// Keeps the record at which a partition has stopped, alone in `batch`, as a dead letter, and has the partition go on at `to`.
pub async fn pass_over(
    client: &mut deadpool_postgres::Client,
    config: &Config,
    batch: &Batch,
    (detail, to): (String, i64),
) -> Result<(), Error> {
    let (group, topic) = (
        &config.consumer.group,
        &config.topics[batch.source.topic].name,
    );
    let letter = DeadLetter {
        record: 0,
        reason: Reason::PassedOver,
        detail,
        id: None,
        stream: None,
    };
    let transaction = client.transaction().await?;
    write(&transaction, config, group, batch, &[letter]).await?;
    let at = (group.as_str(), topic.as_str());
    offsets::keep(&transaction, at, &batch.source.position, (to, None)).await?;
    transaction.commit().await
}

/// Counts them, and tells of the first of each reason.
pub(super) fn report(config: &Config, metric: &'static str, batch: &Batch, letters: &[DeadLetter]) {
    for letter in letters {
        let reason = letter.reason.as_str();
        metrics::counter!(metric, "reason" => reason).increment(1);
        let Some(record) = batch.record(letter.record) else {
            continue;
        };
        let detail = format!(
            "{}: {}",
            place(config, batch, &record),
            beginning(&letter.detail, 1_000)
        );
        log_limiter::repeated("records became dead letters", reason, &detail);
    }
}

//! `consumer dead-letters pass-over`: lets a partition that has stopped at a record go on behind it.
//!
//! The record becomes a dead letter, and nothing else is touched: the consumer that has the partition looks for
//! that letter every few seconds. A batch that librdkafka cannot unpack is passed over whole.

use std::{
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use aguacero::{
    config::Config,
    kafka::Topics,
    ledger::Position,
    record::{HEADER, Header},
};
use anyhow::{Context as _, bail, ensure};
use bson::Document;
use rdkafka::Message as _;

use crate::{
    archive::{Archive, PASSED_TO},
    batch::{Batch, Source},
    decode::dead_letter::{self, DeadLetter, Reason},
    poll::{Committed, Probed, committed, headers, probe, reader},
};

/// How long a record may take to come.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
/// How long one look for it waits.
const LOOK: Duration = Duration::from_millis(100);

/// A record's place: `TOPIC/PARTITION/OFFSET`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    topic: String,
    partition: i32,
    offset: i64,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.rsplitn(3, '/');
        let (offset, partition) = (parts.next(), parts.next());
        let number =
            |part: Option<&str>| part.and_then(|p| p.parse::<i64>().ok()).filter(|n| *n >= 0);
        let mut place = || {
            Some(Self {
                offset: number(offset)?,
                partition: i32::try_from(number(partition)?).ok()?,
                topic: parts
                    .next()
                    .filter(|t| !t.is_empty() && !t.contains('/'))?
                    .to_owned(),
            })
        };
        place().ok_or_else(|| {
            "a record's place is TOPIC/PARTITION/OFFSET, as the consumer's log has it where the partition stopped".into()
        })
    }
}

/// Makes a dead letter of the record at `place`, at which its partition has stopped. An error says why it does not.
pub(super) async fn pass_over(
    config: &Arc<Config>,
    archive: &Archive,
    place: &Place,
    why: Option<&str>,
) -> anyhow::Result<()> {
    let (asking, asked) = (config.clone(), place.clone());
    let found = tokio::task::spawn_blocking(move || find(&asking, &asked)).await?;
    let Stopped { batch, cut, to } = found?;
    let mut letter = letter(config, &batch, cut)?;
    letter.insert("detail", why.unwrap_or("an operator has passed it over"));
    let count = to - place.offset;
    if count > 1 {
        letter.insert(PASSED_TO, to);
    }
    let mongodb = || format!("MongoDB at {}", crate::retry::hosts(&config.mongodb.uri));
    archive
        .put_dead_letter(&letter)
        .await
        .with_context(mongodb)?;
    let id = letter.get_str("_id").unwrap_or_default();
    println!("{id}: passed over, {count} offsets; its partition goes on at {to} within seconds");
    Ok(())
}

/// What a partition has stopped at.
pub(super) struct Stopped {
    /// The record alone; without a value if it cannot be read.
    pub(super) batch: Batch,
    /// Why it cannot be read.
    pub(super) cut: Option<String>,
    /// The offset behind it, or behind all that cannot be read.
    pub(super) to: i64,
}

/// The record at which a partition has stopped. Blocks while Kafka is asked.
pub(super) fn find(config: &Config, place: &Place) -> anyhow::Result<Stopped> {
    let Place {
        topic,
        partition,
        offset,
    } = place;
    let index = config.topics.iter().position(|t| t.name == *topic);
    let names = || {
        config
            .topics
            .iter()
            .map(|t| t.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let index =
        index.with_context(|| format!("no topic is called {topic}; there are {}", names()))?;
    let kafka = || format!("Kafka at {}", config.kafka.brokers);
    let topics = Topics::new(&config.kafka, "dead-letters").context("librdkafka")?;
    let described = topics.describe(&[topic]).with_context(kafka)?;
    let described = described
        .get(topic)
        .with_context(|| format!("{topic} is not there"))?;
    ensure!(
        *partition < described.partitions,
        "{topic} has {} partitions, from 0 on: there is no partition {partition}",
        described.partitions
    );
    let (first, end) = topics.offsets(topic, *partition).with_context(kafka)?;
    ensure!(
        (first..end).contains(offset),
        "{topic}/{partition} has the offsets from {first} to before {end}: there is no record at {offset}"
    );
    // A client of its own: this only asks what the group has committed, and joins nothing.
    let group = reader(config, topic, *partition, *offset).with_context(kafka)?;
    let asked = [(topic.clone(), *partition)];
    let committed = committed(&group, &asked).with_context(kafka)?;
    check(place, &described.incarnation, committed.first())?;
    let position = Position {
        incarnation: described.incarnation.clone(),
        partition: *partition,
    };
    let source = Arc::new(Source {
        topic: index,
        position,
        epoch: 0,
    });
    match probe(config, topic, *partition, *offset).with_context(kafka)? {
        Probed::Record(found) => {
            ensure!(
                found == *offset,
                "there is no record at {offset}: the next is at {found}"
            );
            let batch = read(config, place, source)?;
            Ok(Stopped {
                batch,
                cut: None,
                to: offset + 1,
            })
        }
        Probed::Unreadable { begins, why } => {
            let to = end_of_batch(config, place, begins, end)?;
            let mut batch = Batch::new(source);
            batch.push((*offset, 0), None, None, std::iter::empty());
            let cut = format!(
                "the batch that begins at offset {begins} cannot be read ({why}): offsets {offset} to {} are passed \
                 over, and nothing of them is kept",
                to - 1
            );
            Ok(Stopped {
                batch,
                cut: Some(cut),
                to,
            })
        }
        Probed::End(_) => bail!("there is no record at {offset}, nor behind it"),
        Probed::Nothing => bail!("{} does not give the record at {offset}", kafka()),
    }
}

/// Whether the group stands still at the place.
fn check(place: &Place, incarnation: &str, committed: Option<&Committed>) -> anyhow::Result<()> {
    let Place {
        topic,
        partition,
        offset,
    } = place;
    let at = committed.filter(|c| c.incarnation.as_deref() == Some(incarnation));
    match at.and_then(|c| Some((c.next?, c.stopped))) {
        Some((next, true)) if next == *offset => Ok(()),
        Some((next, _)) if next > *offset => bail!(
            "{topic}/{partition} has not stopped at {offset}: everything below {next} is archived or a dead letter"
        ),
        Some((next, true)) => {
            bail!("{topic}/{partition} has stopped at {next}, and not at {offset}")
        }
        Some((next, false)) => bail!(
            "{topic}/{partition} has not stopped: its consumers are at {next}, and go on from there if any of them runs"
        ),
        None => bail!(
            "{topic}/{partition} has not stopped: its consumers have committed no offset of it"
        ),
    }
}

/// The record in a batch of its own.
fn read(config: &Config, place: &Place, source: Arc<Source>) -> anyhow::Result<Batch> {
    let consumer = reader(config, &place.topic, place.partition, place.offset)?;
    let until = Instant::now() + READ_TIMEOUT;
    while Instant::now() < until {
        if let Some(Ok(message)) = consumer.poll(LOOK)
            && message.offset() == place.offset
        {
            let mut batch = Batch::new(source);
            let at = message.timestamp().to_millis().unwrap_or_default();
            batch.push(
                (message.offset(), at),
                message.key(),
                message.payload(),
                headers(&message),
            );
            return Ok(batch);
        }
    }
    bail!("Kafka at {} does not give the record", config.kafka.brokers)
}

/// The first offset from `place` on that is not in the unreadable batch that `begins` there, or `end`.
fn end_of_batch(config: &Config, place: &Place, begins: i64, end: i64) -> anyhow::Result<i64> {
    let is_inside = |offset: i64| -> anyhow::Result<bool> {
        match probe(config, &place.topic, place.partition, offset)? {
            Probed::Unreadable { begins: other, .. } => Ok(other == begins),
            Probed::Record(_) | Probed::End(_) => Ok(false),
            Probed::Nothing => bail!(
                "Kafka at {} does not tell where the batch ends",
                config.kafka.brokers
            ),
        }
    };
    // `inside` is, `outside` is not: whatever is behind a batch is outside of it.
    let (mut inside, mut outside, mut step) = (place.offset, end, 1);
    while inside + step < outside {
        let offset = inside + step;
        if is_inside(offset)? {
            (inside, step) = (offset, step * 2);
        } else {
            outside = offset;
        }
    }
    while inside + 1 < outside {
        let middle = inside + (outside - inside) / 2;
        if is_inside(middle)? {
            inside = middle;
        } else {
            outside = middle;
        }
    }
    Ok(outside)
}

/// The dead letter of a batch's only record; with `cut`, it says what of it is not kept.
fn letter(config: &Config, batch: &Batch, cut: Option<String>) -> anyhow::Result<Document> {
    let header = batch.record(0).and_then(|r| r.header(HEADER));
    let header = header.and_then(|h| Header::read(h).ok());
    let stream = header.as_ref().and_then(|h| config.stream(h.stream));
    let letter = DeadLetter {
        record: 0,
        reason: Reason::PassedOver,
        detail: String::new(),
        id: header.as_ref().map(|h| h.id),
        stream: stream.map(|s| s.index),
    };
    let document = match cut {
        Some(cut) => dead_letter::small(config, batch, &letter, &cut),
        None => dead_letter::document(config, batch, &letter),
    };
    document.context("a batch of one record has a record")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_three_parts() {
        let place = Place {
            topic: "a.b".into(),
            partition: 3,
            offset: 12,
        };
        assert_eq!("a.b/3/12".parse(), Ok(place));
        for wrong in [
            "", "a/3", "a/3/-1", "a/-3/1", "/3/1", "a/b/3/1", "a/x/1", "a/3/1/",
        ] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_the_record_at_which_the_group_has_stopped_can_be_passed_over() {
        let place: Place = "t/0/7".parse().unwrap_or_else(|e| panic!("{e}"));
        let committed = |next, stopped| Committed {
            topic: "t".into(),
            partition: 0,
            next,
            incarnation: Some("i".into()),
            leader_epoch: None,
            stopped,
        };
        let told = |committed: Committed, incarnation| {
            let checked = check(&place, incarnation, Some(&committed));
            checked.map_err(|e| e.to_string())
        };
        assert_eq!(told(committed(Some(7), true), "i"), Ok(()));
        for (committed, incarnation, words) in [
            (
                committed(Some(7), false),
                "i",
                "has not stopped: its consumers are at 7",
            ),
            (committed(Some(9), true), "i", "below 9 is archived"),
            (
                committed(Some(5), true),
                "i",
                "has stopped at 5, and not at 7",
            ),
            (
                committed(Some(5), false),
                "i",
                "has not stopped: its consumers are at 5",
            ),
            (committed(None, false), "i", "no offset"),
            (committed(Some(7), true), "another", "no offset"),
        ] {
            let error = told(committed, incarnation).expect_err("it has not stopped there");
            assert!(error.contains(words), "{error}");
        }
    }
}

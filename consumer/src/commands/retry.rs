//! `consumer tables retry`: dead letters of PostgreSQL are tried again.

use std::sync::Arc;

use aguacero::{config::Config, ledger::Position};
use anyhow::Context as _;

use super::{
    dead_letters::Which,
    tables::{client, print},
};
use crate::{
    batch::Source,
    postgres,
    retry::RetryLimit,
    tables::Rows,
    transaction::{Retried, Said, StoredLetter, TransactionSink, next},
};

/// Dead letters that are in memory, and tried again in one transaction, as far as they are of one partition.
const AT_ONCE: i64 = 100;

/// How many there were, and what became of them.
#[derive(Default)]
struct Counts {
    all: usize,
    stored: usize,
    /// Their topic is not one of a stream with a table.
    undeclared: usize,
    /// This release or configuration cannot tell what they are.
    unjudged: usize,
    /// Of the first of these.
    why: Option<String>,
}

pub(super) async fn retry(config: Arc<Config>, which: &Which) -> anyhow::Result<()> {
    let pool = postgres::pool(&config.postgres, 2)?;
    let client = client(&config, &pool, RetryLimit::of_a_command()).await?;
    let group = &config.consumer.group;
    let rows = Rows::look(&config, &client).await?;
    let sink = TransactionSink::new(config.clone(), pool.clone(), rows);
    let (mut counts, mut last) = (Counts::default(), None);
    loop {
        let letters = next(&client, group, which.words(), last.as_ref(), AT_ONCE).await;
        let mut letters = letters.map_err(Said::from)?;
        for of_partition in letters.chunk_by(is_of_same_partition) {
            counts.all += of_partition.len();
            retry_of_partition(&config, &sink, of_partition, &mut counts).await?;
        }
        let Some(letter) = letters.pop() else {
            break; // none was left
        };
        last = Some(letter);
    }
    let Counts { all, stored, .. } = counts;
    let left = all - stored;
    print(&format!(
        "{stored} are rows now, {left} are dead letters still\n"
    ));
    if counts.undeclared > 0 {
        print(&format!(
            "{} of these belong to topics that no stream with a table has\n",
            counts.undeclared
        ));
    }
    if let Some(why) = counts.why {
        print(&format!(
            "{} of these cannot be judged, the first: {why}\n",
            counts.unjudged
        ));
    }
    Ok(())
}

fn is_of_same_partition(a: &StoredLetter, b: &StoredLetter) -> bool {
    (&a.topic, &a.incarnation, a.partition) == (&b.topic, &b.incarnation, b.partition)
}

async fn retry_of_partition(
    config: &Config,
    sink: &TransactionSink<Rows>,
    mut letters: &[StoredLetter],
    counts: &mut Counts,
) -> anyhow::Result<()> {
    let Some(first) = letters.first() else {
        return Ok(());
    };
    let Some(topic) = config.topics.iter().position(|t| t.name == first.topic) else {
        counts.undeclared += letters.len();
        return Ok(());
    };
    let position = Position {
        incarnation: first.incarnation.clone(),
        partition: first.partition,
    };
    let source = Arc::new(Source {
        topic,
        position,
        epoch: 0,
    });
    while !letters.is_empty() {
        let retried = sink.retry(&source, letters).await;
        let Retried { stored, stop } = retried
            .map_err(anyhow::Error::msg)
            .context("trying again")?;
        counts.stored += stored;
        let Some((at, why)) = stop else { break };
        counts.unjudged += 1;
        let place = format!("{}/{}/{at}", letters[0].topic, letters[0].partition);
        counts.why.get_or_insert(format!("{place}: {why}"));
        letters = &letters[letters.partition_point(|letter| letter.offset <= at)..];
    }
    Ok(())
}

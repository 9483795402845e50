//! What `consumer tables` has written, held against what clients were told and what Kafka holds.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
    time::{Duration, Instant},
};

use aguacero::id::EventId;
use serde_json::Value;

use crate::{
    Pipeline,
    load::{Report, tweet},
};

/// How long after the last fault everything may take to be there.
const EXACT_WITHIN: Duration = Duration::from_secs(180);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Tweets that a violation names, by their numbers.
const EXAMPLES: usize = 5;

/// What there is, and what is wrong with it.
#[derive(Debug, Default)]
pub struct RowsVerdict {
    /// Events that were answered 200.
    pub stored: usize,
    /// Records in Kafka.
    pub records: usize,
    /// Rows.
    pub rows: usize,
    /// From the last event until every row was there.
    pub exact_after: Duration,
    /// Promises that were broken, one line each.
    pub violations: Vec<String>,
}

impl fmt::Display for RowsVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in [
            ("events answered 200", self.stored),
            ("records in Kafka", self.records),
            ("rows", self.rows),
            ("promises broken", self.violations.len()),
        ] {
            writeln!(f, "  {what:<40}{count:>12}")?;
        }
        let after = self.exact_after.as_secs_f64();
        writeln!(f, "  {:<40}{after:>12.1}", "until every row was there, s")?;
        for violation in &self.violations {
            writeln!(f, "  VIOLATION: {violation}")?;
        }
        Ok(())
    }
}

/// A row: id, and the three values of a tweet.
type Row = (String, [String; 3]);

impl Pipeline {
    /// Waits until `table` has a row of every event in Kafka, and judges what `reports` say the clients were told, who
    /// have written to one stream. The table has no key that would hide a second row, and the columns id, texto, pais
    /// and n.
    ///
    /// # Panics
    /// This pipeline has no tables.
    pub async fn judge_rows(&self, table: &str, reports: &[Report]) -> RowsVerdict {
        let postgres = self.postgres.as_ref().expect("tables");
        let feed = reports[0].plan.feed;
        let began = Instant::now();
        let mut verdict = RowsVerdict::default();
        let (ids, rows) = loop {
            let records = self.records(feed.stream).await;
            verdict.records = records.len();
            let ids: HashSet<_> = records.iter().map(|record| text_of(record.id())).collect();
            let count = postgres
                .try_rows(&format!("SELECT count(*) FROM {table}"))
                .await;
            let count = count.ok().and_then(|rows| rows[0][0].parse::<usize>().ok());
            let is_late = began.elapsed() > EXACT_WITHIN;
            if is_late || count.is_some_and(|count| count >= ids.len()) {
                verdict.exact_after = began.elapsed();
                let select = format!("SELECT id, texto, pais, n FROM {table}");
                break (ids, postgres.rows(&select).await);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        let rows: Vec<Row> = rows.into_iter().filter_map(row).collect();
        verdict.rows = rows.len();
        let stored: BTreeSet<usize> = reports.iter().flat_map(|r| &r.stored).copied().collect();
        verdict.stored = stored.len();
        let mut times: HashMap<&str, usize> = HashMap::new();
        for (id, _) in &rows {
            *times.entry(id).or_default() += 1;
        }
        let mut broken = |promise: &str, events: Vec<String>| {
            if !events.is_empty() {
                let (count, examples) = (events.len(), &events[..events.len().min(EXAMPLES)]);
                let text = format!("{promise}: {count} events, among them {examples:?}");
                verdict.violations.push(text);
            }
        };
        let id = |n: usize| text_of(feed.id(n));
        let without = stored.iter().filter(|n| !times.contains_key(&*id(**n)));
        broken(
            "answered 200 and no row",
            without.map(usize::to_string).collect(),
        );
        let missing = ids.iter().filter(|id| !times.contains_key(&***id));
        broken("in Kafka and no row", missing.cloned().collect());
        let twice = times.iter().filter(|(_, times)| **times > 1);
        broken(
            "more than one row",
            twice.map(|(id, _)| (*id).to_owned()).collect(),
        );
        let invented = times.keys().filter(|id| !ids.contains(**id));
        broken(
            "a row and not in Kafka",
            invented.map(|id| (*id).to_owned()).collect(),
        );
        let other = rows.iter().filter(|(of, values)| {
            let n = values[2].parse::<usize>();
            n.is_err() || n.is_ok_and(|n| id(n) != *of || values_of(n) != *values)
        });
        broken(
            "other values than were sent",
            other.map(|(id, _)| id.clone()).collect(),
        );
        self.judge_books(&mut verdict).await;
        verdict
    }

    /// What else is in the same transactions as the rows.
    async fn judge_books(&self, verdict: &mut RowsVerdict) {
        let postgres = self.postgres.as_ref().expect("tables");
        let number = async |sql: &str| -> usize {
            let rows = postgres.rows(sql).await;
            rows[0][0].parse().unwrap_or_default()
        };
        for (what, sql, expected) in [
            (
                "events taken",
                "SELECT count(*) FROM aguacero.events",
                verdict.rows,
            ),
            (
                "records finished",
                "SELECT coalesce(sum(next), 0) FROM aguacero.offsets",
                verdict.records,
            ),
            (
                "dead letters",
                "SELECT count(*) FROM aguacero.dead_letters",
                0,
            ),
        ] {
            let is = number(sql).await;
            if is != expected {
                let text = format!("{is} {what} instead of {expected}");
                verdict.violations.push(text);
            }
        }
    }
}

fn row(values: Vec<String>) -> Option<Row> {
    let [id, texto, pais, n] = values.try_into().ok()?;
    Some((id, [texto, pais, n]))
}

/// As PostgreSQL writes it.
fn text_of(id: EventId) -> String {
    let hex: String = id.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let ends = [8, 12, 16, 20, 32];
    let starts = [0, 8, 12, 16, 20];
    let parts = starts.iter().zip(ends).map(|(from, to)| &hex[*from..to]);
    parts.collect::<Vec<_>>().join("-")
}

/// What the row of tweet `n` has.
fn values_of(n: usize) -> [String; 3] {
    let sent: Value = serde_json::from_str(&tweet(n)).expect("tweets are JSON");
    let text = |name: &str| sent[name].as_str().unwrap_or_default().to_owned();
    [text("texto"), text("país"), n.to_string()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_as_postgresql_writes_it() {
        let id = EventId([
            0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54,
            0x32, 0x10,
        ]);
        assert_eq!(text_of(id), "01234567-89ab-cdef-fedc-ba9876543210");
    }
}

//! The oracle: what the clients were told, held against what Kafka, MongoDB and Redis hold.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    time::{Duration, Instant},
};

use aguacero::{config::Partitioning, id::EventId};
use bson::{Bson, Document, doc};
use serde_json::Value;

use crate::{
    Pipeline,
    archive::id_of,
    kafka::Record,
    load::{COUNTRIES, Report, tweet},
};

/// How long after the last fault everything may take to agree.
pub const EXACT_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Tweets that a violation names, by their numbers.
const EXAMPLES: usize = 5;

/// What the oracle found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Events that were answered 200.
    pub stored: usize,
    /// Events that were refused each time.
    pub refused: usize,
    /// Events whose outcome nobody told.
    pub unknown: usize,
    /// Those of them that are archived.
    pub unknown_there: usize,
    /// Events that a store refused, and that are dead letters instead.
    pub dead: usize,
    /// Records in Kafka beyond the first of an event: what the gateway, or a client, sent again.
    pub repeats: usize,
    /// Until Kafka, MongoDB and Redis agreed.
    pub exact_after: Duration,
    /// Promises that were broken, one line each. Empty is what it is all about.
    pub violations: Vec<String>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} stored, {} refused, {} unknown ({} of them there), {} repeated in Kafka, {} dead letters only, exact after {:.1} s",
            self.stored,
            self.refused,
            self.unknown,
            self.unknown_there,
            self.repeats,
            self.dead,
            self.exact_after.as_secs_f64()
        )?;
        for violation in &self.violations {
            write!(f, "\n  VIOLATION: {violation}")?;
        }
        Ok(())
    }
}

/// What is known of one event.
#[derive(Default)]
struct Found<'a> {
    /// Its records in Kafka, ascending.
    records: Vec<&'a Record>,
    documents: Vec<&'a Document>,
    /// Whether it was archived in a collection that was dropped since.
    is_dropped: bool,
    /// How many of its records became dead letters.
    dead: usize,
}

impl Pipeline {
    /// Waits until the stores agree, and judges what `report` says the clients were told.
    pub async fn judge(&self, report: &Report) -> Verdict {
        self.judge_all(std::slice::from_ref(report)).await
    }

    /// The same of clients that write to several streams, each report about one of them.
    pub async fn judge_all(&self, reports: &[Report]) -> Verdict {
        let began = Instant::now();
        let mut verdict = Verdict::default();
        let mut archives = Vec::new();
        for report in reports {
            let stream = report.plan.feed.stream;
            archives.push(loop {
                match self.look(stream, None).await {
                    Ok((archive, _)) => break archive,
                    Err(_) if began.elapsed() < EXACT_WITHIN => {
                        tokio::time::sleep(LOOK_EVERY).await;
                    }
                    Err(why) => {
                        let text = format!("{stream} is not exact after {EXACT_WITHIN:?}: {why}");
                        verdict.violations.push(text);
                        break self.archive.of_stream(self.stream(stream)).await;
                    }
                }
            });
        }
        verdict.exact_after = began.elapsed();
        let mut letters = self.letters(&mut verdict).await;
        for (report, archive) in reports.iter().zip(&archives) {
            let stream = report.plan.feed.stream;
            let mut records = self.records(stream).await;
            records.retain(|record| record.header().stream == stream);
            verdict.stored += report.stored.len();
            verdict.refused += report.refused.len();
            verdict.unknown += report.unknown.len();
            let mut dropped = Vec::new();
            for aside in self.archive.aside(&self.stream(stream).archive).await {
                dropped.extend(self.archive.find(&aside, doc! {}).await);
            }
            let archives = [&archive[..], &dropped];
            self.compare(report, &records, archives, &mut letters, &mut verdict);
        }
        if !letters.is_empty() {
            let text = format!("{} events are dead letters that nobody sent", letters.len());
            verdict.violations.push(text);
        }
        verdict
    }

    /// How many dead letters each event has.
    async fn letters(&self, verdict: &mut Verdict) -> HashMap<EventId, usize> {
        let (mut letters, mut nameless) = (HashMap::new(), 0);
        for letter in self.archive.dead_letters().await {
            match letter.get("id") {
                Some(Bson::Binary(id)) if id.bytes.len() == 16 => {
                    let id = id.bytes.as_slice().try_into().map(EventId);
                    *letters.entry(id.expect("16 bytes")).or_default() += 1;
                }
                _ => nameless += 1,
            }
        }
        if nameless > 0 {
            let text = format!("{nameless} dead letters of nobody's events");
            verdict.violations.push(text);
        }
        letters
    }

    fn compare(
        &self,
        report: &Report,
        records: &[Record],
        [archive, dropped]: [&[Document]; 2],
        letters: &mut HashMap<EventId, usize>,
        verdict: &mut Verdict,
    ) {
        let plan = &report.plan;
        let sent = report
            .stored
            .iter()
            .chain(&report.refused)
            .chain(&report.unknown);
        let by_id: HashMap<EventId, usize> = sent.map(|&n| (plan.feed.id(n), n)).collect();
        let mut found: BTreeMap<usize, Found<'_>> = BTreeMap::new();
        let mut invented = 0;
        for record in records {
            match by_id.get(&record.id()) {
                Some(&n) => found.entry(n).or_default().records.push(record),
                None => invented += 1,
            }
        }
        for document in archive {
            match by_id.get(&id_of(document)) {
                Some(&n) => found.entry(n).or_default().documents.push(document),
                None => invented += 1,
            }
        }
        for document in dropped {
            if let Some(&n) = by_id.get(&id_of(document)) {
                found.entry(n).or_default().is_dropped = true;
            }
        }
        for (id, &n) in &by_id {
            if let Some(dead) = letters.remove(id) {
                found.entry(n).or_default().dead = dead;
            }
        }
        if invented > 0 {
            let text = format!("{invented} records or documents that nobody sent");
            verdict.violations.push(text);
        }

        let nothing = Found::default();
        let of = |n: usize| found.get(&n).unwrap_or(&nothing);
        let mut broken = |promise: &str, broken: BTreeSet<usize>| {
            if !broken.is_empty() {
                let examples: Vec<_> = broken.iter().take(EXAMPLES).collect();
                let (stream, count) = (plan.feed.stream, broken.len());
                let text =
                    format!("{promise}: {count} events of {stream}, among them {examples:?}");
                verdict.violations.push(text);
            }
        };
        let all = || by_id.values().copied();
        let those = |events: &BTreeSet<usize>, is_broken: &dyn Fn(&Found<'_>) -> bool| {
            let broken = events.iter().copied().filter(|&n| is_broken(of(n)));
            broken.collect::<BTreeSet<_>>()
        };
        let sent: BTreeSet<usize> = all().collect();
        let stored = &report.stored - &report.forgiven;
        broken(
            "answered 200 and not in Kafka",
            those(&stored, &|f| f.records.is_empty()),
        );
        broken(
            "answered 200 and neither archived nor a dead letter",
            those(&stored, &|f| {
                f.documents.is_empty() && !f.is_dropped && f.dead == 0
            }),
        );
        broken(
            "a dead letter, though every store takes it",
            sent.iter()
                .copied()
                .filter(|&n| of(n).dead > 0 && !plan.is_odd(n))
                .collect(),
        );
        broken(
            "archived more than once",
            those(&sent, &|f| f.documents.len() > 1),
        );
        broken(
            "refused each time, and there all the same",
            those(&report.refused, &|f| {
                !f.records.is_empty() || !f.documents.is_empty()
            }),
        );
        broken(
            "archived, but not in Kafka",
            those(&(&sent - &report.forgiven), &|f| {
                f.records.is_empty() && !f.documents.is_empty()
            }),
        );
        broken(
            "in Kafka with other bytes than were sent",
            all()
                .filter(|&n| {
                    of(n)
                        .records
                        .iter()
                        .any(|r| r.value != plan.tweet(n).as_bytes())
                })
                .collect(),
        );
        broken(
            "archived with other values than were sent",
            all()
                .filter(|&n| of(n).documents.iter().any(|d| !is_tweet(d, n)))
                .collect(),
        );
        if matches!(
            self.stream(plan.feed.stream).spread.otherwise,
            Partitioning::Key(_)
        ) {
            broken(
                "in Kafka before an event of the same key that was acknowledged before this was sent",
                out_of_order(report, &found),
            );
        }
        let there = report
            .unknown
            .iter()
            .filter(|n| !of(**n).documents.is_empty());
        verdict.unknown_there += there.count();
        let repeats = found.values().map(|f| f.records.len().saturating_sub(1));
        verdict.repeats += repeats.sum::<usize>();
        let dead = found
            .values()
            .filter(|f| f.dead > 0 && f.documents.is_empty());
        verdict.dead += dead.count();
    }
}

/// Each client sends an event only after it was told of the one before. So among the events of one
/// client and one key, the first records of the stored ones must stand in the order of their numbers.
fn out_of_order(report: &Report, found: &BTreeMap<usize, Found<'_>>) -> BTreeSet<usize> {
    let mut last: HashMap<(usize, usize), (i32, i64)> = HashMap::new();
    let mut late = BTreeSet::new();
    for &n in report.stored.difference(&report.forgiven) {
        let Some(first) = found.get(&n).and_then(|f| f.records.first()) else {
            continue;
        };
        let here = (first.partition, first.offset);
        let before = last.insert((n % report.plan.clients, n % COUNTRIES.len()), here);
        if before.is_some_and(|(partition, offset)| partition != here.0 || offset > here.1) {
            late.insert(n);
        }
    }
    late
}

/// Whether a document has the values of tweet `n`.
fn is_tweet(document: &Document, n: usize) -> bool {
    let sent: Value = serde_json::from_str(&tweet(n)).expect("tweets are JSON");
    document.get_str("texto").ok() == sent["texto"].as_str()
        && document.get_str("país").ok() == sent["país"].as_str()
        && document.get_i32("n").ok().map(i64::from) == sent["n"].as_i64()
}

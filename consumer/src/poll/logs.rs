//! What the broker says of a partition's log: where it begins and ends, and what became of what did not come.
//!
//! The poll loop waits for nobody, so it puts a question and hears the answer later: before it begins to read a
//! partition; where offsets did not come; and every few seconds while a partition is quiet, since nothing arrives
//! to tell that retention has passed over it, that its log has lost its tail, that its next batch cannot be read,
//! or that somebody lets it go on after the record at which it has stopped.

use std::sync::Arc;

use aguacero::{kafka::Topics, ledger::Position, log_limiter};
use rdkafka::consumer::CommitMode;
use tokio::task::spawn_blocking;

use super::{
    partition::{Asked, PATIENCE, ResumePoint, Start},
    probe::{Probed, probe},
    state::Poller,
};
use crate::{
    batch::Source,
    metric,
    sink::{Resume, Sink},
};

/// Looks, one a second, at which a partition has not moved, until its log is looked at.
const QUIET: u32 = 2;
/// The same once a probe has found nothing: somebody's transaction is open.
const PATIENCE_IN_VAIN: u32 = 20;
/// What is said where a question has no answer.
const UNTOLD: &str = "Kafka does not tell where a log begins and ends";

/// The answer to a question.
pub(super) struct Answer {
    key: (usize, i32),
    id: u64,
    log: Result<Log, String>,
}

/// A log as it was after the question was put.
struct Log {
    /// Its first offset, and the one after its last.
    range: (i64, i64),
    /// The topic is compacted: offsets that are missing were records.
    compacted: bool,
    /// The offset that cannot be read, and why.
    unreadable: Option<(i64, String)>,
    /// Nothing comes before this offset.
    nothing_before: Option<i64>,
    /// Where to go on instead of the record at which the partition has stopped.
    passed_to: Option<i64>,
    /// Where the sink wants to begin, in which incarnation.
    resume: Option<(String, Resume)>,
}

/// What is asked beside the range.
struct Question {
    topic: String,
    partition: i32,
    /// Whether the topic is compacted.
    policy: bool,
    /// What comes from this offset on.
    probe: Option<i64>,
    /// Whether this record is to be passed over.
    stopped: Option<(Arc<Source>, i64)>,
    /// The incarnation in which the partition is to be begun.
    begins: Option<String>,
}

impl<S: Sink> Poller<S> {
    /// Puts what is to be asked now. `tick` says that a second has passed.
    pub(super) fn ask(&mut self, tick: bool) {
        let view = self.views.borrow().clone();
        let unreadable = tick && std::mem::take(&mut self.unreadable);
        let keys: Vec<_> = self.partitions.keys().copied().collect();
        for key in keys {
            let Some(partition) = self.partitions.get_mut(&key) else {
                continue;
            };
            let topic = &self.config.topics[key.0].name;
            let described = view.topics.get(topic);
            let has_leader = |d: &aguacero::kafka::Described| {
                let in_sync = usize::try_from(key.1).ok().and_then(|n| d.in_sync.get(n));
                in_sync.is_none_or(|n| *n > 0)
            };
            if partition.asked.is_some() || partition.leaving || !described.is_some_and(has_leader)
            {
                continue;
            }
            if partition.source.is_none() {
                if view.round >= partition.resume_point.round {
                    self.put(key, false);
                }
                continue;
            }
            if !tick {
                continue;
            }
            let (before, looks) = partition.quiet;
            let looks = if before == partition.next {
                looks + 1
            } else {
                0
            };
            let is_due = looks >= QUIET || !partition.gaps.is_empty();
            partition.quiet = (partition.next, if is_due { 0 } else { looks });
            if is_due || unreadable {
                let probe = looks > 0 && (unreadable || partition.patience == 0);
                let probe = probe && partition.is_idle();
                self.put(key, probe);
            }
        }
    }

    fn put(&mut self, key: (usize, i32), probe: bool) {
        let view = self.views.borrow();
        let described = view.topics.get(&self.config.topics[key.0].name);
        let incarnation = described.map(|described| described.incarnation.clone());
        drop(view);
        let Some(partition) = self.partitions.get_mut(&key) else {
            return;
        };
        self.questions += 1;
        let asked = Asked {
            id: self.questions,
            gaps: partition.gaps.len(),
            probe: probe && !partition.stopped,
            next: partition.next,
        };
        partition.asked = Some(asked);
        let at = |source: &Arc<Source>| Some((source.clone(), partition.finished?));
        let question = Question {
            topic: self.config.topics[key.0].name.clone(),
            partition: key.1,
            policy: (asked.gaps > 0 || asked.probe) && !self.compacted.contains(&key.0),
            probe: asked.probe.then(|| partition.next.unwrap_or(0)),
            stopped: partition
                .source
                .as_ref()
                .filter(|_| partition.stopped)
                .and_then(at),
            begins: incarnation.filter(|_| partition.source.is_none()),
        };
        let (topics, config) = (self.incarnations.topics().clone(), self.config.clone());
        let (sink, asking, answers) = (self.sink.clone(), self.asking.clone(), self.heard.clone());
        self.runtime.spawn(async move {
            let _turn = asking.acquire().await;
            let log = answer(question, topics, config, sink).await;
            _ = answers.send(Answer {
                key,
                id: asked.id,
                log,
            }); // an error: the poll loop has ended
        });
    }

    /// Acts on the answers that have come.
    pub(super) fn hear(&mut self) {
        while let Ok(answer) = self.answers.try_recv() {
            self.act_on(answer);
        }
    }

    fn act_on(&mut self, Answer { key, id, log }: Answer) {
        // One about a time before the partition was given, or before its log was doubted.
        let Some(partition) = self.partitions.get_mut(&key) else {
            return;
        };
        let Some(asked) = partition.asked.take_if(|asked| asked.id == id) else {
            return;
        };
        let topic = &self.config.topics[key.0].name;
        let log = match log {
            Ok(log) => log,
            Err(error) => return log_limiter::repeated(UNTOLD, topic, &error),
        };
        log_limiter::ended(UNTOLD, topic);
        if log.compacted {
            self.compacted.insert(key.0);
        }
        if partition.source.is_none() {
            return self.begin(key, log.range, log.resume);
        }
        let is_compacted = self.compacted.contains(&key.0);
        let gaps: Vec<_> = partition
            .gaps
            .drain(..asked.gaps.min(partition.gaps.len()))
            .collect();
        for gap in gaps {
            report_gap(topic, key.1, gap, log.range.0, is_compacted);
        }
        let (first, end) = log.range;
        if let (Some(then), Some(next)) = (asked.next, partition.next) {
            if end < then {
                return self.gone_back(key, next, end);
            }
            if partition.stopped {
                let to = log.passed_to.unwrap_or(next).max(first);
                return self.go_on(key, next, to, log.passed_to.is_some());
            }
            if first > next && partition.is_idle() {
                report_deleted(topic, key.1, next, first);
                partition.skip_to(first);
                return self.publish();
            }
        }
        if !partition.is_idle() || partition.next != asked.next || partition.stopped {
            return;
        }
        if let Some((at, why)) = log.unreadable {
            return self.stop(key, at, &why);
        }
        if let Some(to) = log.nothing_before {
            let from = partition.next.unwrap_or(first);
            if from < to {
                report_gap(topic, key.1, (from, to), first, is_compacted);
                partition.skip_to(to);
                return self.publish();
            }
        }
        partition.patience = match () {
            () if asked.probe => PATIENCE_IN_VAIN,
            () if partition.next.unwrap_or(first) < end => partition.patience.saturating_sub(1),
            () => PATIENCE,
        };
    }

    /// Begins to read a partition whose incarnation is known, now that its log is.
    fn begin(
        &mut self,
        key: (usize, i32),
        (first, end): (i64, i64),
        resume: Option<(String, Resume)>,
    ) {
        let topic = &self.config.topics[key.0].name;
        let view = self.views.borrow();
        let (Some(partition), Some(is)) = (self.partitions.get_mut(&key), view.topics.get(topic))
        else {
            return;
        };
        let resume_point = &mut partition.resume_point;
        match resume {
            Some((incarnation, resume)) if incarnation == is.incarnation => {
                resume_point.follow(&incarnation, resume);
            }
            _ => return, // the topic was made again meanwhile: it is asked again
        }
        if resume_point.is_beyond(end) && !resume_point.is_confirmed {
            // Is it the log of the topic that the offset was one of?
            resume_point.is_confirmed = true;
            resume_point.round = self.incarnations.next_round();
        }
        if view.round < resume_point.round {
            return;
        }
        let start = resume_point.start(&is.incarnation, (first, end));
        // What librdkafka has fetched before the seek is never returned after it.
        if let Err(error) = super::offsets::seek(&self.consumer, topic, key.1, &start) {
            return log_limiter::repeated("a partition cannot be sought", topic, &error);
        }
        self.epochs += 1;
        partition.adopt(&is.incarnation, self.epochs, &start);
        if let Some((from, to)) = start.deleted {
            report_deleted(topic, key.1, from, to);
        }
        if let Some((from, to)) = start.cut {
            report_cut(topic, key.1, from, to);
        }
        if start.set_by_others.is_some()
            && let Some(source) = partition.source.clone()
        {
            let (sink, topic) = (self.sink.clone(), topic.clone());
            self.runtime.spawn(async move {
                let archived = sink.last_archived(&source).await;
                report_moved(&topic, key.1, &start, (first, end), archived);
            });
        }
        drop(view);
        self.publish();
    }

    /// The log has lost its tail: what was read from `came` to before `next` is not there any more.
    pub(super) fn gone_back(&mut self, key: (usize, i32), next: i64, came: i64) {
        let round = self.incarnations.next_round();
        let Some(partition) = self.partitions.get_mut(&key) else {
            return;
        };
        let unfinished = partition.unfinished(round);
        // What waits is forgotten, and read again if it is still there.
        let offset = unfinished.offset.map(|finished| finished.min(came));
        partition.suspend(ResumePoint {
            offset,
            cut: Some((next, came)),
            ..unfinished
        });
    }

    /// Lets a partition that stopped at `next` go on at `to`, if that is further on.
    fn go_on(&mut self, key: (usize, i32), next: i64, to: i64, is_passed_over: bool) {
        if to <= next {
            return;
        }
        let topic = &self.config.topics[key.0].name;
        if is_passed_over {
            tracing::warn!(
                topic,
                partition = key.1,
                from = next,
                to,
                "a record was passed over: it is a dead letter"
            );
        } else {
            report_deleted(topic, key.1, next, to);
        }
        metric::stopped(topic, key.1, false);
        let round = self.incarnations.next_round();
        if let Some(partition) = self.partitions.get_mut(&key) {
            let unfinished = partition.unfinished(round);
            partition.suspend(ResumePoint {
                offset: Some(to),
                leader_epoch: None,
                ..unfinished
            });
        }
    }

    /// A partition goes no further than the record at `at`.
    pub(super) fn stop(&mut self, key: (usize, i32), at: i64, why: &str) {
        let topic = &self.config.topics[key.0].name;
        tracing::error!(
            topic,
            partition = key.1,
            offset = at,
            "the partition stops here: {why}"
        );
        metric::stopped(topic, key.1, true);
        if let Some(partition) = self.partitions.get_mut(&key) {
            partition.stop(at);
        }
        self.commit(CommitMode::Async); // whoever wants it passed over looks there
    }
}

async fn answer<S: Sink>(
    question: Question,
    topics: Arc<Topics>,
    config: Arc<aguacero::config::Config>,
    sink: Arc<S>,
) -> Result<Log, String> {
    let Question {
        topic, partition, ..
    } = question;
    let (asked, name) = (topics.clone(), topic.clone());
    let range = spawn_blocking(move || asked.offsets(&name, partition)).await;
    let range = range
        .map_err(|e| e.to_string())?
        .map_err(|e| e.to_string())?;
    let mut log = Log {
        range,
        compacted: false,
        unreadable: None,
        nothing_before: None,
        passed_to: None,
        resume: None,
    };
    if question.policy {
        log.compacted = topics
            .is_compacted(&topic)
            .await
            .map_err(|e| e.to_string())?;
    }
    if let Some(at) = question
        .probe
        .map(|at| at.max(range.0))
        .filter(|at| *at < range.1)
    {
        let name = topic.clone();
        let probed = spawn_blocking(move || probe(&config, &name, partition, at)).await;
        let probed = probed.map_err(|e| e.to_string())?;
        match probed.map_err(|e| e.to_string())? {
            Probed::Unreadable { begins, why } => {
                let why = format!(
                    "the batch that begins at offset {begins} cannot be read ({why}): it may expand beyond 100 MB. {}",
                    sink.way_past(&topic, partition, at)
                );
                log.unreadable = Some((at, why));
            }
            Probed::End(offset) => log.nothing_before = Some(offset),
            Probed::Record(_) | Probed::Nothing => {}
        }
    }
    if let Some(incarnation) = question.begins {
        let position = Position {
            incarnation,
            partition,
        };
        let resume = sink.resume(&topic, &position).await;
        log.resume = Some((position.incarnation, resume));
    }
    if let Some((source, at)) = question.stopped {
        log.passed_to = sink.passed_over(&source, at).await;
    }
    Ok(log)
}

/// What retention has deleted before it was read.
fn report_deleted(topic: &str, partition: i32, from: i64, to: i64) {
    let lost = to - from;
    if lost <= 0 {
        return;
    }
    tracing::error!(
        topic,
        partition,
        next = from,
        lost,
        "Kafka has deleted records that were not archived: its retention is shorter than this process was behind"
    );
    metric::lost(topic, partition, lost.unsigned_abs());
}

/// Offsets that did not come, of a log that begins at `first`. Marks of transactions, and records of those that
/// were aborted, never come; in a topic that is compacted nobody can tell these from records that are gone.
fn report_gap(topic: &str, partition: i32, (from, to): (i64, i64), first: i64, compacted: bool) {
    let deleted = first.clamp(from, to);
    report_deleted(topic, partition, from, deleted);
    let lost = to - deleted;
    if compacted && lost > 0 {
        let detail = format!("{lost} offsets from {deleted} on");
        log_limiter::repeated(
            "Kafka has compacted records away that were not archived",
            topic,
            &detail,
        );
        metric::lost(topic, partition, lost.unsigned_abs());
    }
}

/// What the log had and has no more.
fn report_cut(topic: &str, partition: i32, from: i64, to: i64) {
    tracing::error!(
        topic,
        partition,
        from,
        to,
        "Kafka has lost the end of a log: events that were acknowledged there may be lost, those that were archived \
         stay, and what stands there now is read"
    );
    metric::truncated(topic, partition, (from - to).unsigned_abs());
}

/// The group's offset was set by somebody else, while the archive had everything up to `archived`.
fn report_moved(
    topic: &str,
    partition: i32,
    start: &Start,
    (first, end): (i64, i64),
    archived: Option<i64>,
) {
    let (Some(begins), Some(set)) = (start.offset, start.set_by_others) else {
        return;
    };
    let place = if set > end {
        ", which is beyond the end of the log"
    } else if set < first {
        ", which is before the beginning of the log"
    } else {
        ""
    };
    let known = archived.map_or(first, |last| last + 1);
    report_deleted(topic, partition, known, first);
    let known = known.max(first);
    let passed_over = (begins - known).max(0);
    if passed_over > 0 {
        tracing::error!(
            topic,
            partition,
            set,
            begins,
            passed_over,
            "somebody has set the group's offset{place}: records from {known} on are passed over and not archived. \
             To archive them, stop the consumers and set it back to {known}"
        );
        metric::passed_over(topic, partition, passed_over.unsigned_abs());
    } else {
        let again = known - begins;
        tracing::warn!(
            topic,
            partition,
            set,
            begins,
            again,
            "somebody has set the group's offset{place}: what is read again is known by its ids"
        );
    }
}

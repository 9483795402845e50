//! Names of the metrics, and how those that several files use are told. `docs/metrics.md` has them all.

use aguacero::config::Config;
use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use crate::decode::dead_letter::Reason;

/// Records that came from Kafka, by topic.
pub const POLLED: &str = "aguacero_consumer_polled_total";
/// Events that the archive took, by stream.
pub const ARCHIVED: &str = "aguacero_consumer_archived_total";
/// Events that the archive held already, by stream.
pub const DUPLICATES: &str = "aguacero_consumer_duplicates_total";
/// Rows that PostgreSQL took, by stream.
pub const ROWS: &str = "aguacero_consumer_rows_total";
/// Records that cannot be archived, by reason.
pub const DEAD_LETTERS: &str = "aguacero_consumer_dead_letters_total";
/// Events that a rule of their collection refuses, by collection and MongoDB's code.
pub const REFUSED: &str = "aguacero_consumer_refused_total";
/// The share of recent events that a collection refuses, from 0 to 1, by collection.
pub const REFUSED_SHARE: &str = "aguacero_consumer_refused_share";
/// Events that came after another one under their id, of streams that want the first alone, by stream.
pub const NOT_FIRST: &str = "aguacero_consumer_not_first_total";
/// Indices of an archive that were gone or hidden and were mended, by collection.
pub const INDICES_MENDED: &str = "aguacero_consumer_indices_mended_total";
/// 1 for an archive that MongoDB spreads over shards by another field than `_id`, by collection.
pub const SHARDED: &str = "aguacero_consumer_sharded_by_other_field";
/// Records in a batch.
pub const BATCH: &str = "aguacero_consumer_batch_records";
/// From a batch's first try to the write that the majority has.
pub const ARCHIVE: &str = "aguacero_consumer_archive_seconds";
/// Writes that had to be tried again.
pub const ARCHIVE_RETRIES: &str = "aguacero_consumer_archive_retries_total";
/// Settled steps, by where their figures came from: `memory` or `archive`.
pub const SETTLED: &str = "aguacero_consumer_settled_total";
/// Streams whose counters were begun again, because the archive had changed below the watermark.
pub const RECOUNTED: &str = "aguacero_consumer_recounts_total";
/// Positions whose counters were compared with the archive, by stream.
pub const AUDITED: &str = "aguacero_consumer_audits_total";
/// Seconds since which a stream's counters are not settled as far as its archive goes; 0 if they are.
pub const BEHIND: &str = "aguacero_consumer_counters_behind_seconds";
/// 1 for a stream whose counters have been behind its archive for half a minute.
pub const UNSETTLED: &str = "aguacero_consumer_counters_unsettled";
/// 1 for a stream whose counters in Redis were counted from somebody else's archive.
pub const FOREIGN: &str = "aguacero_consumer_foreign_counters";
/// From an event's arrival until it is archived, of the oldest event of each batch.
pub const FRESHNESS: &str = "aguacero_consumer_freshness_seconds";
/// Records in Kafka that are not archived yet, by topic and partition.
pub const LAG: &str = "aguacero_consumer_lag";
/// For how long records of a partition have waited to be archived, by topic and partition; 0 if none waits.
pub const LAG_SECONDS: &str = "aguacero_consumer_lag_seconds";
/// Entries of the ledger that are live and not settled yet, by stream; every consumer tells the same.
pub const PENDING: &str = "aguacero_consumer_pending_entries";
/// Times that the group has given partitions or taken them away.
pub const REBALANCES: &str = "aguacero_consumer_rebalances_total";
/// Partitions that this process has.
pub const ASSIGNED: &str = "aguacero_consumer_assigned_partitions";
/// Partitions that are not fetched for now: the archive is behind, or Kafka was not heard.
pub const PAUSED: &str = "aguacero_consumer_paused_partitions";
/// 1 for a partition that stopped at a record that this release or configuration does not know.
pub const STOPPED: &str = "aguacero_consumer_stopped_partition";
/// Records that Kafka had deleted before they were read, by topic and partition.
pub const LOST: &str = "aguacero_consumer_lost_total";
/// Offsets that a log had and has no more, by topic and partition: acknowledged events may be lost.
pub const TRUNCATED: &str = "aguacero_consumer_truncated_total";
/// Records that are not archived because somebody else has set the group's offset, by topic and partition.
pub const PASSED_OVER: &str = "aguacero_consumer_passed_over_total";

/// Partitions whose lag Kafka has not told for long, by topic.
pub const LAG_UNKNOWN: &str = "aguacero_consumer_lag_unknown_partitions";
/// Records that are not archived in a topic that is not declared any more, by topic.
pub const UNDECLARED: &str = "aguacero_consumer_undeclared_topic_records";
/// 1 for what is wrong with Redis, by problem.
pub const REDIS_PROBLEM: &str = "aguacero_consumer_redis_problem";
/// 1 for a setting of a topic that endangers what is promised, by topic and setting.
pub const TOPIC_SETTING: &str = "aguacero_consumer_topic_setting_problem";

/// Tells Prometheus what they are, and begins at 0 what can be.
pub fn describe(config: &Config) {
    begin(config);
    describe_counter!(POLLED, "Records that came from Kafka");
    describe_counter!(ARCHIVED, "Events that the archive took");
    describe_counter!(ROWS, "Rows that PostgreSQL took");
    describe_counter!(DUPLICATES, "Events that the archive held already");
    describe_counter!(DEAD_LETTERS, "Records that cannot be archived");
    describe_counter!(REFUSED, "Events that a rule of their collection refuses");
    describe_gauge!(
        REFUSED_SHARE,
        "The share of recent events that a collection refuses"
    );
    describe_counter!(
        NOT_FIRST,
        "Events that came after another one under their id, of streams that want the first alone"
    );
    describe_counter!(
        INDICES_MENDED,
        "Indices of an archive that were gone or hidden and were mended"
    );
    describe_gauge!(
        SHARDED,
        "1 for an archive that is sharded by another field than _id: an event may be in it twice"
    );
    describe_histogram!(BATCH, "Records in a batch");
    describe_histogram!(
        ARCHIVE,
        Unit::Seconds,
        "From a batch's first try to the write that the majority has"
    );
    describe_counter!(
        ARCHIVE_RETRIES,
        "Writes to the archive that had to be tried again"
    );
    describe_counter!(SETTLED, "Settled steps, by where their figures came from");
    describe_counter!(RECOUNTED, "Streams whose counters were begun again");
    describe_histogram!(
        FRESHNESS,
        Unit::Seconds,
        "From the arrival of a batch's oldest event until it is archived"
    );
    describe_counter!(
        AUDITED,
        "Positions whose counters were compared with the archive"
    );
    describe_gauge!(
        BEHIND,
        Unit::Seconds,
        "Since when the counters are not settled as far as the archive goes"
    );
    describe_gauge!(
        UNSETTLED,
        "1 for a stream whose counters have been behind its archive for half a minute"
    );
    describe_gauge!(
        FOREIGN,
        "1 for a stream whose counters in Redis are of somebody else's archive"
    );
    describe_gauge!(LAG, "Records in Kafka that are not archived yet");
    describe_gauge!(
        LAG_SECONDS,
        Unit::Seconds,
        "For how long records have waited to be archived"
    );
    describe_gauge!(
        PENDING,
        "Entries of the ledger that are live and not settled yet"
    );
    describe_counter!(
        REBALANCES,
        "Times that the group has given partitions or taken them away"
    );
    describe_gauge!(ASSIGNED, "Partitions that this process has");
    describe_gauge!(PAUSED, "Partitions that are not fetched for now");
    describe_gauge!(
        STOPPED,
        "1 for a partition that stopped at a record that this process does not know"
    );
    describe_gauge!(
        LAG_UNKNOWN,
        "Partitions whose lag Kafka has not told for long"
    );
    describe_gauge!(
        UNDECLARED,
        "Records that are not archived in a topic that is not declared any more"
    );
    describe_gauge!(
        REDIS_PROBLEM,
        "1 for what is wrong with Redis, such that it may not keep the counters"
    );
    describe_gauge!(
        TOPIC_SETTING,
        "1 for a setting of a topic that endangers what is promised"
    );
    describe_counter!(LOST, "Records that Kafka had deleted before they were read");
    describe_counter!(TRUNCATED, "Offsets that Kafka's log had and has no more");
    describe_counter!(
        PASSED_OVER,
        "Records that were not read because the group's offset was moved"
    );
}

fn begin(config: &Config) {
    for stream in &config.streams {
        let of_stream = [("stream", stream.name.clone())];
        for name in [ARCHIVED, DUPLICATES, NOT_FIRST, RECOUNTED, AUDITED] {
            counter!(name, &of_stream).increment(0);
        }
        for name in [BEHIND, FOREIGN, PENDING, UNSETTLED] {
            gauge!(name, &of_stream).set(0.0);
        }
    }
    for topic in &config.topics {
        polled(&topic.name, 0);
        for partition in 0..topic.partitions {
            lost(&topic.name, partition, 0);
            truncated(&topic.name, partition, 0);
            passed_over(&topic.name, partition, 0);
        }
        gauge!(LAG_UNKNOWN, "topic" => topic.name.clone()).set(0.0);
    }
    for reason in Reason::ALL {
        counter!(DEAD_LETTERS, "reason" => reason).increment(0);
    }
    for from in ["memory", "archive"] {
        counter!(SETTLED, "from" => from).increment(0);
    }
    for name in [ARCHIVE_RETRIES, REBALANCES] {
        counter!(name).increment(0);
    }
    for name in [ASSIGNED, PAUSED] {
        gauge!(name).set(0.0);
    }
    for name in [BATCH, ARCHIVE, FRESHNESS] {
        _ = histogram!(name);
    }
}

/// Records that came from Kafka.
pub(crate) fn polled(topic: &str, records: usize) {
    counter!(POLLED, "topic" => topic.to_owned()).increment(records as u64);
}

/// Whether a partition has stopped.
pub(crate) fn stopped(topic: &str, partition: i32, stopped: bool) {
    gauge!(STOPPED, &of_partition(topic, partition)).set(f64::from(u8::from(stopped)));
}

/// Records that Kafka had deleted before they were read.
pub(crate) fn lost(topic: &str, partition: i32, records: u64) {
    counter!(LOST, &of_partition(topic, partition)).increment(records);
}

/// Since how many seconds a stream's counters are behind its archive.
pub(crate) fn counters_behind(stream: &str, seconds: f64) {
    gauge!(BEHIND, "stream" => stream.to_owned()).set(seconds);
}

/// Whether the counters of a stream are somebody else's.
pub(crate) fn foreign(stream: &str, foreign: bool) {
    gauge!(FOREIGN, "stream" => stream.to_owned()).set(f64::from(u8::from(foreign)));
}

/// Offsets that a log had and has no more.
pub(crate) fn truncated(topic: &str, partition: i32, offsets: u64) {
    counter!(TRUNCATED, &of_partition(topic, partition)).increment(offsets);
}

/// Records that are passed over since somebody else has set the group's offset.
pub(crate) fn passed_over(topic: &str, partition: i32, records: u64) {
    counter!(PASSED_OVER, &of_partition(topic, partition)).increment(records);
}

/// Records of a partition that are not archived and settled yet, and for how many seconds the oldest has waited.
pub(crate) fn lag(topic: &str, partition: i32, records: i64, seconds: f64) {
    let labels = of_partition(topic, partition);
    gauge!(LAG, &labels).set(records.max(0) as f64);
    gauge!(LAG_SECONDS, &labels).set(seconds);
}

/// Entries of a stream's ledger that are not settled yet.
pub(crate) fn pending(stream: &str, entries: u64) {
    gauge!(PENDING, "stream" => stream.to_owned()).set(entries as f64);
}

/// The group has decided.
pub(crate) fn rebalanced() {
    counter!(REBALANCES).increment(1);
}

fn of_partition(topic: &str, partition: i32) -> [(&'static str, String); 2] {
    [
        ("topic", topic.to_owned()),
        ("partition", partition.to_string()),
    ]
}

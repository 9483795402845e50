//! What each error code of Kafka says about a batch: `docs/outcomes.md` has the same table, with reasons.

/// What a broker's answer to an attempt says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the attempt may have appended the batch.
    pub appended: Appended,
    /// What to do with the batch.
    pub then: Then,
}

/// Whether an attempt that failed has appended its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// Certainly not.
    No,
    /// Perhaps. What is told before a batch is appended can often be told as well while it waits for the other replicas.
    /// That there are none is never certain: one that is moved to another broker has two for a while.
    Perhaps,
}

/// What to do with a batch whose attempt has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The same again, to the same leader.
    Retry,
    /// The same again, when it is known who leads the partition now.
    FindLeader,
    /// The broker's state of this producer is not what was expected: in a new epoch, if nothing of it can be in the log.
    NewEpoch,
    /// In halves, or too large for good.
    Split,
    /// It would be refused again.
    Fail,
}

/// Code and name of every error that a broker may answer to a Produce request, and what it says.
pub const TABLE: &[(i16, &str, Appended, Then)] = {
    use Appended::{No, Perhaps};
    use Then::{Fail, FindLeader, NewEpoch, Retry, Split};
    &[
        (-1, "UNKNOWN_SERVER_ERROR", Perhaps, Fail),
        (1, "OFFSET_OUT_OF_RANGE", Perhaps, Fail),
        (2, "CORRUPT_MESSAGE", No, Retry),
        (3, "UNKNOWN_TOPIC_OR_PARTITION", Perhaps, FindLeader),
        (5, "LEADER_NOT_AVAILABLE", Perhaps, FindLeader),
        (6, "NOT_LEADER_OR_FOLLOWER", Perhaps, FindLeader),
        (7, "REQUEST_TIMED_OUT", Perhaps, Retry),
        (8, "BROKER_NOT_AVAILABLE", Perhaps, FindLeader),
        (9, "REPLICA_NOT_AVAILABLE", Perhaps, FindLeader),
        (10, "MESSAGE_TOO_LARGE", No, Split),
        (13, "NETWORK_EXCEPTION", Perhaps, FindLeader),
        (14, "COORDINATOR_LOAD_IN_PROGRESS", No, Retry),
        (15, "COORDINATOR_NOT_AVAILABLE", No, Retry),
        (17, "INVALID_TOPIC_EXCEPTION", No, Fail),
        (18, "RECORD_LIST_TOO_LARGE", No, Split),
        (19, "NOT_ENOUGH_REPLICAS", No, Retry),
        (20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", Perhaps, Retry),
        (21, "INVALID_REQUIRED_ACKS", No, Fail),
        (29, "TOPIC_AUTHORIZATION_FAILED", No, Fail),
        (31, "CLUSTER_AUTHORIZATION_FAILED", No, Fail),
        (32, "INVALID_TIMESTAMP", No, Fail),
        (33, "UNSUPPORTED_SASL_MECHANISM", No, Fail),
        (34, "ILLEGAL_SASL_STATE", No, Fail),
        (35, "UNSUPPORTED_VERSION", No, Fail),
        (41, "NOT_CONTROLLER", Perhaps, FindLeader),
        (42, "INVALID_REQUEST", No, Fail),
        (43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", No, Fail),
        (44, "POLICY_VIOLATION", No, Fail),
        (45, "OUT_OF_ORDER_SEQUENCE_NUMBER", No, NewEpoch),
        (46, "DUPLICATE_SEQUENCE_NUMBER", Perhaps, Fail),
        (47, "INVALID_PRODUCER_EPOCH", No, NewEpoch),
        (48, "INVALID_TXN_STATE", No, Fail),
        (49, "INVALID_PRODUCER_ID_MAPPING", No, NewEpoch),
        (53, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", No, Fail),
        (56, "KAFKA_STORAGE_ERROR", Perhaps, FindLeader),
        (58, "SASL_AUTHENTICATION_FAILED", No, Fail),
        (59, "UNKNOWN_PRODUCER_ID", No, NewEpoch),
        (74, "FENCED_LEADER_EPOCH", Perhaps, FindLeader),
        (75, "UNKNOWN_LEADER_EPOCH", Perhaps, FindLeader),
        (76, "UNSUPPORTED_COMPRESSION_TYPE", No, Fail),
        (87, "INVALID_RECORD", No, Fail),
        (89, "THROTTLING_QUOTA_EXCEEDED", No, Retry),
        (90, "PRODUCER_FENCED", No, NewEpoch),
        (100, "UNKNOWN_TOPIC_ID", Perhaps, FindLeader),
        (103, "INCONSISTENT_TOPIC_ID", Perhaps, FindLeader),
    ]
};

/// What an error code says; of one that is not known, that anything may have happened.
#[must_use]
pub fn verdict(code: i16) -> Verdict {
    let known = TABLE.iter().find(|(known, ..)| *known == code);
    let (appended, then) = known.map_or((Appended::Perhaps, Then::Fail), |(_, _, a, t)| (*a, *t));
    Verdict { appended, then }
}

/// The name of an error code.
#[must_use]
pub fn name(code: i16) -> &'static str {
    let known = TABLE.iter().find(|(known, ..)| *known == code);
    known.map_or("UNKNOWN_ERROR_CODE", |(_, name, ..)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_table_is_this_one() {
        let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/outcomes.md");
        let document = std::fs::read_to_string(document).unwrap();
        let cells = |line: &str| {
            let cells = line.split('|').map(|cell| cell.trim().to_owned());
            cells.skip(1).take(4).collect::<Vec<_>>()
        };
        let told = document.lines().filter(|line| line.starts_with("| "));
        let told = told
            .map(cells)
            .filter(|cells| cells[0].parse::<i16>().is_ok());
        let ours = TABLE.iter().map(|(code, name, appended, then)| {
            let appended = match appended {
                Appended::No => "no",
                Appended::Perhaps => "perhaps",
            };
            let then = match then {
                Then::Retry => "the same again",
                Then::FindLeader => "the same again, to whoever leads now",
                Then::NewEpoch => "in a new epoch",
                Then::Split => "in halves",
                Then::Fail => "told at once",
            };
            vec![
                code.to_string(),
                format!("`{name}`"),
                appended.to_owned(),
                then.to_owned(),
            ]
        });
        assert_eq!(told.collect::<Vec<_>>(), ours.collect::<Vec<_>>());
    }

    #[test]
    fn what_is_not_known_may_have_happened() {
        let verdict = verdict(12_345);
        assert_eq!(
            (verdict.appended, verdict.then),
            (Appended::Perhaps, Then::Fail)
        );
        assert_eq!(name(12_345), "UNKNOWN_ERROR_CODE");
    }
}

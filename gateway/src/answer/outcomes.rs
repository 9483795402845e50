//! What became of each record of a request.

use aguacero::{accept::Refusal, id::EventId};
use serde_json::{Value, json};
use smallvec::SmallVec;

use crate::answer::respond::{common_detail, status_of};

/// What became of one record.
#[derive(Debug, Clone)]
pub(crate) enum RecordOutcome {
    /// In Kafka.
    Stored,
    /// The client's to mend.
    Refused(Box<Refusal>),
    /// More bytes than the topic takes in a record; how many it takes, if known.
    TooLarge(Option<usize>),
    /// Certainly not in Kafka, and why.
    NotStored(String),
    /// Nobody can know.
    Unknown,
}

/// What became of the records of one request.
pub(crate) struct Outcomes {
    /// An array or NDJSON, however many records it has.
    pub(crate) is_batch: bool,
    /// In the order of the body.
    pub(crate) records: SmallVec<[RecordOutcome; 1]>,
    /// What is good was not to be stored, and counts as [`RecordOutcome::Stored`] here.
    pub(crate) is_dry_run: bool,
    /// Of each record, what it became; only if the client asked for it.
    pub(crate) places: Option<Vec<Represented>>,
}

/// What a stored record became.
#[derive(Debug, Clone)]
pub(crate) struct Represented {
    pub(crate) id: EventId,
    /// Partition and offset.
    pub(crate) at: Option<(i32, Option<i64>)>,
}

impl Outcomes {
    /// Whether every record is on its way, and none of them refused.
    pub(crate) fn are_open(&self) -> bool {
        let mut records = self.records.iter();
        records.all(|record| matches!(record, RecordOutcome::Unknown))
    }

    /// Each stored record, as JSON.
    pub(super) fn stored(&self, topic: &str) -> Option<Value> {
        let records = self.places.as_ref()?.iter().zip(&self.records).enumerate();
        let stored = records.filter(|(_, (_, r))| matches!(r, RecordOutcome::Stored));
        let record = |(index, (place, _)): (usize, (&Represented, _))| {
            let (partition, offset) = place.at.map_or((None, None), |(p, o)| (Some(p), o));
            json!({
                "index": index, "id": place.id.to_string(), "topic": topic,
                "partition": partition, "offset": offset,
            })
        };
        Some(stored.map(record).collect())
    }
}

impl RecordOutcome {
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Stored => 200,
            Self::Refused(refusal) => status_of(refusal.kind),
            Self::TooLarge(_) => 413,
            Self::NotStored(_) => 503,
            Self::Unknown => 504,
        }
    }

    pub(super) fn detail(&self) -> String {
        match self {
            Self::Stored => String::new(),
            Self::Refused(refusal) => refusal.detail.clone(),
            Self::TooLarge(Some(max)) => format!("the stream's topic takes records of {max} bytes"),
            Self::TooLarge(None) => "larger than the stream's topic takes".into(),
            Self::NotStored(why) => format!("certainly not stored: {why}"),
            Self::Unknown => common_detail(504).into(),
        }
    }

    pub(super) fn error(&self, index: usize) -> Value {
        let mut error = json!({ "index": index, "status": self.status(), "detail": self.detail() });
        if let (Self::Refused(refusal), Value::Object(error)) = (self, &mut error) {
            if let Some(field) = &refusal.field {
                error.insert("field".into(), field.as_str().into());
            }
            if let Some(offset) = refusal.offset {
                error.insert("offset".into(), offset.into());
            }
        }
        error
    }
}

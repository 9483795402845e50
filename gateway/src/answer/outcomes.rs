//! What became of each record of a request.

use std::{borrow::Cow, rc::Rc};

use aguacero::{accept::Refusal, id::EventId};
use smallvec::SmallVec;

use crate::answer::{
    json::Object,
    respond::{common_detail, status_of},
};

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
    NotStored(Rc<str>),
    /// Nobody can know.
    Unknown,
}

/// What became of the records of one request.
#[derive(Default)]
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

    /// Adds the records that are not stored to an answer.
    pub(super) fn write_errors(&self, answer: &mut Object<'_>) {
        let records = self.records.iter().enumerate();
        let errors = records.filter(|(_, record)| !matches!(record, RecordOutcome::Stored));
        answer.list("errors", errors, |(index, record), error| {
            record.write(index, error);
        });
    }

    /// Adds the stored records to an answer, and where they are, if the client asked for it.
    pub(super) fn write_stored(&self, topic: &str, answer: &mut Object<'_>) {
        let Some(places) = &self.places else { return };
        let records = places.iter().zip(&self.records).enumerate();
        let stored = records.filter(|(_, (_, r))| matches!(r, RecordOutcome::Stored));
        answer.list("records", stored, |(index, (place, _)), record| {
            let (partition, offset) = place.at.map_or((None, None), |(p, o)| (Some(p), o));
            record
                .member("id", &place.id.to_string())
                .member("index", &index)
                .member("offset", &offset)
                .member("partition", &partition)
                .member("topic", topic);
        });
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

    pub(super) fn detail(&self) -> Cow<'_, str> {
        match self {
            Self::Stored => "".into(),
            Self::Refused(refusal) => refusal.detail.as_str().into(),
            Self::TooLarge(Some(max)) => {
                format!("the stream's topic takes records of {max} bytes").into()
            }
            Self::TooLarge(None) => "larger than the stream's topic takes".into(),
            Self::NotStored(why) => format!("certainly not stored: {why}").into(),
            Self::Unknown => common_detail(504).into(),
        }
    }

    /// As an element of `errors`.
    fn write(&self, index: usize, error: &mut Object<'_>) {
        let (field, offset) = match self {
            Self::Refused(refusal) => (refusal.field.as_deref(), refusal.offset),
            _ => (None, None),
        };
        error.member("detail", &*self.detail());
        if let Some(field) = field {
            error.member("field", field);
        }
        error.member("index", &index);
        if let Some(offset) = offset {
            error.member("offset", &offset);
        }
        error.member("status", &self.status());
    }
}

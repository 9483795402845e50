//! A body into the open slabs: split, judged, and only then appended.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use aguacero::config::Stream;
use bytes::Bytes;
use smallvec::smallvec;

use crate::{
    ids::Base,
    judge::{Judge, Judged},
    lane::{Append, Lane, Refused},
    respond::{Answer, Outcomes, RecordOutcome},
    route::Format,
    slab::{Ticket, Tickets},
    split,
};

/// What a body is taken in with.
pub(crate) struct Intake<'a> {
    pub(crate) judge: &'a mut Judge,
    pub(crate) lane: &'a mut Lane,
    /// Records of one body.
    pub(crate) records_max: usize,
}

impl Intake<'_> {
    /// Judges every event of a body, then appends the good ones. Nothing waits in here, so nothing
    /// of a request is appended before all of it is judged, and its events lie side by side.
    pub(crate) fn take(
        self,
        stream: &Stream,
        format: Format,
        body: &[u8],
        base: &Base,
        traceparent: Option<Bytes>,
    ) -> Result<(Outcomes, Tickets), Box<Answer>> {
        let events = split::split(format, body, self.records_max)?;
        let mut outcomes = Outcomes {
            is_batch: events.is_batch,
            records: smallvec![RecordOutcome::Unknown; events.ranges.len()],
        };
        let judged = self.judge.all(stream, body, &events.ranges);
        for (index, refusal) in judged.refusals.drain(..) {
            outcomes.records[index as usize] = RecordOutcome::Refused(Box::new(refusal));
        }
        let lane = self.lane;
        let tickets = append(lane, stream, body, judged, base, traceparent, &mut outcomes);
        Ok((outcomes, tickets))
    }
}

fn append(
    lane: &mut Lane,
    stream: &Stream,
    body: &[u8],
    judged: &Judged,
    base: &Base,
    traceparent: Option<Bytes>,
    outcomes: &mut Outcomes,
) -> Tickets {
    let now = Instant::now();
    let arrived_ms = unix_ms();
    let mut tickets = Tickets::new();
    for event in &judged.events {
        let client_key = judged.text(event.id.as_ref());
        let append = Append {
            stream,
            value: &body[event.json.clone()],
            key: judged.text(event.key.as_ref()),
            reserved: event.reserved,
            id: base.id_of(&stream.name, client_key, event.index),
            client_key: client_key.or(base.client_key()).unwrap_or_default(),
            counter_keys: judged.counter_keys(event),
            arrived_ms,
            traceparent: traceparent.as_ref(),
        };
        match lane.append(&append, now) {
            Ok(place) => Ticket::note(&mut tickets, place, event.index),
            Err(refused) => {
                outcomes.records[event.index as usize] = match refused {
                    Refused::TooLarge(bytes) => RecordOutcome::TooLarge(bytes),
                    Refused::Full | Refused::Away => {
                        RecordOutcome::NotStored(refused.detail().into())
                    }
                };
            }
        }
    }
    for ticket in &mut tickets {
        ticket.attach(lane);
    }
    tickets
}

fn unix_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

//! A body into the open slabs: split, judged, and only then appended.

use std::{
    iter::repeat_with,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use aguacero::{config::Stream, id::EventId};

use crate::{
    answer::{
        outcomes::{Outcomes, RecordOutcome, Represented},
        respond::Answer,
    },
    batch::{
        append::{Append, Appending, Origin, Refused},
        lane::Lane,
        ticket::{Ticket, Tickets},
    },
    intake::{
        ids::Base,
        judge::{Judge, Judged},
        split,
    },
    metric::{self, NotStored},
    request::{preferences::Preferences, route::Format, trace::Trace},
};

/// What a body is taken in with.
pub(crate) struct Intake<'a> {
    pub(crate) judge: &'a mut Judge,
    pub(crate) lane: &'a mut Lane,
    /// Records of one body.
    pub(crate) records_max: usize,
    /// Whose events they are; empty where anyone may write.
    pub(crate) owner: &'a str,
    pub(crate) preferences: Preferences,
}

impl Intake<'_> {
    /// Judges every event of a body, then appends the good ones (but for a dry run). Nothing waits in here, so nothing
    /// of a request is appended before all of it is judged, and its events lie side by side.
    pub(crate) fn take(
        self,
        stream: &Stream,
        format: Format,
        body: &[u8],
        base: &Base,
        trace: Option<Trace>,
    ) -> Result<(Outcomes, Tickets), Box<Answer>> {
        let events = split::split(format, body, self.records_max)?;
        let mut outcomes = Outcomes {
            is_batch: events.is_batch,
            records: repeat_with(|| RecordOutcome::Unknown)
                .take(events.ranges.len())
                .collect(),
            is_dry_run: self.preferences.dry_run,
            places: None,
        };
        let is_one_text = events.is_batch && format == Format::Json;
        let judged = self.judge.all(stream, body, &events.ranges, is_one_text);
        let judged = judged.map_err(|mut fault| {
            fault.detail += "; an array is one JSON text, so nothing of it is stored";
            Answer::refused(&fault)
        })?;
        for (index, refusal) in judged.refusals.drain(..) {
            outcomes.records[index as usize] = RecordOutcome::Refused(Box::new(refusal));
        }
        if self.preferences.representation && !self.preferences.dry_run {
            let id = EventId([0; 16]); // until it is appended
            outcomes.places = Some(vec![Represented { id, at: None }; events.ranges.len()]);
        }
        let good = Good {
            stream,
            body,
            judged,
            base,
            owner: self.owner,
            trace,
            is_dry_run: self.preferences.dry_run,
        };
        let tickets = good.append(self.lane, &mut outcomes);
        Ok((outcomes, tickets))
    }
}

/// The events of a body that were judged good.
struct Good<'a> {
    stream: &'a Stream,
    body: &'a [u8],
    judged: &'a Judged,
    base: &'a Base,
    owner: &'a str,
    trace: Option<Trace>,
    is_dry_run: bool,
}

impl Good<'_> {
    fn append(self, lane: &mut Lane, outcomes: &mut Outcomes) -> Tickets {
        let Self {
            stream,
            body,
            judged,
            base,
            ..
        } = self;
        let origin = Origin {
            stream,
            base: base.counted().unwrap_or(EventId([0; 16])),
            client_key: base.client_key().unwrap_or_default(),
            arrived_ms: unix_ms(),
            trace: self.trace.map(|t| [t.parent, t.state]).unwrap_or_default(),
            tells_offsets: outcomes.places.is_some(),
        };
        let now = Instant::now();
        let estimated = origin.estimate(judged.events.len(), body.len() + judged.text_bytes());
        let mut appending = match self.is_dry_run {
            true => Appending::dry(lane, &origin, now),
            false => Appending::begin(lane, &origin, estimated, now),
        };
        let mut tickets = Tickets::new();
        let (mut full, mut away) = (0, 0);
        for event in &judged.events {
            let (of, text) = event.id.as_ref().map(|(of, text)| (*of, text)).unzip();
            let name = judged.text(text);
            let append = Append {
                position: event.index,
                value: &body[event.json.clone()],
                key: judged.text(event.key.as_ref()),
                reserved: event.reserved,
                id: base.id_of(&stream.name, self.owner, of.zip(name), event.index),
                name,
                counter_keys: judged.counter_keys(event),
            };
            if let Some(places) = &mut outcomes.places {
                places[event.index as usize].id = append.id;
            }
            match appending.append(&append) {
                Ok(None) => outcomes.records[event.index as usize] = RecordOutcome::Stored,
                Ok(Some(place)) => Ticket::note(&mut tickets, place, event.index),
                Err(refused) => {
                    match refused {
                        Refused::Full => full += 1,
                        Refused::Away => away += 1,
                        Refused::TooLarge(_) => {}
                    }
                    outcomes.records[event.index as usize] = match refused {
                        Refused::TooLarge(bytes) => RecordOutcome::TooLarge(bytes),
                        Refused::Full | Refused::Away => {
                            RecordOutcome::NotStored(refused.detail().into())
                        }
                    };
                }
            }
        }
        if full + away > 0 {
            metric::not_stored(NotStored::Full, Refused::Full.detail(), full);
            metric::not_stored(NotStored::Away, Refused::Away.detail(), away);
        }
        drop(appending);
        for ticket in &mut tickets {
            ticket.attach(lane);
        }
        tickets
    }
}

fn unix_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

//! The stages of an event's way that need nobody else, one by one, for `benches/` to measure.

use std::{sync::Arc, time::Instant};

use aguacero::config::Config;
use aguacero_proto::produce::{
    FromProducer, Outcome, Receipt, ToProducer, from_producer, to_producer,
};
use prost::Message as _;

use crate::{
    answer::respond,
    batch::{
        budget::Budget,
        lane::{Bounds, Lane},
    },
    intake::{ids::Base, judge::Judge, split, take::Intake},
    live::deltas::Live,
    request::{preferences::Preferences, route::Format},
};

/// A worker without connections.
pub struct Stages {
    config: Arc<Config>,
    judge: Judge,
    lane: Lane,
    live: Live,
    /// Offset of the next event: one log stands for those of all partitions.
    next_offset: i64,
}

impl Stages {
    /// For the first stream of `config`.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let config = Arc::new(config);
        let budget = Budget::new(config.gateway.bytes_in_flight_max);
        let mut lane = Lane::new(&config, Bounds::of(&config), budget, Instant::now());
        lane.connected(&[]);
        Self {
            judge: Judge::new(config.gateway.event_bytes_max),
            lane,
            live: Live::new(&config),
            next_offset: 0,
            config,
        }
    }

    /// Splits a body; returns the number of its events.
    #[must_use]
    pub fn split(&self, body: &[u8]) -> usize {
        let max = self.config.gateway.batch_records_max;
        split::split(format(body), body, max).map_or(0, |events| events.ranges.len())
    }

    /// Splits and judges a body; returns the number of good events.
    pub fn judge(&mut self, body: &[u8]) -> usize {
        let max = self.config.gateway.batch_records_max;
        let Ok(events) = split::split(format(body), body, max) else {
            return 0;
        };
        let judged = self
            .judge
            .all(&self.config.streams[0], body, &events.ranges, false);
        judged.map_or(0, |judged| judged.events.len())
    }

    /// Splits, judges and appends a body; returns the number of requests that wait for a slab now.
    pub fn take(&mut self, body: &[u8]) -> usize {
        let intake = Intake {
            judge: &mut self.judge,
            lane: &mut self.lane,
            records_max: self.config.gateway.batch_records_max,
            owner: "",
            preferences: Preferences::default(),
        };
        let base = Base::new(None, "", "");
        let taken = intake.take(&self.config.streams[0], format(body), body, &base, None);
        taken.map_or(0, |(_, tickets)| tickets.len())
    }

    /// Splits and judges a body, of which nothing is good; returns the bytes of the answer that lists why.
    pub fn refuse(&mut self, body: &[u8]) -> usize {
        let intake = Intake {
            judge: &mut self.judge,
            lane: &mut self.lane,
            records_max: self.config.gateway.batch_records_max,
            owner: "",
            preferences: Preferences::default(),
        };
        let base = Base::new(None, "", "");
        let taken = intake.take(&self.config.streams[0], format(body), body, &base, None);
        taken.map_or(0, |(outcomes, _)| {
            respond::answer(&outcomes, &base, "").body().len()
        })
    }

    /// The next frame, as it goes over the wire; empty if there is none. Its slabs are stored, and what
    /// they count is merged.
    pub fn frame(&mut self) -> Vec<u8> {
        let Some(frame) = self.lane.next_frame(Instant::now()) else {
            return Vec::new();
        };
        let slabs: Vec<_> = self.lane.sent().collect();
        let message = ToProducer {
            kind: Some(to_producer::Kind::Frame(frame)),
        };
        let bytes = message.encode_to_vec();
        for (slab, events) in slabs {
            let first = self.next_offset;
            self.next_offset += events as i64;
            let receipt = Receipt {
                slab,
                outcome: Outcome::Stored.into(),
                first: Some(first),
                last: Some(self.next_offset - 1),
                incarnation: "an-incarnation-of-22-b".into(),
                ..Receipt::default()
            };
            if let Some(mut finished) = self.lane.receipt(&receipt, Instant::now()) {
                finished.slab.resolve(finished.verdict.clone());
                self.live.stored(finished);
            }
        }
        bytes
    }

    /// Takes what a producer says of the slabs that have left, whatever it is; returns how many are done.
    pub fn told(&mut self, message: &[u8]) -> usize {
        _ = self.lane.next_frame(Instant::now());
        let Ok(message) = FromProducer::decode(message) else {
            return 0;
        };
        let receipts = match message.kind {
            Some(from_producer::Kind::Receipts(receipts)) => receipts.receipts,
            Some(from_producer::Kind::Welcome(welcome)) => {
                self.lane.connected(&welcome.topics);
                return 0;
            }
            None => return 0,
        };
        let mut done = 0;
        for receipt in receipts {
            if let Some(mut finished) = self.lane.receipt(&receipt, Instant::now()) {
                finished.slab.resolve(finished.verdict.clone());
                self.live.stored(finished);
                done += 1;
            }
        }
        done
    }

    /// The deltas that were merged since the last call, as they go over the wire.
    #[must_use]
    pub fn deltas(&self) -> Vec<u8> {
        self.live.take_frame().unwrap_or_default()
    }
}

/// As the content type would say.
fn format(body: &[u8]) -> Format {
    match memchr::memchr(b'\n', body) {
        Some(_) => Format::Ndjson,
        None => Format::Json,
    }
}

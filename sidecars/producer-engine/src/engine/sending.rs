//! Batches into Produce requests.

use std::{collections::VecDeque, io};

use bytes::BytesMut;
use smallvec::SmallVec;

use super::{Engine, Place};
use crate::{
    Outcome, Slab, Time, batch,
    connection::{ConnectionId, Kind, Sent},
    protocol::{PRODUCE, request},
    receipt::{Reason, codes},
};

/// A connection that has so many bytes to write gets no further request.
const UNSENT_BYTES_MAX: usize = 1 << 20;

impl<S: Slab> Engine<S> {
    /// Puts a partition that has something to send into the queue of its leader.
    pub(super) fn enqueue(&mut self, place: Place, now: Time) {
        let Some(leader) = self.cluster.leader(place.0, place.1).and_then(|l| l.broker) else {
            return; // it comes when somebody leads it
        };
        let partition = &mut self.partitions[place.0][place.1];
        if partition.is_queued || partition.is_idle() {
            return;
        }
        if partition.not_before > now {
            self.later.insert((partition.not_before, place));
            return;
        }
        partition.is_queued = true;
        self.ready.entry(leader).or_default().push_back(place);
    }

    /// The queues anew: leaders have changed, or a connection is gone.
    pub(super) fn requeue(&mut self, now: Time) {
        self.ready.clear();
        for partition in self.partitions.iter_mut().flatten() {
            partition.is_queued = false;
        }
        self.enqueue_all(now);
    }

    /// All partitions that have something to send.
    pub(super) fn enqueue_all(&mut self, now: Time) {
        for topic in 0..self.partitions.len() {
            for partition in 0..self.partitions[topic].len() {
                self.enqueue((topic, partition), now);
            }
        }
    }

    /// Writes as many requests as may be on their way.
    pub(super) fn send(&mut self, now: Time) {
        let brokers: Vec<_> = self.by_broker.iter().map(|(b, c)| (*b, *c)).collect();
        for (broker, connection) in brokers {
            while self.has_room(connection, now) && self.send_one(broker, connection, now) {}
        }
    }

    fn has_room(&self, connection: ConnectionId, now: Time) -> bool {
        self.connections.get(&connection).is_some_and(|c| {
            c.is_ready()
                && c.producing < self.settings.in_flight_max
                && c.unsent().len() < UNSENT_BYTES_MAX
                && c.silent_until <= now
        })
    }

    /// Writes one request; false if there is nothing to send.
    fn send_one(&mut self, broker: i32, connection: ConnectionId, now: Time) -> bool {
        let places = self.choose(broker, connection, now);
        if places.is_empty() {
            return false;
        }
        let Self {
            connections,
            partitions,
            slabs,
            cluster,
            settings,
            ..
        } = self;
        let Some(one) = connections.get_mut(&connection) else {
            return false;
        };
        let Some(version) = one.version(PRODUCE) else {
            return false;
        };
        let mut failed = Vec::new();
        let deadline = now + settings.request_timeout;
        // The broker shall give up before this side does.
        let timeout_ms = settings.request_timeout.as_millis() / 2;
        let timeout_ms = i32::try_from(timeout_ms).unwrap_or(i32::MAX);
        let is_written = one.request(version, deadline, &self.client_id, |head, out| {
            let mut sent = Vec::with_capacity(places.len());
            let mut request = request::Produce::begin(head, timeout_ms, out)?;
            for &(topic, number) in &places {
                let Some((stamp, batch)) = partitions[topic][number].next(connection) else {
                    continue;
                };
                let told = &cluster.topics[topic];
                let (id, records, bytes_max) = (batch.id, batch.records.clone(), batch.bytes_max);
                let slab = slabs.get(batch.slab).map(|held| &held.slab);
                let write = |out: &mut BytesMut| match slab {
                    Some(slab) => batch::encode(slab, records, stamp, settings.compression, out),
                    None => Err(io::ErrorKind::NotFound.into()),
                };
                match request.batch((&told.name, told.id), number as i32, bytes_max, write) {
                    Ok(()) => sent.push(Sent {
                        topic,
                        topic_id: told.id,
                        partition: number,
                        batch: id,
                    }),
                    Err(error) => failed.push(((topic, number), id, error)),
                }
            }
            request.end();
            (!sent.is_empty()).then_some(Kind::Produce(sent))
        });
        let has_failed = !failed.is_empty();
        for (place, batch, error) in failed {
            self.not_encoded(place, batch, &error, now);
        }
        for place in places {
            self.enqueue(place, now);
        }
        is_written || has_failed
    }

    /// The partitions whose next batches travel together, those of a topic side by side.
    fn choose(&mut self, broker: i32, connection: ConnectionId, now: Time) -> SmallVec<[Place; 4]> {
        let (mut places, mut bytes) = (SmallVec::new(), 0);
        let mut queued = self.ready.get(&broker).map_or(0, VecDeque::len);
        while queued > 0 && bytes < self.settings.request_bytes_max {
            queued -= 1;
            let queue = self.ready.get_mut(&broker);
            let Some(place) = queue.and_then(VecDeque::pop_front) else {
                break;
            };
            let (topic, number) = place;
            let partition = &mut self.partitions[topic][number];
            partition.is_queued = false;
            if self.cluster.leader(topic, number).and_then(|l| l.broker) != Some(broker) {
                self.enqueue(place, now);
            } else if partition.is_ready(connection, self.settings.in_flight_max, now) {
                bytes += partition.next_bytes_max().unwrap_or(0);
                places.push(place);
            } else if partition.not_before > now {
                // The end of its pause puts it here again, otherwise the answer to what is on its way.
                self.enqueue(place, now);
            }
        }
        places.sort_unstable();
        places
    }

    /// A batch that was to leave cannot be written.
    fn not_encoded(&mut self, place: Place, batch: u64, error: &io::Error, now: Time) {
        let partition = &mut self.partitions[place.0][place.1];
        let taken = partition
            .find(batch)
            .and_then(|at| partition.sent.remove(at));
        partition.is_broken = true;
        if let Some(batch) = taken.filter(|batch| !batch.is_told) {
            let reason = Reason {
                code: codes::NOT_ENCODED,
                message: Some(error.to_string()),
            };
            let outcome = match batch.perhaps_appended {
                true => Outcome::Unknown(reason),
                false => Outcome::NotStored(reason),
            };
            self.tell(batch.slab, batch.records, outcome);
        }
        self.renumber(place, now);
    }
}

//! Batches into Produce requests.

use std::io;

use bytes::BytesMut;

use super::{Engine, Place};
use crate::{
    Outcome, Slab, Time, batch,
    connection::{ConnectionId, Kind, Sent},
    protocol::{
        PRODUCE,
        request::{self, ToProduce},
    },
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
        let (mut batches, mut all, mut again) = (Vec::new(), Vec::new(), Vec::new());
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut queued = self.ready.get(&broker).map_or(0, |queue| queue.len());
        while queued > 0 && scratch.len() < self.settings.request_bytes_max {
            queued -= 1;
            let Some(place) = self
                .ready
                .get_mut(&broker)
                .and_then(|queue| queue.pop_front())
            else {
                break;
            };
            let start = scratch.len();
            if let Some(batch) = self.take(place, broker, connection, now, &mut scratch) {
                all.push((self.cluster.topics[place.0].name.clone(), batch, start));
                again.push(place);
            }
        }
        let records = scratch.split().freeze();
        self.scratch = scratch; // its room is free again when the request is written
        let ends = all
            .iter()
            .skip(1)
            .map(|(.., start)| *start)
            .chain([records.len()]);
        let ends: Vec<_> = ends.collect();
        for ((topic, sent, start), end) in all.into_iter().zip(ends) {
            let to_produce = ToProduce {
                topic,
                topic_id: sent.topic_id,
                partition: sent.partition as i32,
                batch: records.slice(start..end),
            };
            batches.push((to_produce, sent));
        }
        // The topics of a request are told once each.
        batches.sort_by_key(|(_, sent)| sent.topic);
        let (batches, sent): (Vec<_>, Vec<_>) = batches.into_iter().unzip();
        let is_written = !batches.is_empty() && self.write(connection, &batches, &sent, now);
        if !is_written {
            self.unanswered(&sent, false, now);
        }
        for place in again {
            self.enqueue(place, now);
        }
        is_written
    }

    fn write(
        &mut self,
        connection: ConnectionId,
        batches: &[ToProduce],
        sent: &[Sent],
        now: Time,
    ) -> bool {
        let Some(connection) = self.connections.get_mut(&connection) else {
            return false;
        };
        let Some(version) = connection.version(PRODUCE) else {
            return false;
        };
        let deadline = now + self.settings.request_timeout;
        // The broker shall give up before this side does.
        let timeout = self.settings.request_timeout.as_millis() / 2;
        let timeout = i32::try_from(timeout).unwrap_or(i32::MAX);
        let kind = Kind::Produce(sent.to_vec());
        connection.request(kind, version, deadline, &self.client_id, |head, out| {
            request::produce(head, batches, timeout, out)
        })
    }

    /// The next batch of a partition, encoded to `out`, if it may leave on this connection.
    fn take(
        &mut self,
        place: Place,
        broker: i32,
        connection: ConnectionId,
        now: Time,
        out: &mut BytesMut,
    ) -> Option<Sent> {
        let (topic, number) = place;
        let partition = &mut self.partitions[topic][number];
        partition.is_queued = false;
        if self.cluster.leader(topic, number).and_then(|l| l.broker) != Some(broker) {
            self.enqueue(place, now);
            return None;
        }
        if !partition.is_ready(connection, self.settings.in_flight_max, now) {
            // The answer to what is on its way puts it here again, or the end of its pause.
            if partition.not_before > now {
                self.enqueue(place, now);
            }
            return None;
        }
        let (stamp, batch) = partition.next(connection)?;
        let (id, slab, records) = (batch.id, batch.slab, batch.records.clone());
        let before = out.len();
        let encoded = match self.slabs.get(slab) {
            Some(held) => batch::encode(
                &held.slab,
                records.clone(),
                stamp,
                self.settings.compression,
                out,
            ),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        if let Err(error) = encoded {
            out.truncate(before);
            let reason = Reason {
                code: codes::NOT_ENCODED,
                message: Some(error.to_string()),
            };
            let taken = partition.find(id).and_then(|at| partition.sent.remove(at));
            partition.is_broken = true;
            if taken.is_some_and(|batch| !batch.perhaps_appended) {
                self.tell(slab, records, Outcome::NotStored(reason));
            } else {
                self.tell(slab, records, Outcome::Unknown(reason));
            }
            self.renumber(place, now);
            return None;
        }
        Some(Sent {
            topic,
            topic_id: self.cluster.topics[topic].id,
            partition: number,
            batch: id,
        })
    }
}

//! Connections: bytes get late, in pieces, or lost with all that follow, but not twice, and not out of order.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes, BytesMut};
use producer_engine::ConnectionId;

use crate::{
    seen::Seen,
    world::{Happening, World},
};

/// A connection with so many unsent bytes may get no further request.
const UNSENT_BYTES_MAX: usize = 1 << 20;

/// Bytes on their way in one direction.
#[derive(Default)]
pub(crate) struct Pipe {
    bytes: BytesMut,
    is_moving: bool,
    /// What is written from now on is lost.
    is_cut: bool,
}

/// An answer that a broker owes.
pub(crate) struct Slot {
    pub(crate) number: u64,
    pub(crate) is_produce: bool,
    pub(crate) answer: Option<(Bytes, u64)>,
}

pub(crate) struct Connection {
    pub(crate) broker: usize,
    /// For whoever drives the engine.
    pub(crate) is_open: bool,
    /// The broker still handles what it has got.
    pub(crate) is_served: bool,
    stalled_until: u64,
    up: Pipe,
    down: Pipe,
    // The broker's side.
    pub(crate) input: BytesMut,
    pub(crate) slots: VecDeque<Slot>,
    pub(crate) is_handling: bool,
    pub(crate) silent_until: u64,
    // The client's side, for the checks.
    frames: Frames,
    /// Bytes that the broker has written, and that have arrived.
    written: u64,
    arrived: u64,
    /// Where answers end, whether to a Produce request, and for how long the connection shall be silent then.
    ends: VecDeque<(u64, bool, u64)>,
    pub(crate) answered: usize,
    quiet_until: u64,
    /// Bytes that the engine ever had for it.
    queued: u64,
}

/// Counts the Produce requests of a stream of bytes.
#[derive(Default)]
struct Frames {
    head: Vec<u8>,
    left: usize,
    produced: usize,
    bytes: u64,
}

impl Frames {
    fn pass(&mut self, mut bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len());
                self.left -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            self.head.push(*first);
            bytes = rest;
            if let [a, b, c, d, e, f] = self.head[..] {
                self.left = u32::from_be_bytes([a, b, c, d]) as usize - 2;
                self.produced += usize::from([e, f] == [0, 0]);
                self.head.clear();
            }
        }
    }
}

impl World {
    /// The engine wants a connection.
    pub(crate) fn connect(&mut self, id: ConnectionId, broker: usize, port: u16) {
        let connection = Connection {
            broker,
            is_open: false,
            is_served: true,
            stalled_until: 0,
            up: Pipe::default(),
            down: Pipe::default(),
            input: BytesMut::new(),
            slots: VecDeque::new(),
            is_handling: false,
            silent_until: 0,
            frames: Frames::default(),
            written: 0,
            arrived: 0,
            ends: VecDeque::new(),
            answered: 0,
            quiet_until: 0,
            queued: 0,
        };
        self.connections.insert(id, connection);
        let there = &self.brokers[broker];
        let hangs = there.is_silent || (!there.is_up && self.random.permille(300));
        if !hangs {
            let is_refused =
                !there.is_up || there.port != port || (!self.is_calm && self.random.permille(30));
            let after = self.random.within(50..=1_000);
            self.later(after, Happening::Opened(id, !is_refused));
        }
    }

    pub(crate) fn opened(&mut self, id: ConnectionId, is_open: bool) {
        let now = self.time();
        let is_up = |broker: usize| self.brokers[broker].is_up;
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if !connection.is_served {
            return; // it was closed meanwhile
        }
        if is_open && is_up(connection.broker) {
            connection.is_open = true;
            if self.is_told {
                eprintln!("{id:?} is open");
            }
            self.engine.opened(id, now);
        } else {
            connection.is_served = false;
            self.engine.lost(id, "refused", now);
        }
        self.touched();
    }

    /// Writes what the engine has for a connection, as far as it takes it.
    pub(crate) fn write(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if !connection.is_open {
            return;
        }
        let bytes = self.engine.unsent(id);
        let queued = connection.frames.bytes + bytes.len() as u64;
        assert!(
            queued == connection.queued || self.now >= connection.quiet_until,
            "a request to a broker that has asked for silence"
        );
        connection.queued = queued;
        let most =
            UNSENT_BYTES_MAX + self.plan.settings.request_bytes_max + self.plan.batch_bytes_max.1;
        self.unsent_most = self.unsent_most.max(bytes.len());
        assert!(bytes.len() <= most, "{} bytes are unsent", bytes.len());
        if bytes.is_empty() {
            return;
        }
        let room = match connection.up.is_cut {
            true => usize::MAX,
            false => self.plan.window.saturating_sub(connection.up.bytes.len()),
        };
        let mut count = bytes.len().min(room);
        if self.random.permille(self.plan.piece_permille) {
            count = self.random.below(count + 1);
            let after = self.random.within(10..=2_000);
            self.later(after, Happening::Write(id));
        }
        if count == 0 {
            return;
        }
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let bytes = &self.engine.unsent(id)[..count];
        connection.frames.pass(bytes);
        let in_flight = connection.frames.produced - connection.answered;
        if in_flight > 1 {
            self.tally.count(Seen::SeveralInFlight);
        }
        assert!(
            in_flight <= self.plan.settings.in_flight_max,
            "{in_flight} requests on their way"
        );
        if !connection.up.is_cut {
            connection.up.bytes.extend_from_slice(bytes);
        }
        self.engine.sent(id, count);
        self.move_up(id);
    }

    fn latency(&mut self) -> u64 {
        match self.random.permille(self.plan.slow_permille) {
            true => self.random.within(5_000..=80_000),
            false => self.random.within(50..=800),
        }
    }

    fn move_up(&mut self, id: ConnectionId) {
        let after = self.latency();
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let pipe = &mut connection.up;
        if !pipe.is_moving && !pipe.bytes.is_empty() {
            pipe.is_moving = true;
            let stalled = connection.stalled_until.saturating_sub(self.now);
            self.later(after.max(stalled), Happening::Up(id));
        }
    }

    fn move_down(&mut self, id: ConnectionId) {
        let after = self.latency();
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let pipe = &mut connection.down;
        if !pipe.is_moving && !pipe.bytes.is_empty() {
            pipe.is_moving = true;
            let stalled = connection.stalled_until.saturating_sub(self.now);
            self.later(after.max(stalled), Happening::Down(id));
        }
    }

    /// How many of so many bytes come now.
    fn piece(&mut self, bytes: usize) -> usize {
        match self.random.permille(self.plan.piece_permille) {
            true => 1 + self.random.below(bytes),
            false => bytes,
        }
    }

    /// Bytes come to a broker.
    pub(crate) fn up(&mut self, id: ConnectionId) {
        let count = self.connections.get(&id).map_or(0, |c| c.up.bytes.len());
        let count = self.piece(count);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.up.is_moving = false;
        if self.now < connection.stalled_until {
            return self.move_up(id);
        }
        let bytes = connection
            .up
            .bytes
            .split_to(count.min(connection.up.bytes.len()));
        if connection.is_served && self.brokers[connection.broker].is_up {
            connection.input.extend_from_slice(&bytes);
            self.next_request(id);
        }
        self.move_up(id);
        self.write(id);
    }

    /// Bytes come to the client.
    pub(crate) fn down(&mut self, id: ConnectionId) {
        let count = self.connections.get(&id).map_or(0, |c| c.down.bytes.len());
        let count = self.piece(count);
        let now = self.time();
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.down.is_moving = false;
        if self.now < connection.stalled_until {
            return self.move_down(id);
        }
        let bytes = connection
            .down
            .bytes
            .split_to(count.min(connection.down.bytes.len()));
        connection.arrived += bytes.len() as u64;
        while let Some(&(end, is_produce, silent)) = connection.ends.front()
            && end <= connection.arrived
        {
            connection.ends.pop_front();
            connection.answered += usize::from(is_produce);
            connection.quiet_until = connection.quiet_until.max(match silent {
                0 => 0,
                silent => self.now + silent,
            });
        }
        if !bytes.is_empty() {
            self.engine.received(id, &bytes, now);
            self.touched();
        }
        self.move_down(id);
    }

    /// The broker's answers, in the order of their requests.
    pub(crate) fn flush(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        while let Some(Slot {
            answer: Some(_), ..
        }) = connection.slots.front()
            && let Some(slot) = connection.slots.pop_front()
            && let Some((answer, silent)) = slot.answer
        {
            if silent > 0 {
                connection.silent_until = connection.silent_until.max(self.now + silent);
            }
            if connection.is_served && !connection.down.is_cut {
                connection.written += answer.remaining() as u64;
                connection
                    .ends
                    .push_back((connection.written, slot.is_produce, silent));
                connection.down.bytes.extend_from_slice(&answer);
            }
        }
        self.move_down(id);
        self.next_request(id);
    }

    /// The connection breaks: of what is on its way, some bytes still arrive.
    pub(crate) fn cut(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        for pipe in [&mut connection.up, &mut connection.down] {
            if !pipe.is_cut {
                pipe.is_cut = true;
                let left = match self.random.below(3) {
                    0 => 0,
                    1 => pipe.bytes.len(),
                    _ => self.random.below(pipe.bytes.len() + 1),
                };
                pipe.bytes.truncate(left);
            }
        }
        // Some are never told.
        if self.random.permille(800) {
            let after = self.random.within(0..=20_000);
            self.later(after, Happening::Lost(id));
        }
        self.note(|| format!("{id:?} is cut"));
    }

    /// Nothing moves on it for some time.
    pub(crate) fn stall(&mut self, id: ConnectionId, micros: u64) {
        let until = self.now + micros;
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.stalled_until = connection.stalled_until.max(until);
        }
    }

    /// Nothing stalls any more, and who has a connection that is gone is told so.
    pub(crate) fn mend(&mut self) {
        let mut gone = Vec::new();
        for (id, connection) in &mut self.connections {
            connection.stalled_until = 0;
            if connection.is_open && (connection.up.is_cut || !connection.is_served) {
                gone.push(*id);
            }
        }
        for id in gone {
            self.later(0, Happening::Lost(id));
        }
    }

    pub(crate) fn lost(&mut self, id: ConnectionId) {
        let now = self.time();
        if let Some(connection) = self.connections.get_mut(&id).filter(|c| c.is_open) {
            connection.is_open = false;
            self.engine.lost(id, "closed by the other side", now);
            self.touched();
        }
    }

    /// The engine has given it up: what it has written may still arrive, later.
    pub(crate) fn close(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.is_open = false;
        if !connection.up.is_moving && connection.up.bytes.is_empty() {
            connection.is_served &= !connection.input.is_empty() || !connection.slots.is_empty();
        }
        if self.random.permille(400) {
            let left = self.random.below(connection.up.bytes.len() + 1);
            connection.up.bytes.truncate(left);
        } else if self.random.permille(300) {
            let micros = self.random.within(0..=3_000_000);
            self.stall(id, micros);
        }
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.up.is_cut = true;
        connection.down.is_cut = true;
        if self.random.permille(900) {
            connection.down.bytes.clear();
        } else {
            // Whoever drives the engine may find out as well, later.
            let now = self.time();
            self.engine.lost(id, "closed", now);
            self.engine.opened(id, now);
            self.engine.sent(id, 1);
        }
    }
}

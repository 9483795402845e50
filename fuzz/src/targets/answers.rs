//! A broker's answers, as a producer engine reads them that has slabs on their way.
//!
//! The first byte says which version of Produce the broker speaks, the second how many requests it answers as it should.
//! Then each request gets the next piece: a byte with its length, and the body, whose frame is right. After a length of
//! 255 comes the rest, as it is.

use producer_engine::{Action, Address, ConnectionId, Engine, Record, Settings, Slab, Time};

const PRODUCE: i16 = 0;
const METADATA: i16 = 3;
const API_VERSIONS: i16 = 18;
const INIT_PRODUCER_ID: i16 = 22;
/// What follows has no frame.
const RAW: usize = 255;
const SLABS: usize = 6;
const CONNECTIONS_MAX: usize = 20;
const DELIVERY_TIMEOUT: Time = Time::from_secs(3);

struct Events {
    number: usize,
}

impl Slab for Events {
    fn topic(&self) -> &str {
        "t"
    }

    fn partition(&self) -> i32 {
        (self.number % 2) as i32
    }

    fn records(&self) -> usize {
        1 + self.number % 3
    }

    fn bytes(&self) -> usize {
        100
    }

    fn encoded_bytes_max(&self) -> usize {
        100
    }

    fn each(&self, mut visit: impl FnMut(Record<'_>)) {
        for _ in 0..self.records() {
            visit(Record {
                timestamp: 1,
                key: None,
                value: b"{}",
                headers: &[],
            });
        }
    }
}

pub(super) fn run(input: &[u8]) {
    let [version, good, pieces @ ..] = input else {
        return;
    };
    Broker {
        produce_max: 9 + i16::from(version % 5),
        good: good % 8,
        pieces,
        engine: Engine::new(Settings {
            bootstrap: vec![address()],
            topics: vec!["t".to_owned()],
            delivery_timeout: DELIVERY_TIMEOUT,
            request_timeout: Time::from_secs(1),
            ..Settings::default()
        }),
        now: Time::ZERO,
        open: Vec::new(),
        told: [false; SLABS],
        submitted: 0,
    }
    .run();
}

fn address() -> Address {
    Address {
        host: "b".to_owned(),
        port: 9092,
    }
}

struct Broker<'a> {
    produce_max: i16,
    good: u8,
    pieces: &'a [u8],
    engine: Engine<Events>,
    now: Time,
    open: Vec<ConnectionId>,
    told: [bool; SLABS],
    submitted: usize,
}

impl Broker<'_> {
    fn run(mut self) {
        let end = 2 * DELIVERY_TIMEOUT;
        while self.now < end {
            self.engine.advance(self.now);
            let next = self.engine.deadline();
            assert!(next.is_none_or(|at| at > self.now), "due at once again");
            self.carry_out();
            if self.engine.is_ready() && self.submitted < SLABS {
                let number = self.submitted;
                self.submitted += 1;
                self.engine.submit(Events { number }, self.now);
            } else if !self.answer() {
                self.now = next.unwrap_or(end).min(end);
            }
        }
        self.carry_out();
        assert_eq!((self.engine.held(), self.engine.held_bytes()), (0, 0));
        assert!(self.told[..self.submitted].iter().all(|told| *told));
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.engine.action() {
            match action {
                Action::Connect {
                    connection,
                    address: to,
                } if to == address() && self.open.len() < CONNECTIONS_MAX => {
                    self.open.push(connection);
                    self.engine.opened(connection, self.now);
                }
                Action::Connect { connection, .. } => {
                    self.engine.lost(connection, "refused", self.now);
                }
                Action::Receipt(receipt) => {
                    let told = &mut self.told[receipt.slab.number];
                    assert!(!*told, "told twice");
                    *told = true;
                    let mut next = 0;
                    for part in receipt.parts {
                        assert_eq!(part.records.start, next);
                        next = part.records.end;
                    }
                    assert_eq!(next, receipt.slab.records());
                }
                Action::Close { .. } | Action::Notice(_) => {}
            }
        }
    }

    /// Answers the requests that were written; whether there were any.
    fn answer(&mut self) -> bool {
        let mut asked = false;
        for connection in self.open.clone() {
            let bytes = self.engine.unsent(connection).to_vec();
            self.engine.sent(connection, bytes.len());
            let mut rest = &bytes[..];
            while let Some((length, after)) = rest.split_first_chunk() {
                let length = u32::from_be_bytes(*length) as usize;
                let request;
                (request, rest) = after.split_at(length);
                asked = true;
                if let Some(answer) = self.answer_to(request) {
                    self.engine.received(connection, &answer, self.now);
                }
            }
        }
        asked
    }

    fn answer_to(&mut self, request: &[u8]) -> Option<Vec<u8>> {
        let api = i16::from_be_bytes([request[0], request[1]]);
        let body = match self.good.checked_sub(1).filter(|_| api != PRODUCE) {
            Some(good) => {
                self.good = good;
                self.right(api)
            }
            None => {
                let (length, rest) = self.pieces.split_first()?;
                let length = usize::from(*length);
                if length == RAW {
                    self.pieces = &[];
                    return Some(rest.to_vec());
                }
                let (body, rest) = rest.split_at(length.min(rest.len()));
                self.pieces = rest;
                body.to_vec()
            }
        };
        let mut answer = request[4..8].to_vec();
        if api != API_VERSIONS {
            answer.push(0); // no tagged fields
        }
        answer.extend(body);
        let mut framed = (answer.len() as u32).to_be_bytes().to_vec();
        framed.append(&mut answer);
        Some(framed)
    }

    /// What a broker would say.
    fn right(&self, api: i16) -> Vec<u8> {
        let mut body = Vec::new();
        match api {
            API_VERSIONS => {
                body.extend([0, 0, 4]);
                let spoken = [
                    (PRODUCE, self.produce_max),
                    (METADATA, 12),
                    (INIT_PRODUCER_ID, 4),
                ];
                for (api, highest) in spoken {
                    body.extend(api.to_be_bytes());
                    body.extend([0, 0]);
                    body.extend(highest.to_be_bytes());
                    body.push(0);
                }
                body.extend([0, 0, 0, 0, 0]);
            }
            METADATA => {
                body.extend([0, 0, 0, 0, 2]);
                body.extend([0, 0, 0, 1, 2, b'b', 0, 0, 0x23, 0x84, 0, 0]); // 1 is b:9092
                body.extend([0, 0, 0, 0, 1, 2]); // no name, controller, one topic
                body.extend([0, 0, 2, b't']);
                body.extend([7; 16]);
                body.extend([0, 3]); // two partitions
                for partition in 0..2 {
                    body.extend([0, 0, 0, 0, 0, partition, 0, 0, 0, 1, 0, 0, 0, 0]);
                    body.extend([1, 1, 1, 0]);
                }
                body.extend([0, 0, 0, 0, 0, 0]);
            }
            _ => {
                body.extend([0, 0, 0, 0, 0, 0]);
                body.extend(1_i64.to_be_bytes());
                body.extend([0, 0, 0]);
            }
        }
        body
    }
}

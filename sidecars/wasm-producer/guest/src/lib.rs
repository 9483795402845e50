//! The producer engine as a WebAssembly module: what it exports is described in `wasm-producer-interface`.
//!
//! It imports nothing: no file, no socket, no clock, no random number. What goes wrong in it is a trap, which ends the
//! instance; the host tells what was in flight as unknown, and begins another.

use std::{cell::RefCell, time::Duration};

use bytes::Bytes;
use producer_engine::{ConnectionId, Engine};
use prost::Message as _;
use slab_records::{Job, columns};
use wasm_producer_interface::{Act, Start, Turn, Unsent, VERSION, nanoseconds, place};

/// The instance's state: it has one thread.
#[derive(Default)]
struct State {
    /// What the host has written for the next call.
    input: Vec<u8>,
    /// What the host is told where to read.
    output: Vec<u8>,
    engine: Option<Engine<Job<u64>>>,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

impl State {
    /// Traps where the host has not begun.
    fn engine(&mut self) -> &mut Engine<Job<u64>> {
        self.engine.as_mut().expect("start was called")
    }

    fn tell(&mut self, bytes: Vec<u8>) -> u64 {
        self.output = bytes;
        place_of(&self.output)
    }

    fn start(&mut self) -> Result<(), String> {
        let start = Start::decode(&self.input[..]).map_err(|error| error.to_string())?;
        let topics = start.topics.clone();
        let mut engine = Engine::new(start.settings()?);
        for topic in topics.iter().filter(|topic| topic.batch_bytes_max > 0) {
            engine.set_batch_bytes_max(&topic.name, topic.batch_bytes_max as usize);
        }
        self.engine = Some(engine);
        Ok(())
    }

    fn turn(&mut self) -> Turn {
        let engine = self.engine();
        let mut acts = Vec::new();
        while let Some(action) = engine.action() {
            acts.push(Act::of(action, |job| job.carried));
        }
        let unsent = engine.connections().filter_map(|id| {
            let place = place_of(engine.unsent(id));
            (place as u32 > 0).then_some(Unsent {
                connection: id.0,
                place,
            })
        });
        Turn {
            unsent: unsent.collect(),
            acts,
            deadline_ns: engine.deadline().as_ref().map(nanoseconds),
            is_ready: engine.is_ready(),
            held: engine.held() as u64,
        }
    }
}

fn place_of(bytes: &[u8]) -> u64 {
    place(bytes.as_ptr() as usize as u32, bytes.len() as u32)
}

fn with<T>(act: impl FnOnce(&mut State) -> T) -> T {
    STATE.with_borrow_mut(act)
}

// A name that is not mangled could be that of something else that is linked; in a module there is nothing else.
#[allow(unsafe_code)]
mod exports {
    use super::*;

    #[unsafe(no_mangle)]
    extern "C" fn version() -> u32 {
        VERSION
    }

    #[unsafe(no_mangle)]
    extern "C" fn input(bytes: u32) -> u32 {
        with(|state| {
            // Anew for each: a slab keeps the memory that it was written to.
            state.input = vec![0; bytes as usize];
            state.input.as_ptr() as usize as u32
        })
    }

    #[unsafe(no_mangle)]
    extern "C" fn start(_bytes: u32) -> u64 {
        with(|state| {
            let refused = state.start().err().unwrap_or_default();
            state.tell(refused.into_bytes())
        })
    }

    #[unsafe(no_mangle)]
    extern "C" fn submit(number: u64, _bytes: u32, now: u64) {
        with(|state| {
            let bytes = Bytes::from(std::mem::take(&mut state.input));
            let slab = columns::read(bytes).expect("the host has read it");
            let job = Job {
                slab,
                carried: number,
            };
            state.engine().submit(job, Duration::from_nanos(now));
        });
    }

    #[unsafe(no_mangle)]
    extern "C" fn opened(connection: u64, now: u64) {
        let id = ConnectionId(connection);
        with(|state| state.engine().opened(id, Duration::from_nanos(now)));
    }

    #[unsafe(no_mangle)]
    extern "C" fn received(connection: u64, _bytes: u32, now: u64) {
        with(|state| {
            let input = std::mem::take(&mut state.input);
            let now = Duration::from_nanos(now);
            state
                .engine()
                .received(ConnectionId(connection), &input, now);
        });
    }

    #[unsafe(no_mangle)]
    extern "C" fn lost(connection: u64, _bytes: u32, now: u64) {
        with(|state| {
            let why = String::from_utf8_lossy(&std::mem::take(&mut state.input)).into_owned();
            let id = ConnectionId(connection);
            state.engine().lost(id, &why, Duration::from_nanos(now));
        });
    }

    #[unsafe(no_mangle)]
    extern "C" fn advance(now: u64) -> u64 {
        with(|state| {
            state.engine().advance(Duration::from_nanos(now));
            let turn = state.turn().encode_to_vec();
            state.tell(turn)
        })
    }

    #[unsafe(no_mangle)]
    extern "C" fn sent(connection: u64, bytes: u32) -> u64 {
        let id = ConnectionId(connection);
        with(|state| {
            state.engine().sent(id, bytes as usize);
            place_of(state.engine().unsent(id))
        })
    }
}

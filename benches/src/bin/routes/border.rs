//! The border between host and module: what a call costs, what goes over with a slab, and how long the module is compiled.

use std::{fs, time::Instant};

use aguacero_proto::produce::{Request, Slab};
use anyhow::Context as _;
use benches::{
    page::Page,
    turns::{Turns, in_turns},
};
use prost::Message as _;
use wasm_producer_interface::{Act, Fate, Kind, Receipt, Records, Turn, Unsent, place};
use wasmtime::{Config, Engine, Instance, Memory, Module, Store, TypedFunc};

use crate::{Chapter, Study, side::STREAM};

pub(crate) const CHAPTER: Chapter = Chapter {
    name: "border",
    title: "Routes: the border of the sandbox",
    is_load: false,
    write: |study, page| Box::pin(write(study, page)),
};

/// Calls of a turn that is measured.
const CALLS: u32 = 200_000;
/// Bytes of a turn that is measured, whatever each call takes over.
const BYTES: u64 = 500_000_000;
/// Bytes of a call that takes some over.
const SIZES: [u64; 4] = [100, 1_000, 10_000, 100_000];
/// Events of a slab: alone, as with 100 connections, and as with batches.
const SLABS: [usize; 3] = [1, 80, 2_500];
/// Bytes of Kafka's answer to a request of one partition.
const ANSWER: usize = 80;

/// Who takes bytes over.
#[derive(Clone, Copy)]
enum Taker {
    Module,
    Host,
}

async fn write(study: &Study, page: &mut Page) -> anyhow::Result<()> {
    let file = e2e::wasm_module();
    let bytes = fs::read(&file).with_context(|| file.display().to_string())?;
    let rounds = study.effort.rounds;

    let lines = [("the module", ())];
    let compiled = in_turns(rounds, &lines, &[1], async |(), _| compiled(&bytes));
    let columns = [
        "ms to compile",
        "µs to begin an instance",
        "ns of an empty call",
        "ns of the epoch's deadline before it",
    ];
    page.table("The module", ["", ""], columns, &compiled.await?);

    let mut border = Border::new(&bytes)?;
    let lines = [
        ("into the module", Taker::Module),
        ("the same in the host", Taker::Host),
    ];
    let taken = in_turns(rounds, &lines, &SIZES, async |taker, size| {
        let calls = (BYTES / size).clamp(1, u64::from(CALLS));
        let began = Instant::now();
        match taker {
            Taker::Module => border.take(size as usize, calls)?,
            Taker::Host => take(size as usize, calls),
        }
        let ns = began.elapsed().as_nanos() as f64 / calls as f64;
        Ok([ns, size as f64 / ns])
    });
    page.paragraph("Memory for the bytes, cleared, and a copy of them into it.");
    let columns = ["ns", "GB/s"];
    let taken: Turns<2> = taken.await?;
    page.table("Bytes that go over", ["", "bytes"], columns, &taken);

    page.paragraph(&slabs(&study.events.plain));
    Ok(())
}

/// An instance of the module, as the wasm-producer has it.
struct Border {
    store: Store<()>,
    memory: Memory,
    version: TypedFunc<(), u32>,
    input: TypedFunc<u32, u32>,
}

impl Border {
    fn new(bytes: &[u8]) -> anyhow::Result<Self> {
        let engine = engine()?;
        let module = Module::new(&engine, bytes)?;
        Self::of(&module)
    }

    fn of(module: &Module) -> anyhow::Result<Self> {
        let mut store = Store::new(module.engine(), ());
        store.set_epoch_deadline(1);
        let instance = Instance::new(&mut store, module, &[])?;
        let memory = instance.get_memory(&mut store, "memory");
        Ok(Self {
            memory: memory.context("it exports no memory")?,
            version: instance.get_typed_func(&mut store, "version")?,
            input: instance.get_typed_func(&mut store, "input")?,
            store,
        })
    }

    fn take(&mut self, bytes: usize, calls: u64) -> anyhow::Result<()> {
        let from = vec![7; bytes];
        for _ in 0..calls {
            self.store.set_epoch_deadline(1);
            let to = self.input.call(&mut self.store, bytes as u32)? as usize;
            let memory = self.memory.data_mut(&mut self.store);
            let place = memory.get_mut(to..to + bytes);
            place
                .context("outside of its memory")?
                .copy_from_slice(std::hint::black_box(&from));
        }
        Ok(())
    }
}

/// The same without a border.
fn take(bytes: usize, calls: u64) {
    let from = vec![7_u8; bytes];
    for _ in 0..calls {
        let mut to = std::hint::black_box(vec![0_u8; bytes]);
        to.copy_from_slice(std::hint::black_box(&from));
        std::hint::black_box(to);
    }
}

fn engine() -> anyhow::Result<Engine> {
    let mut config = Config::new();
    config.epoch_interruption(true);
    Ok(Engine::new(&config)?)
}

/// Milliseconds, microseconds, and nanoseconds of each call.
fn compiled(bytes: &[u8]) -> anyhow::Result<[f64; 4]> {
    let engine = engine()?;
    let began = Instant::now();
    let module = Module::new(&engine, bytes)?;
    let compiled = began.elapsed();
    let began = Instant::now();
    let mut border = Border::of(&module)?;
    let instance = began.elapsed();
    let began = Instant::now();
    for _ in 0..CALLS {
        border.version.call(&mut border.store, ())?;
    }
    let calls = began.elapsed();
    let began = Instant::now();
    for _ in 0..CALLS {
        std::hint::black_box(&mut border.store).set_epoch_deadline(1);
    }
    let deadlines = began.elapsed();
    Ok([
        compiled.as_secs_f64() * 1e3,
        instance.as_secs_f64() * 1e6,
        calls.as_nanos() as f64 / f64::from(CALLS),
        deadlines.as_nanos() as f64 / f64::from(CALLS),
    ])
}

/// What goes over with a slab.
struct Crossing {
    /// Into the module's memory.
    slab: usize,
    answer: usize,
    /// Out of it, as messages.
    turns: usize,
}

/// Of a slab that has its turn, its request and its answer for itself, as the interface has it.
fn crossing(slab: &Slab) -> Crossing {
    // The request is written to the socket from where it lies.
    let asks = Turn {
        unsent: vec![Unsent {
            connection: 1,
            place: place(1 << 20, 1 << 10),
        }],
        held: 1,
        ..idle()
    };
    let tells = Turn {
        acts: vec![Act {
            kind: Some(Kind::Receipt(Receipt {
                slab: 1,
                parts: vec![Records {
                    count: slab.ends.len() as u32,
                    fate: Fate::Stored.into(),
                    offset: 1_000_000,
                    topic: vec![7; 16],
                    ..Records::default()
                }],
            })),
        }],
        ..idle()
    };
    Crossing {
        slab: slab.encoded_len(),
        answer: ANSWER,
        turns: asks.encoded_len() + tells.encoded_len(),
    }
}

fn idle() -> Turn {
    Turn {
        deadline_ns: Some(60_000_000_000),
        is_ready: true,
        ..Turn::default()
    }
}

/// Calls until a slab has left, and until what Kafka has answered is told.
const CALLS_OUT: [&str; 4] = ["input", "submit", "advance", "sent"];
const CALLS_BACK: [&str; 3] = ["input", "received", "advance"];

fn slabs(events: &[String]) -> String {
    let calls = CALLS_OUT.len() + CALLS_BACK.len();
    let mut text = format!(
        "## A slab, by the interface\n\n\
         A slab that has its turn for itself takes {calls} calls: {}, and with Kafka's answer {}. Slabs that come while one is \
         on its way share a turn, so that each further one takes two. The request to Kafka goes from the module's memory into \
         the socket.\n\n\
         | events of a slab | calls | bytes in: the slab | bytes in: the answer | bytes out: two turns | calls for an event |\n\
         |---|---|---|---|---|---|\n",
        CALLS_OUT.join(", "),
        CALLS_BACK.join(", ")
    );
    for count in SLABS {
        let over = crossing(&slab(events, count));
        let each = calls as f64 / count as f64;
        text += &format!(
            "| {count} | {calls} | {} | {} | {} | {each:.3} |\n",
            over.slab, over.answer, over.turns
        );
    }
    text
}

/// Of so many events, each with a request of its own, but for batches.
fn slab(events: &[String], count: usize) -> Slab {
    let mut slab = Slab {
        topic: STREAM.into(),
        streams: vec![STREAM.into()],
        ..Slab::default()
    };
    let mut values = Vec::new();
    for event in events.iter().cycle().take(count) {
        values.extend_from_slice(event.as_bytes());
        slab.ends.push(values.len() as u32);
    }
    slab.values = values.into();
    let of_a_request = crate::events::BATCH.min(match count {
        n if n >= crate::events::BATCH => n,
        _ => 1,
    });
    slab.requests = (0..count / of_a_request)
        .map(|n| Request {
            events: of_a_request as u32,
            base_high: u64::MAX,
            base_low: n as u64,
            ..Request::default()
        })
        .collect();
    slab
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slab_of_the_table_has_all_its_events() {
        let events = ["{}", "[]"].map(str::to_owned);
        for count in SLABS {
            let slab = slab(&events, count);
            assert_eq!(slab.ends.len(), count);
            let counted: u32 = slab.requests.iter().map(|request| request.events).sum();
            assert_eq!(counted as usize, count);
            assert!(crossing(&slab).slab > slab.values.len());
        }
    }
}

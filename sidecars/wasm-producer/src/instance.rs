//! An instance of the module: calls into it, and what stops one.

use std::fmt;

use prost::Message as _;
use wasm_producer_interface::{Start, Turn, address_and_bytes};
use wasmtime::{
    AsContext as _, Instance as Wasm, Memory, ResourceLimiter, Store, Trap, TypedFunc, WasmParams,
    WasmResults,
};

use crate::module::{Module, TICKS};

/// Entries of a table: functions that are called by a pointer.
const TABLE_ELEMENTS_MAX: usize = 100_000;

/// Why an instance was stopped. It is not called again.
#[derive(Debug)]
pub(crate) struct Stopped {
    pub(crate) reason: Reason,
    pub(crate) detail: String,
}

/// The kinds of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It has ended itself, or done what WebAssembly forbids.
    Trap,
    /// It has kept the thread for too long.
    Timeout,
    /// It wanted more memory than it may have.
    Memory,
    /// What it told makes no sense.
    Protocol,
}

impl Reason {
    pub(crate) const ALL: [Self; 4] = [Self::Trap, Self::Timeout, Self::Memory, Self::Protocol];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Timeout => "timeout",
            Self::Memory => "memory",
            Self::Protocol => "protocol",
        }
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.reason {
            Reason::Trap => "it trapped",
            Reason::Timeout => "it took too long",
            Reason::Memory => "it wanted more memory than wasm_producer.memory_bytes_max",
            Reason::Protocol => "what it told makes no sense",
        };
        write!(f, "{what}: {}", self.detail)
    }
}

impl Stopped {
    /// It has kept a slab for too long.
    pub(crate) fn overdue() -> Self {
        Self {
            reason: Reason::Timeout,
            detail: "it told nothing of a slab within kafka.message_timeout_ms".to_owned(),
        }
    }

    pub(crate) fn protocol(detail: impl Into<String>) -> Self {
        Self {
            reason: Reason::Protocol,
            detail: detail.into(),
        }
    }
}

/// Memory that it may have, and whether it wanted more.
struct Limits {
    bytes_max: usize,
    is_beyond: bool,
}

impl ResourceLimiter for Limits {
    fn memory_growing(
        &mut self,
        _now: usize,
        wanted: usize,
        _max: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.is_beyond |= wanted > self.bytes_max;
        Ok(wanted <= self.bytes_max)
    }

    /// The bound is for all that it has.
    fn memories(&self) -> usize {
        1
    }

    fn table_growing(
        &mut self,
        _now: usize,
        wanted: usize,
        _max: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(wanted <= TABLE_ELEMENTS_MAX)
    }
}

/// An instance that is not stopped.
pub(crate) struct Instance {
    store: Store<Limits>,
    memory: Memory,
    version: TypedFunc<(), u32>,
    input: TypedFunc<u32, u32>,
    start: TypedFunc<u32, u64>,
    submit: TypedFunc<(u64, u32, u64), ()>,
    opened: TypedFunc<(u64, u64), ()>,
    received: TypedFunc<(u64, u32, u64), ()>,
    lost: TypedFunc<(u64, u32, u64), ()>,
    advance: TypedFunc<u64, u64>,
    sent: TypedFunc<(u64, u32), u64>,
}

impl Instance {
    /// A new one. Microseconds: the module is compiled.
    pub(crate) fn of(module: &Module) -> Result<Self, Stopped> {
        let limits = Limits {
            bytes_max: module.memory_bytes_max,
            is_beyond: false,
        };
        let mut store = Store::new(module.compiled.engine(), limits);
        store.limiter(|limits| limits);
        store.set_epoch_deadline(u64::from(TICKS) + 1);
        let wasm = match Wasm::new(&mut store, &module.compiled, &[]) {
            Ok(wasm) => wasm,
            Err(error) => return Err(stopped(&store, &error)),
        };
        let memory = wasm
            .get_memory(&mut store, "memory")
            .ok_or_else(|| Stopped::protocol("it exports no memory"))?;
        Ok(Self {
            version: function(&wasm, &mut store, "version")?,
            input: function(&wasm, &mut store, "input")?,
            start: function(&wasm, &mut store, "start")?,
            submit: function(&wasm, &mut store, "submit")?,
            opened: function(&wasm, &mut store, "opened")?,
            received: function(&wasm, &mut store, "received")?,
            lost: function(&wasm, &mut store, "lost")?,
            advance: function(&wasm, &mut store, "advance")?,
            sent: function(&wasm, &mut store, "sent")?,
            store,
            memory,
        })
    }

    pub(crate) fn version(&mut self) -> Result<u32, Stopped> {
        let version = self.version.clone();
        self.call(&version, ())
    }

    /// Tells it the settings; an error also where it refuses them.
    pub(crate) fn start(&mut self, start: &Start) -> Result<(), Stopped> {
        let bytes = self.write(&start.encode_to_vec())?;
        let start = self.start.clone();
        let place = self.call(&start, bytes)?;
        match self.read(place)? {
            [] => Ok(()),
            refused => Err(Stopped::protocol(String::from_utf8_lossy(refused))),
        }
    }

    pub(crate) fn submit(&mut self, number: u64, slab: &[u8], now: u64) -> Result<(), Stopped> {
        let bytes = self.write(slab)?;
        let submit = self.submit.clone();
        self.call(&submit, (number, bytes, now))
    }

    pub(crate) fn opened(&mut self, connection: u64, now: u64) -> Result<(), Stopped> {
        let opened = self.opened.clone();
        self.call(&opened, (connection, now))
    }

    pub(crate) fn received(
        &mut self,
        connection: u64,
        bytes: &[u8],
        now: u64,
    ) -> Result<(), Stopped> {
        let bytes = self.write(bytes)?;
        let received = self.received.clone();
        self.call(&received, (connection, bytes, now))
    }

    pub(crate) fn lost(&mut self, connection: u64, why: &str, now: u64) -> Result<(), Stopped> {
        let bytes = self.write(why.as_bytes())?;
        let lost = self.lost.clone();
        self.call(&lost, (connection, bytes, now))
    }

    pub(crate) fn advance(&mut self, now: u64) -> Result<Turn, Stopped> {
        let advance = self.advance.clone();
        let place = self.call(&advance, now)?;
        Turn::decode(self.read(place)?).map_err(|error| Stopped::protocol(error.to_string()))
    }

    /// Where the rest lies.
    pub(crate) fn sent(&mut self, connection: u64, bytes: u32) -> Result<u64, Stopped> {
        let sent = self.sent.clone();
        self.call(&sent, (connection, bytes))
    }

    /// Bytes of its memory; an error if they are not in it.
    pub(crate) fn read(&self, place: u64) -> Result<&[u8], Stopped> {
        let (address, bytes) = address_and_bytes(place);
        let memory = self.memory.data(self.store.as_context());
        memory
            .get(address..address.saturating_add(bytes))
            .ok_or_else(|| Stopped::protocol("a place outside of its memory"))
    }

    /// Bytes of memory that it has.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory.data_size(self.store.as_context())
    }

    /// Writes what the next call reads; how many bytes it is.
    fn write(&mut self, bytes: &[u8]) -> Result<u32, Stopped> {
        let length = u32::try_from(bytes.len()).map_err(|_| Stopped::protocol("4 GiB at once"))?;
        let input = self.input.clone();
        let address = self.call(&input, length)? as usize;
        let memory = self.memory.data_mut(&mut self.store);
        match memory.get_mut(address..address.saturating_add(bytes.len())) {
            Some(place) => place.copy_from_slice(bytes),
            None => return Err(Stopped::protocol("input lies outside of its memory")),
        }
        Ok(length)
    }

    fn call<P: WasmParams, R: WasmResults>(
        &mut self,
        function: &TypedFunc<P, R>,
        parameters: P,
    ) -> Result<R, Stopped> {
        self.store.set_epoch_deadline(u64::from(TICKS) + 1); // the first is under way
        let called = function.call(&mut self.store, parameters);
        called.map_err(|error| stopped(&self.store, &error))
    }
}

fn function<P: WasmParams, R: WasmResults>(
    wasm: &Wasm,
    store: &mut Store<Limits>,
    name: &str,
) -> Result<TypedFunc<P, R>, Stopped> {
    wasm.get_typed_func(store, name)
        .map_err(|error| Stopped::protocol(format!("export {name}: {error:#}")))
}

fn stopped(store: &Store<Limits>, error: &wasmtime::Error) -> Stopped {
    let reason = match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => Reason::Timeout,
        _ if store.data().is_beyond => Reason::Memory,
        _ => Reason::Trap,
    };
    let detail = match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => "a call took longer than wasm_producer.call_timeout_ms".to_owned(),
        Some(trap) => trap.to_string(),
        None => format!("{error:#}"),
    };
    Stopped { reason, detail }
}

//! An engine as whoever drives it sees it: the native one, or one in WebAssembly.

use std::task::Context;

use producer_engine::{Action, ConnectionId, Engine, Time};

use slab_records::Job;

/// What [`Engine`] does, for one that runs elsewhere. What each function means is written there.
pub trait Machine {
    /// What comes back with a slab's receipt.
    type Carried;
    /// Takes a slab whose columns agree, and which was read from `bytes`.
    fn submit(&mut self, job: Job<Self::Carried>, bytes: &[u8], now: Time);
    /// [`Engine::opened`]
    fn opened(&mut self, connection: ConnectionId, now: Time);
    /// [`Engine::received`]
    fn received(&mut self, connection: ConnectionId, bytes: &[u8], now: Time);
    /// [`Engine::lost`]
    fn lost(&mut self, connection: ConnectionId, why: &str, now: Time);
    /// [`Engine::advance`]
    fn advance(&mut self, now: Time);
    /// [`Engine::action`]
    fn action(&mut self) -> Option<Action<Job<Self::Carried>>>;
    /// [`Engine::unsent`]
    fn unsent(&mut self, connection: ConnectionId) -> &[u8];
    /// [`Engine::sent`]
    fn sent(&mut self, connection: ConnectionId, bytes: usize);
    /// [`Engine::deadline`]
    fn deadline(&self) -> Option<Time>;
    /// [`Engine::is_ready`]
    fn is_ready(&self) -> bool;
    /// [`Engine::held`]
    fn held(&self) -> usize;
    /// Has the driver woken when the machine is to be replaced by another one.
    fn poll_replaced(&mut self, _cx: &mut Context<'_>) {}
}

impl<T> Machine for Engine<Job<T>> {
    type Carried = T;

    fn submit(&mut self, job: Job<T>, _bytes: &[u8], now: Time) {
        Self::submit(self, job, now);
    }

    fn opened(&mut self, connection: ConnectionId, now: Time) {
        Self::opened(self, connection, now);
    }

    fn received(&mut self, connection: ConnectionId, bytes: &[u8], now: Time) {
        Self::received(self, connection, bytes, now);
    }

    fn lost(&mut self, connection: ConnectionId, why: &str, now: Time) {
        Self::lost(self, connection, why, now);
    }

    fn advance(&mut self, now: Time) {
        Self::advance(self, now);
    }

    fn action(&mut self) -> Option<Action<Job<T>>> {
        Self::action(self)
    }

    fn unsent(&mut self, connection: ConnectionId) -> &[u8] {
        Self::unsent(self, connection)
    }

    fn sent(&mut self, connection: ConnectionId, bytes: usize) {
        Self::sent(self, connection, bytes);
    }

    fn deadline(&self) -> Option<Time> {
        Self::deadline(self)
    }

    fn is_ready(&self) -> bool {
        Self::is_ready(self)
    }

    fn held(&self) -> usize {
        Self::held(self)
    }
}

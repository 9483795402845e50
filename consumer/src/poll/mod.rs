//! From Kafka to the sink and back to Kafka as committed offsets: one thread, which never waits for
//! the sink.
//!
//! In reading order: [`thread`] is where it runs, [`run`] the loop, [`state`] what it knows, with a [`partition`] for each that the
//! [`group`] has given to this process ([`rebalance`]). Records are appended to the batch that their partition
//! has open ([`append`], [`headers`]). A partition whose sink is free gives it what has come together in the
//! meantime ([`in_flight`]): group commit, so nobody waits for company. How far a partition is finished comes
//! back over a channel, and is committed every second and whenever the partition is taken away ([`offsets`],
//! [`leader_epoch`]). Where a partition's log begins and ends, and what became of what did not come, is asked
//! beside it ([`logs`], [`probe`]).
//! While a sink stands still its partition is paused and the thread goes on polling, so that the group keeps
//! this process. A topic that is made again, which its [`incarnation`] tells, is read from its beginning
//! ([`remade_topics`]).

mod run;
mod state;
mod thread;

mod group;
mod rebalance;

mod append;
mod headers;
mod in_flight;
mod leader_epoch;
mod logs;
mod offsets;
mod partition;

mod incarnation;
mod probe;
mod remade_topics;

pub use group::client;
pub(crate) use headers::headers;
pub use incarnation::{Incarnations, View};
pub use offsets::{Committed, committed};
pub use probe::{Probed, probe, reader};
pub use state::{Assigned, Owned, Poller};
pub use thread::poll;

//! What processors of events share: poll, decode by the stream's declaration, state, commit. `docs/processors.md` shows
//! how to write one; `examples/sales-by-cart.rs` is one.
//!
//! # Where to begin
//! [`App`] is the process: configuration, logs, admin port, signals, the poll loop. What it does with events is either
//! an [`Apply`], whose state lies in PostgreSQL and changes exactly once for each event ([`App::exactly_once`], tables by
//! [`tables`]), or a [`Follow`], whose state lies in memory and is rebuilt from Kafka at start ([`App::follow`]).
//! A processor finds its fields by name ([`declared`]) and reads them by type ([`values`]). One that has to know that it
//! has seen everything up to a moment asks where the logs end ([`ends`]).

pub mod app;

pub mod declared;
pub mod values;

pub mod follow;
pub mod tables;

pub mod ends;

pub use app::{App, Options};
pub use consumer::{
    batch::Source,
    postgres::pool,
    transaction::{Apply, Cell, Event, Row, told},
};
pub use deadpool_postgres::{GenericClient, Pool, Transaction};
pub use declared::Declared;
pub use follow::{Follow, Follower};
pub use tables::{Tables, connection};
pub use tokio_postgres::Error;
pub use values::Values;

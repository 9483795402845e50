//! The console: what there is, for people with a browser.
//!
//! # How a figure comes to a page
//! Nobody who looks asks a store. For each page there is a [`feed`]: one task that reads once a second, and not at all
//! while nobody looks, and hands what it has read to everybody as server-sent events ([`web`]). The counters are read
//! from Redis ([`live`]), the newest entries and dead letters from MongoDB ([`log`], [`letters`]), and the state of the
//! processes from their admin ports ([`pipeline`]). A store that is away is told in words, and found again.
//!
//! # What is written
//! Nothing, but for two things that somebody asks for: an event goes to the gateway as any other ([`try_it`]), and with
//! the operator's token ([`token`]) a dead letter is replayed or discarded, by the code of `consumer dead-letters`.
//!
//! # What comes from events is never markup
//! Pages are made here of nothing but the configuration and the table of texts ([`pages`], [`text`]). What events hold
//! goes to the script as JSON, and the script only ever writes it as text.

pub mod app;

pub mod web;

pub mod pages;
pub mod text;

pub mod feed;
pub mod letters;
pub mod live;
pub mod log;
pub mod pipeline;
pub mod top;

pub mod token;
pub mod try_it;

pub mod fetch;
pub mod json;
pub mod mongo;

pub mod metric;

pub use app::App;

//! The promises of Aguacero, each shown on the real processes and the real services.

mod addresses;
mod batches;
mod book;
mod chaos;
mod contract;
mod drain;
mod hostile;
mod http2;
mod in_flight;
mod keys;
mod ledger;
mod logs;
mod packed;
mod pipeline;
mod preferences;
mod property;
mod requests;
mod silence;
mod start;
mod strangers;
mod streams;
mod tls;
mod topic_settings;
mod trouble;
mod turns;
mod undeclared_topics;

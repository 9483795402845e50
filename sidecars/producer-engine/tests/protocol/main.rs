//! What is read of brokers and written for them, held against the other half of `kafka-protocol`.

mod batches;
mod requests;
mod responses;

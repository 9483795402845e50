//! Kafka, Redis and MongoDB that take TLS and passwords only, and give each process no right more than
//! `scripts/rights` names. `scripts/test secure` runs this.

mod stores;

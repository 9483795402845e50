//! What is checked every second, beside the poll loop.
//!
//! [`lag`] asks Kafka how far this process is behind, [`missed_partitions`] whether the group has left a
//! partition to nobody, and [`reconcile`] asks Redis whether it still shows what the archive holds; [`audit`]
//! compares them at a slow pace.

pub mod audit;
pub mod lag;
pub mod missed_partitions;
pub mod reconcile;

//! What is checked every second, or every ten, beside the poll loop.
//!
//! Of Kafka: [`topic_settings`] asks whether topics are set to what keeps the promises, [`lag`] how far this process
//! is behind, [`missed_partitions`] whether the group has left a partition to nobody, [`undeclared_topics`] whether it
//! has left records unread in topics that are not declared any more. Of MongoDB: [`indices`] asks whether it still has
//! the indices of the archives. Of Redis: [`redis_problems`] asks whether it is such that it keeps the counters,
//! [`reconcile`] whether it still shows what the archive holds; [`audit`] compares them at a slow pace.

pub mod audit;
pub mod indices;
pub mod kafka;
pub mod lag;
pub mod missed_partitions;
pub mod reconcile;
pub mod redis_problems;
pub mod topic_settings;
pub mod undeclared_topics;

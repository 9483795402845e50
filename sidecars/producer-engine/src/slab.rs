//! What is produced: events of one topic-partition.

/// Events of one topic-partition, in their order.
pub trait Slab {
    /// The topic's name.
    fn topic(&self) -> &str;
    /// The partition's number.
    fn partition(&self) -> i32;
    /// How many records it has, at least one.
    fn records(&self) -> usize;
    /// Bytes that it holds in memory.
    fn bytes(&self) -> usize;
    /// Bytes that its records take in a batch without compression, or a little more.
    fn encoded_bytes_max(&self) -> usize;
    /// Visits each record in order; the same ones each time.
    fn each(&self, visit: impl FnMut(Record<'_>));
}

/// A record to be written.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Unix milliseconds.
    pub timestamp: i64,
    /// Its key, if it has one.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: &'a [u8],
    /// Name and value of each header.
    pub headers: &'a [(&'a str, &'a [u8])],
}

//! The messages.

use prost::{Enumeration, Message, Oneof};

/// [`producer_engine::Settings`], and how many bytes a batch of each topic may have.
#[derive(Clone, PartialEq, Message)]
pub struct Start {
    /// `client.id`
    #[prost(string, tag = "1")]
    pub client_id: String,
    /// Where the cluster is asked for first.
    #[prost(message, repeated, tag = "2")]
    pub bootstrap: Vec<Broker>,
    /// Topics that slabs may be of.
    #[prost(message, repeated, tag = "3")]
    pub topics: Vec<Topic>,
    /// `delivery_timeout`, `request_timeout`, `connect_timeout`, `backoff`, `backoff_max`, `metadata_max_age`.
    #[prost(uint64, repeated, tag = "4")]
    pub times_ns: Vec<u64>,
    /// `in_flight_max`, `request_bytes_max`, `queue_bytes_max`.
    #[prost(uint64, repeated, tag = "5")]
    pub bounds: Vec<u64>,
    /// Name of the codec.
    #[prost(string, tag = "6")]
    pub compression: String,
    /// Who this is.
    #[prost(message, optional, tag = "7")]
    pub sasl: Option<Identity>,
    /// 32 bytes that cannot be guessed.
    #[prost(bytes = "vec", tag = "8")]
    pub seed: Vec<u8>,
}

/// Where a broker listens.
#[derive(Clone, PartialEq, Message)]
pub struct Broker {
    /// Name or number.
    #[prost(string, tag = "1")]
    pub host: String,
    /// TCP port.
    #[prost(uint32, tag = "2")]
    pub port: u32,
}

/// A topic.
#[derive(Clone, PartialEq, Message)]
pub struct Topic {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Bytes that a batch may have; 0: as many as a request.
    #[prost(uint64, tag = "2")]
    pub batch_bytes_max: u64,
}

/// For brokers that ask who this is.
#[derive(Clone, PartialEq, Message)]
pub struct Identity {
    /// Name of the mechanism.
    #[prost(string, tag = "1")]
    pub mechanism: String,
    /// Name of the user.
    #[prost(string, tag = "2")]
    pub user: String,
    /// The password.
    #[prost(string, tag = "3")]
    pub password: String,
}

/// How the module stands after what was due is done.
#[derive(Clone, PartialEq, Message)]
pub struct Turn {
    /// What is to be done, in order.
    #[prost(message, repeated, tag = "1")]
    pub acts: Vec<Act>,
    /// What connections have to write.
    #[prost(message, repeated, tag = "2")]
    pub unsent: Vec<Unsent>,
    /// When it has to be called again at the latest.
    #[prost(uint64, optional, tag = "3")]
    pub deadline_ns: Option<u64>,
    /// Whether slabs could leave now.
    #[prost(bool, tag = "4")]
    pub is_ready: bool,
    /// Slabs whose receipts are still to come.
    #[prost(uint64, tag = "5")]
    pub held: u64,
}

/// Bytes that a connection has to write.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Unsent {
    /// Which.
    #[prost(uint64, tag = "1")]
    pub connection: u64,
    /// Where they lie.
    #[prost(fixed64, tag = "2")]
    pub place: u64,
}

/// [`producer_engine::Action`], with numbers in the place of slabs.
#[derive(Clone, PartialEq, Message)]
pub struct Act {
    /// Which.
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub kind: Option<Kind>,
}

/// What is to be done.
#[derive(Clone, PartialEq, Oneof)]
pub enum Kind {
    /// Open a connection.
    #[prost(message, tag = "1")]
    Connect(Connect),
    /// Close a connection.
    #[prost(uint64, tag = "2")]
    Close(u64),
    /// What became of a slab.
    #[prost(message, tag = "3")]
    Receipt(Receipt),
    /// A connection was lost, or not made.
    #[prost(message, tag = "4")]
    Connection(Lost),
    /// A broker has not taken a batch.
    #[prost(message, tag = "5")]
    Refused(Refused),
    /// A partition's batches get new numbers.
    #[prost(message, tag = "6")]
    NewEpoch(Refused),
    /// No id for the producer is to be had.
    #[prost(string, tag = "7")]
    NoProducerId(String),
}

/// A connection that is wanted.
#[derive(Clone, PartialEq, Message)]
pub struct Connect {
    /// What it will be called.
    #[prost(uint64, tag = "1")]
    pub connection: u64,
    /// Where to.
    #[prost(message, optional, tag = "2")]
    pub to: Option<Broker>,
}

/// What became of a slab.
#[derive(Clone, PartialEq, Message)]
pub struct Receipt {
    /// The slab's number.
    #[prost(uint64, tag = "1")]
    pub slab: u64,
    /// In order; together they cover every record.
    #[prost(message, repeated, tag = "2")]
    pub parts: Vec<Records>,
}

/// What became of consecutive records.
#[derive(Clone, PartialEq, Message)]
pub struct Records {
    /// How many.
    #[prost(uint32, tag = "1")]
    pub count: u32,
    /// What became of them.
    #[prost(enumeration = "Fate", tag = "2")]
    pub fate: i32,
    /// Stored: the offset of the first.
    #[prost(int64, tag = "3")]
    pub offset: i64,
    /// Stored: the topic's id, 16 bytes, if the broker has confirmed it.
    #[prost(bytes = "vec", tag = "4")]
    pub topic: Vec<u8>,
    /// Otherwise: Kafka's name of the error.
    #[prost(string, tag = "5")]
    pub code: String,
    /// And what a person should know beside it.
    #[prost(string, optional, tag = "6")]
    pub message: Option<String>,
}

/// What became of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub enum Fate {
    /// Perhaps in the log.
    Unknown = 0,
    /// In the log.
    Stored = 1,
    /// Not in the log.
    NotStored = 2,
    /// Not in the log, and too large for it.
    TooLarge = 3,
}

/// A connection that was lost.
#[derive(Clone, PartialEq, Message)]
pub struct Lost {
    /// Where to.
    #[prost(message, optional, tag = "1")]
    pub to: Option<Broker>,
    /// Why.
    #[prost(string, tag = "2")]
    pub why: String,
}

/// A batch that was not taken, or a partition that begins anew.
#[derive(Clone, PartialEq, Message)]
pub struct Refused {
    /// The topic's name.
    #[prost(string, tag = "1")]
    pub topic: String,
    /// The partition's number.
    #[prost(uint32, tag = "2")]
    pub partition: u32,
    /// Records of the batch.
    #[prost(uint32, tag = "3")]
    pub records: u32,
    /// Kafka's name of the error.
    #[prost(string, tag = "4")]
    pub code: String,
    /// What a person should know beside it.
    #[prost(string, optional, tag = "5")]
    pub message: Option<String>,
}

//! What an engine is told at its start.

use crate::{Address, Compression, Time};

/// What an engine is told at its start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `client.id`, for the brokers' logs and quotas.
    pub client_id: String,
    /// Where the cluster is asked for first.
    pub bootstrap: Vec<Address>,
    /// Names of all topics that slabs may be of.
    pub topics: Vec<String>,
    /// From a slab's arrival to the moment at which it is told what is known of it (`message.timeout.ms`).
    pub delivery_timeout: Time,
    /// How long a broker may take to answer a request before its connection is given up.
    pub request_timeout: Time,
    /// How long a connection may take until it can be used.
    pub connect_timeout: Time,
    /// The first pause before something is tried again; it doubles up to `backoff_max`.
    pub backoff: Time,
    /// The longest pause.
    pub backoff_max: Time,
    /// After this the cluster is asked for again though nothing has failed.
    pub metadata_max_age: Time,
    /// Produce requests on their way for each connection; 1 to 5, as many as a broker remembers of a producer (KIP-98).
    pub in_flight_max: usize,
    /// Bytes of batches to which a Produce request gets no further one.
    pub request_bytes_max: usize,
    /// Bytes of slabs whose receipts are still to come. What comes beyond is told not stored at once.
    pub queue_bytes_max: usize,
    /// How batches are compressed.
    pub compression: Compression,
    /// Who this is, for brokers that ask.
    pub sasl: Option<Sasl>,
    /// What cannot be guessed, anew for each engine: the nonces of SCRAM are made of it.
    pub seed: [u8; 32],
}

/// Who this is, and how that is shown.
#[derive(Clone)]
pub struct Sasl {
    /// The mechanism.
    pub mechanism: Mechanism,
    /// Name of the user.
    pub user: String,
    /// The password.
    pub password: String,
}

/// How a password is shown to a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616: as it is.
    Plain,
    /// RFC 5802 with SHA-256 (RFC 7677).
    ScramSha256,
    /// RFC 5802 with SHA-512.
    ScramSha512,
}

impl Mechanism {
    /// By its name in `sasl.mechanism`.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::Plain, Self::ScramSha256, Self::ScramSha512]
            .into_iter()
            .find(|mechanism| mechanism.name() == name)
    }

    /// As brokers call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl std::fmt::Debug for Sasl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} as {}", self.mechanism.name(), self.user)
    }
}

impl Default for Settings {
    /// Without brokers and topics; the times are librdkafka's.
    fn default() -> Self {
        Self {
            client_id: "producer-engine".to_owned(),
            bootstrap: Vec::new(),
            topics: Vec::new(),
            delivery_timeout: Time::from_secs(300),
            request_timeout: Time::from_secs(60),
            connect_timeout: Time::from_secs(10),
            backoff: Time::from_millis(50),
            backoff_max: Time::from_secs(1),
            metadata_max_age: Time::from_secs(60),
            in_flight_max: 5,
            request_bytes_max: 1 << 20,
            queue_bytes_max: 64 << 20,
            compression: Compression::None,
            sasl: None,
            seed: [0; 32],
        }
    }
}

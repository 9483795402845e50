//! Requests and responses on the wire.

pub mod reader;
pub mod request;
pub mod response;

use kafka_protocol::messages::ApiKey;

/// An API, and the versions of it that this engine speaks. The lowest is that of Kafka 3.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Api {
    /// Its number.
    pub key: ApiKey,
    /// Lowest and highest version.
    pub versions: (i16, i16),
    /// By what a person knows it.
    pub name: &'static str,
}

/// Records into a partition; from 13 on a topic is named by its id (KIP-516).
pub const PRODUCE: Api = Api {
    key: ApiKey::Produce,
    versions: (9, 13),
    name: "Produce",
};
/// The first version of it that names a topic by its id.
pub const PRODUCE_BY_ID: i16 = 13;
/// Brokers, topics and leaders.
pub const METADATA: Api = Api {
    key: ApiKey::Metadata,
    versions: (11, 13),
    name: "Metadata",
};
/// An id for this producer (KIP-98).
pub const INIT_PRODUCER_ID: Api = Api {
    key: ApiKey::InitProducerId,
    versions: (4, 5),
    name: "InitProducerId",
};
/// Which versions a broker speaks.
pub const API_VERSIONS: Api = Api {
    key: ApiKey::ApiVersions,
    versions: (3, 3),
    name: "ApiVersions",
};
/// Which mechanism is meant.
pub const SASL_HANDSHAKE: Api = Api {
    key: ApiKey::SaslHandshake,
    versions: (1, 1),
    name: "SaslHandshake",
};
/// The messages of a mechanism (KIP-152), and for how long they hold (KIP-368).
pub const SASL_AUTHENTICATE: Api = Api {
    key: ApiKey::SaslAuthenticate,
    versions: (2, 2),
    name: "SaslAuthenticate",
};

/// The versions that a broker speaks.
#[derive(Debug, Clone, Default)]
pub struct Versions {
    /// Number of an API, lowest and highest version.
    pub of: Vec<(i16, i16, i16)>,
}

impl Versions {
    /// The highest version of `api` that both speak.
    #[must_use]
    pub fn of(&self, api: Api) -> Option<i16> {
        let (_, min, max) = self.of.iter().find(|(key, ..)| *key == api.key as i16)?;
        let highest = api.versions.1.min(*max);
        (highest >= api.versions.0.max(*min)).then_some(highest)
    }

    /// Why a broker cannot be used, if it cannot.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let missing = [PRODUCE, METADATA, INIT_PRODUCER_ID]
            .into_iter()
            .find(|api| self.of(*api).is_none())?;
        let (min, max) = missing.versions;
        let has = self.of.iter().find(|(key, ..)| *key == missing.key as i16);
        let has = has.map_or("none".to_owned(), |(_, min, max)| format!("{min} to {max}"));
        Some(format!(
            "the broker speaks {has} of {}, {min} to {max} are needed: Kafka 3.0 or later",
            missing.name
        ))
    }
}

//! Where the real services are.

use std::env;

/// The addresses of Kafka, MongoDB and Redis.
#[derive(Debug, Clone)]
pub struct Services {
    /// `host:port`
    pub brokers: String,
    /// MongoDB's connection string.
    pub mongodb: String,
    /// Redis' URL, with any database.
    pub redis: String,
}

impl Services {
    /// As the environment says.
    #[must_use]
    pub fn from_env() -> Self {
        Self {
            brokers: variable("AGUACERO_KAFKA_BROKERS"),
            mongodb: variable("AGUACERO_MONGODB_URI"),
            redis: variable("AGUACERO_REDIS_URL"),
        }
    }

    /// The URL of one of Redis' databases.
    #[must_use]
    pub fn redis_database(&self, number: u32) -> String {
        let (scheme, rest) = self
            .redis
            .split_once("://")
            .unwrap_or(("redis", &self.redis));
        let host = rest.split('/').next().unwrap_or(rest);
        format!("{scheme}://{host}/{number}")
    }
}

fn variable(name: &str) -> String {
    let value = env::var(name).unwrap_or_default();
    assert!(
        !value.is_empty(),
        "these tests need real services and {name} is not set: run `make test`, \
         or `scripts/services run -- cargo test -p e2e`"
    );
    value
}

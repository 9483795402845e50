//! Where Kafka and the stores are, and how each is reached: `[kafka]`, `[redis]`, `[mongodb]`, `[postgres]`.

use std::{fmt, time::Duration};

use super::{
    access,
    access::{Credentials, Sasl, Tls},
};

/// `[kafka]`
#[derive(Debug, Clone)]
pub struct Kafka {
    /// `host:port`, comma-separated.
    pub brokers: String,
    /// How long librdkafka may try to deliver one record (`message.timeout.ms`).
    pub message_timeout: Duration,
    /// How TLS is spoken, if it is.
    pub tls: Option<Tls>,
    /// Who we are, if the broker asks.
    pub sasl: Option<Sasl>,
}

/// `[redis]`
#[derive(Clone)]
pub struct Redis {
    /// `redis://host:port/db`, or `rediss://` for TLS.
    pub url: String,
    /// How TLS is spoken, if it is.
    pub tls: Option<Tls>,
    /// Who we are, if it does not stand in the URL.
    pub credentials: Option<Credentials>,
}

impl Redis {
    /// Whom anybody may talk to, by the URL alone.
    #[must_use]
    pub fn at(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            tls: None,
            credentials: None,
        }
    }

    /// The URL as it may be shown.
    #[must_use]
    pub fn address(&self) -> String {
        access::without_password(&self.url)
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("url", &access::without_password(&self.url))
            .field("tls", &self.tls)
            .field("credentials", &self.credentials)
            .finish()
    }
}

/// Collection that says whose the archives of a database are.
pub const ARCHIVES: &str = "aguacero_archives";

/// `[mongodb]`
#[derive(Clone)]
pub struct Mongodb {
    /// Connection string, without a password (those come from the environment or a file).
    pub uri: String,
    /// Database of the archives and of the dead letters.
    pub database: String,
    /// Collection for records that cannot be archived.
    pub dead_letters: String,
    /// How TLS is spoken, if it is.
    pub tls: Option<Tls>,
    /// Who we are, if it does not stand in the URI.
    pub credentials: Option<Credentials>,
    /// The database that knows the user.
    pub auth_source: String,
}

impl fmt::Debug for Mongodb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mongodb")
            .field("uri", &access::without_password(&self.uri))
            .field("database", &self.database)
            .field("dead_letters", &self.dead_letters)
            .field("tls", &self.tls)
            .field("credentials", &self.credentials)
            .field("auth_source", &self.auth_source)
            .finish()
    }
}

/// `[postgres]`
#[derive(Clone)]
pub struct Postgres {
    /// `postgres://host:port/database`, without a password (those come from the environment or a file).
    pub url: String,
    /// How TLS is spoken, if it is.
    pub tls: Option<Tls>,
    /// Who we are, if it does not stand in the URL.
    pub username: Option<String>,
    /// The same, where it takes a password.
    pub credentials: Option<Credentials>,
}

impl Postgres {
    /// The URL as it may be shown.
    #[must_use]
    pub fn address(&self) -> String {
        access::without_password(&self.url)
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("url", &self.address())
            .field("tls", &self.tls)
            .field("username", &self.username)
            .field("credentials", &self.credentials)
            .finish()
    }
}

//! Where the real services are.

use std::{collections::BTreeMap, env, net::SocketAddr, path::Path};

use anyhow::Context as _;
use serde_json::Value;

const POSTGRES: &str = "AGUACERO_POSTGRES_URL";

/// The addresses of Kafka, MongoDB and Redis, and of PostgreSQL where it was asked for.
#[derive(Debug, Clone)]
pub struct Services {
    /// `host:port`
    pub brokers: String,
    /// MongoDB's connection string.
    pub mongodb: String,
    /// Redis' URL, with any database.
    pub redis: String,
    /// PostgreSQL's URL, with the database of `scripts/services`, if it was told `--postgres`.
    pub postgres: Option<String>,
    /// For each broker that has a listener to be reached through a proxy: where it tells clients to
    /// connect to, and where it listens.
    pub kafka_wires: Vec<(SocketAddr, SocketAddr)>,
    /// What else the environment says of them, by variable: TLS, and the user who may do everything. Empty
    /// unless `scripts/services` was told `--secure`, but for who owns the database in PostgreSQL.
    pub access: BTreeMap<String, String>,
}

impl Services {
    /// As the environment says.
    #[must_use]
    pub fn from_env() -> Self {
        Self {
            brokers: variable("AGUACERO_KAFKA_BROKERS"),
            mongodb: variable("AGUACERO_MONGODB_URI"),
            redis: variable("AGUACERO_REDIS_URL"),
            postgres: env::var(POSTGRES).ok().filter(|url| !url.is_empty()),
            kafka_wires: kafka_wires().unwrap_or_default(),
            access: access(),
        }
    }

    /// [`Self::access`] for one of the programs, which has a user of its own, with no more rights than it needs, where
    /// there are passwords.
    #[must_use]
    pub fn access_of(&self, program: &str) -> BTreeMap<String, String> {
        let has_password = |store: &str| {
            let file = format!("{store}_PASSWORD_FILE");
            self.access.contains_key(&file)
        };
        let of_program = |(name, value): (&String, &String)| {
            let value = if name.strip_suffix("_USERNAME").is_some_and(has_password) {
                program.to_owned()
            } else if name.ends_with("_PASSWORD_FILE") {
                Path::new(value)
                    .with_file_name(program)
                    .display()
                    .to_string()
            } else {
                value.clone()
            };
            (name.clone(), value)
        };
        self.access.iter().map(of_program).collect()
    }

    /// What `scripts/services` has started, by name: of each its `pid`, `port`, `data` and so on.
    ///
    /// # Errors
    /// Somebody else has started them, or the file that tells cannot be read.
    pub fn started() -> anyhow::Result<Value> {
        const STATE: &str = "AGUACERO_SERVICES_STATE";
        let file = env::var(STATE)
            .with_context(|| format!("{STATE} is not set: run this by scripts/services"))?;
        let state = std::fs::read(&file).with_context(|| file.clone())?;
        let mut state: Value = serde_json::from_slice(&state).with_context(|| file.clone())?;
        Ok(state["services"].take())
    }

    /// [`Self::access`] to PostgreSQL alone: as who owns the database.
    #[must_use]
    pub fn owner_of_tables(&self) -> BTreeMap<String, String> {
        let all = self.access.iter();
        let of_postgres = all.filter(|(name, _)| name.starts_with("AGUACERO_POSTGRES_"));
        of_postgres.map(|(n, v)| (n.clone(), v.clone())).collect()
    }

    /// The process of a service that `scripts/services` has started: `kafka`, `mongodb`, `redis` or `postgres`.
    ///
    /// # Errors
    /// As of [`Self::started`], or there is no such service.
    pub fn pid(service: &str) -> anyhow::Result<u32> {
        let pid = Self::started()?[service]["pid"].as_u64();
        let pid = pid.and_then(|pid| u32::try_from(pid).ok());
        pid.with_context(|| format!("scripts/services tells no pid of {service}"))
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

fn access() -> BTreeMap<String, String> {
    const ADDRESSES: [&str; 4] = [
        "AGUACERO_KAFKA_BROKERS",
        "AGUACERO_MONGODB_URI",
        "AGUACERO_REDIS_URL",
        POSTGRES,
    ];
    let is_access = |name: &str| {
        let of_store = ["KAFKA_", "MONGODB_", "REDIS_", "POSTGRES_"]
            .iter()
            .any(|store| {
                name.strip_prefix("AGUACERO_")
                    .is_some_and(|n| n.starts_with(store))
            });
        of_store && !ADDRESSES.contains(&name)
    };
    env::vars().filter(|(name, _)| is_access(name)).collect()
}

fn kafka_wires() -> Option<Vec<(SocketAddr, SocketAddr)>> {
    let services = Services::started().ok()?;
    let wires = services.as_object()?.values();
    let wires = wires.filter_map(|service| {
        let port = |key: &str| {
            let port = service["wire"][key].as_u64()?;
            Some(SocketAddr::from(([127, 0, 0, 1], port as u16)))
        };
        Some((port("from")?, port("to")?))
    });
    Some(wires.collect())
}

/// The only host and port of a URL.
pub(crate) fn address_of(url: &str) -> Option<SocketAddr> {
    let rest = url.split_once("://")?.1;
    rest.split('/').next()?.parse().ok()
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

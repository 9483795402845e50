//! Where the processes find the stores: directly, or, in a pipeline that is wired, through a proxy for each.

use std::collections::BTreeMap;

use super::{Link, names::variable};
use crate::{
    postgres::Postgres,
    services::{Services, address_of},
    wire::Wire,
};

/// The stores' addresses.
pub(super) struct Seen {
    brokers: String,
    mongodb: String,
    redis: String,
    postgres: Option<String>,
}

impl Seen {
    /// As the services have them, of a database of Redis and one of PostgreSQL.
    pub(super) fn directly(
        services: &Services,
        redis_number: u32,
        postgres: Option<&Postgres>,
    ) -> Self {
        Self {
            brokers: services.brokers.clone(),
            mongodb: services.mongodb.clone(),
            redis: services.redis_database(redis_number),
            postgres: postgres.map(|postgres| postgres.url().to_owned()),
        }
    }

    /// Through proxies, which are added to `wires`.
    pub(super) async fn through_wires(
        &mut self,
        services: &Services,
        redis_number: u32,
        postgres: Option<&Postgres>,
        wires: &mut Vec<(Link, Wire)>,
    ) {
        let advertised = services.kafka_wires.iter();
        let advertised: Vec<_> = advertised.map(|(from, _)| from.to_string()).collect();
        for (from, to) in &services.kafka_wires {
            wires.push((Link::Kafka, Wire::from_port(*from, *to).await));
        }
        if !advertised.is_empty() {
            self.brokers = advertised.join(",");
        }
        if let Some(address) = address_of(&self.redis) {
            let wire = Wire::to_port(address).await;
            self.redis = format!("redis://{}/{redis_number}", wire.address);
            wires.push((Link::Redis, wire));
        }
        // Only a single member can be reached through a proxy: others would be found by their names.
        if let Some(address) = address_of(&services.mongodb) {
            let wire = Wire::to_port(address).await;
            self.mongodb = format!("mongodb://{}/?directConnection=true", wire.address);
            wires.push((Link::MongoDb, wire));
        }
        if let Some(postgres) = postgres
            && let Some(address) = address_of(postgres.url())
        {
            let wire = Wire::to_port(address).await;
            self.postgres = Some(postgres.url_by(&wire.address.to_string()));
            wires.push((Link::Postgres, wire));
        }
    }

    /// As variables of the environment, with the pipeline's own database of MongoDB and its group.
    pub(super) fn variables(self, database: &str, group: &str) -> BTreeMap<String, String> {
        let mut values = vec![
            ("kafka.brokers", self.brokers),
            ("mongodb.uri", self.mongodb),
            ("mongodb.database", database.to_owned()),
            ("redis.url", self.redis),
            ("consumer.group", group.to_owned()),
        ];
        if let Some(url) = self.postgres {
            values.push(("postgres.url", url));
            values.push(("tables.group", format!("{group}-tables")));
        }
        let values = values.into_iter();
        values.map(|(key, value)| (variable(key), value)).collect()
    }
}

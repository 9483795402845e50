//! The tables that are ours, in the schema `aguacero`.

use deadpool_postgres::GenericClient;

/// Each table, and what makes it. They are made by `consumer tables apply`, by whoever may.
pub const SCHEMA: [(&str, &str); 4] = [
    (
        "aguacero.offsets",
        "CREATE TABLE aguacero.offsets (\n  \
           consumer_group text NOT NULL, topic text NOT NULL, incarnation text NOT NULL, partition integer NOT NULL,\n  \
           next bigint NOT NULL, leader_epoch integer,\n  \
           PRIMARY KEY (consumer_group, topic, incarnation, partition))",
    ),
    (
        "aguacero.streams",
        "CREATE TABLE aguacero.streams (\n  \
           key integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,\n  \
           consumer_group text NOT NULL, stream text NOT NULL, UNIQUE (consumer_group, stream))",
    ),
    (
        "aguacero.events",
        "CREATE TABLE aguacero.events (\n  \
           stream integer NOT NULL, id uuid NOT NULL, hash uuid NOT NULL, PRIMARY KEY (stream, id))",
    ),
    (
        "aguacero.dead_letters",
        "CREATE TABLE aguacero.dead_letters (\n  \
           consumer_group text NOT NULL, topic text NOT NULL, incarnation text NOT NULL, partition integer NOT NULL,\n  \
           \"offset\" bigint NOT NULL, at timestamptz NOT NULL, stream text, id uuid,\n  \
           reason text NOT NULL, detail text NOT NULL, key bytea, value bytea, header bytea,\n  \
           PRIMARY KEY (consumer_group, topic, incarnation, partition, \"offset\"))",
    ),
];

/// What would make those that are missing, in their order; the schema first.
pub async fn missing(client: &impl GenericClient) -> Result<Vec<String>, tokio_postgres::Error> {
    let mut missing = Vec::new();
    let there = "SELECT to_regnamespace('aguacero') IS NOT NULL";
    if !client.query_one(there, &[]).await?.get::<_, bool>(0) {
        missing.push("CREATE SCHEMA aguacero".to_owned());
    }
    for (name, sql) in SCHEMA {
        let there = "SELECT to_regclass($1) IS NOT NULL";
        if !client.query_one(there, &[&name]).await?.get::<_, bool>(0) {
            missing.push(sql.to_owned());
        }
    }
    Ok(missing)
}

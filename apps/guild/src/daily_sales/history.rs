//! What daily-sales keeps of each event: registrations, sales and positions, each with its arrival and its place in
//! Kafka. Nothing is reckoned here, so that a day can be closed when all of it is there, in whatever order it came.

use aguacero::config::Config;
use processor::{Apply, Error, Event, Source, Tables, Transaction};

use tokio_postgres::types::ToSql;

use crate::declared::{Members, Positions, Sales};

/// Where it is kept.
pub const TABLES: Tables = Tables {
    processor: "daily-sales",
    schema: "guild",
    steps: &[
        "CREATE TABLE guild.registrations (\
           arrival_ms bigint NOT NULL, kafka_partition integer NOT NULL, kafka_offset bigint NOT NULL, \
           rut text NOT NULL, name text NOT NULL, plate text)",
        "CREATE INDEX registrations_last ON guild.registrations \
           (rut, arrival_ms DESC, kafka_partition DESC, kafka_offset DESC)",
        // `day` is the day whose report has the sale; none while no report has it.
        "CREATE TABLE guild.sales (\
           arrival_ms bigint NOT NULL, kafka_partition integer NOT NULL, kafka_offset bigint NOT NULL, \
           customer text NOT NULL, sold bigint NOT NULL, plate text, \
           lat double precision NOT NULL, lon double precision NOT NULL, day date)",
        "CREATE INDEX sales_open ON guild.sales (arrival_ms) WHERE day IS NULL",
        "CREATE TABLE guild.positions (\
           arrival_ms bigint NOT NULL, kafka_partition integer NOT NULL, kafka_offset bigint NOT NULL, \
           plate text NOT NULL, lat double precision NOT NULL, lon double precision NOT NULL)",
        "CREATE INDEX positions_by_arrival ON guild.positions (arrival_ms)",
        "CREATE TABLE guild.daily_reports (\
           day date PRIMARY KEY, report text NOT NULL, data jsonb NOT NULL, \
           made_at timestamptz NOT NULL DEFAULT now(), is_written boolean NOT NULL DEFAULT false)",
    ],
};

const REGISTER: &str = "INSERT INTO guild.registrations \
     (arrival_ms, kafka_partition, kafka_offset, rut, name, plate) \
     SELECT arrival_ms, $2::integer, kafka_offset, rut, name, plate \
     FROM unnest($1::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[]) \
          AS new (arrival_ms, kafka_offset, rut, name, plate)";

const SELL: &str = "INSERT INTO guild.sales \
     (arrival_ms, kafka_partition, kafka_offset, customer, sold, plate, lat, lon) \
     SELECT arrival_ms, $2::integer, kafka_offset, customer, sold, plate, lat, lon \
     FROM unnest($1::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::text[], $7::float8[], $8::float8[]) \
          AS new (arrival_ms, kafka_offset, customer, sold, plate, lat, lon)";

const SEE: &str = "INSERT INTO guild.positions \
     (arrival_ms, kafka_partition, kafka_offset, plate, lat, lon) \
     SELECT arrival_ms, $2::integer, kafka_offset, plate, lat, lon \
     FROM unnest($1::bigint[], $3::bigint[], $4::text[], $5::float8[], $6::float8[]) \
          AS new (arrival_ms, kafka_offset, plate, lat, lon)";

/// Keeps the history.
pub struct History {
    members: Members,
    sales: Sales,
    positions: Positions,
}

impl History {
    /// Of the streams that the configuration declares.
    pub fn of(config: &Config) -> anyhow::Result<Self> {
        Ok(Self {
            members: Members::of(config)?,
            sales: Sales::of(config)?,
            positions: Positions::of(config)?,
        })
    }
}

/// Where each row stands: arrivals and offsets.
type Stands = (Vec<i64>, Vec<i64>);

fn note((arrivals, offsets): &mut Stands, event: &Event) {
    arrivals.push(event.document.at_ms);
    offsets.push(event.offset);
}

#[derive(Default)]
struct Registrations<'a> {
    stands: Stands,
    ruts: Vec<&'a str>,
    names: Vec<String>,
    plates: Vec<Option<&'a str>>,
}

#[derive(Default)]
struct Sold<'a> {
    stands: Stands,
    customers: Vec<&'a str>,
    sold: Vec<i64>,
    plates: Vec<Option<&'a str>>,
    lats: Vec<f64>,
    lons: Vec<f64>,
}

#[derive(Default)]
struct Seen<'a> {
    stands: Stands,
    plates: Vec<&'a str>,
    lats: Vec<f64>,
    lons: Vec<f64>,
}

impl Apply for History {
    fn wants(&self, stream: usize) -> bool {
        [
            self.members.stream,
            self.sales.stream,
            self.positions.stream,
        ]
        .contains(&stream)
    }

    async fn apply(
        &self,
        transaction: &Transaction<'_>,
        source: &Source,
        events: &[&Event],
    ) -> Result<(), Error> {
        let partition = source.position.partition;
        let mut registrations = Registrations::default();
        let mut sold = Sold::default();
        let mut seen = Seen::default();
        for event in events {
            if event.stream == self.members.stream {
                registrations.add(&self.members, event);
            } else if event.stream == self.sales.stream {
                sold.add(&self.sales, event);
            } else if event.stream == self.positions.stream {
                seen.add(&self.positions, event);
            }
        }
        registrations.insert(transaction, partition).await?;
        sold.insert(transaction, partition).await?;
        seen.insert(transaction, partition).await
    }
}

// What the gateway has accepted has every required field. A record that somebody else has written may lack one: of it
// nothing is kept.

impl<'a> Registrations<'a> {
    fn add(&mut self, members: &Members, event: &'a Event) {
        let Some(rut) = members.rut(event) else {
            return;
        };
        note(&mut self.stands, event);
        self.ruts.push(rut);
        self.names.push(members.name(event));
        self.plates.push(members.plate(event));
    }

    async fn insert(&self, transaction: &Transaction<'_>, partition: i32) -> Result<(), Error> {
        if self.ruts.is_empty() {
            return Ok(());
        }
        let (arrivals, offsets) = &self.stands;
        let statement = transaction.prepare_cached(REGISTER).await?;
        let values: [&(dyn ToSql + Sync); 6] = [
            arrivals,
            &partition,
            offsets,
            &self.ruts,
            &self.names,
            &self.plates,
        ];
        transaction.execute(&statement, &values).await.map(|_| ())
    }
}

impl<'a> Sold<'a> {
    fn add(&mut self, sales: &Sales, event: &'a Event) {
        let (Some(customer), Some(sold), Some(place)) =
            (sales.customer(event), sales.sold(event), sales.place(event))
        else {
            return;
        };
        note(&mut self.stands, event);
        self.customers.push(customer);
        self.sold.push(sold);
        self.plates.push(sales.plate(event));
        self.lats.push(place.lat);
        self.lons.push(place.lon);
    }

    async fn insert(&self, transaction: &Transaction<'_>, partition: i32) -> Result<(), Error> {
        if self.customers.is_empty() {
            return Ok(());
        }
        let (arrivals, offsets) = &self.stands;
        let statement = transaction.prepare_cached(SELL).await?;
        let values: [&(dyn ToSql + Sync); 8] = [
            arrivals,
            &partition,
            offsets,
            &self.customers,
            &self.sold,
            &self.plates,
            &self.lats,
            &self.lons,
        ];
        transaction.execute(&statement, &values).await.map(|_| ())
    }
}

impl<'a> Seen<'a> {
    fn add(&mut self, positions: &Positions, event: &'a Event) {
        let Some((plate, place)) = positions.seen(event) else {
            return;
        };
        note(&mut self.stands, event);
        self.plates.push(plate);
        self.lats.push(place.lat);
        self.lons.push(place.lon);
    }

    async fn insert(&self, transaction: &Transaction<'_>, partition: i32) -> Result<(), Error> {
        if self.plates.is_empty() {
            return Ok(());
        }
        let (arrivals, offsets) = &self.stands;
        let statement = transaction.prepare_cached(SEE).await?;
        let values: [&(dyn ToSql + Sync); 6] = [
            arrivals,
            &partition,
            offsets,
            &self.plates,
            &self.lats,
            &self.lons,
        ];
        transaction.execute(&statement, &values).await.map(|_| ())
    }
}

//! The groups, the carts and the deliveries in PostgreSQL: read, changed and written in the transaction of the sales.

use aguacero::config::Config;
use processor::{Apply, Error, Event, Source, Tables, Transaction};
use tokio::sync::watch;
use uuid::Uuid;

use super::groups::{Cart, Delivery, GROUP, Sale, State, Step};
use crate::declared::Sales;

/// Where it is kept.
pub const TABLES: Tables = Tables {
    processor: "stock",
    schema: "guild",
    steps: &[
        // Groups that are complete. The sales of the one that is open have the number that comes next.
        "CREATE TABLE guild.stock_groups (number bigint PRIMARY KEY, completed_ms bigint NOT NULL)",
        "CREATE TABLE guild.stock_sales (\
           group_number bigint NOT NULL, place smallint NOT NULL, id uuid NOT NULL, plate text, \
           stock bigint NOT NULL, arrival_ms bigint NOT NULL, kafka_partition integer NOT NULL, kafka_offset bigint NOT NULL, \
           PRIMARY KEY (group_number, place))",
        "CREATE TABLE guild.stock_carts (plate text PRIMARY KEY, stock bigint NOT NULL)",
        "CREATE TABLE guild.deliveries (\
           id bigint PRIMARY KEY, plate text NOT NULL, stock bigint NOT NULL, amount bigint NOT NULL, \
           prepared_ms bigint NOT NULL, announced boolean NOT NULL DEFAULT false, \
           delivered boolean NOT NULL, delivered_at timestamptz)",
        "CREATE UNIQUE INDEX deliveries_awaited ON guild.deliveries (plate) WHERE NOT delivered",
    ],
};

/// One after the other, in whichever partitions the sales are, and whoever says that a delivery was made: until the end of
/// the transaction.
pub const ALONE: &str = "SELECT pg_advisory_xact_lock(hashtextextended('guild.stock', 0))";

const GROUP_OPEN: &str = "SELECT coalesce(max(number), 0) + 1 FROM guild.stock_groups";

const SALES_OPEN: &str =
    "SELECT plate FROM guild.stock_sales WHERE group_number = $1 ORDER BY place";

const LAST_DELIVERY: &str = "SELECT coalesce(max(id), 0) FROM guild.deliveries";

const CARTS: &str = "SELECT plate, stock, EXISTS (\
       SELECT FROM guild.deliveries d WHERE d.plate = c.plate AND NOT d.delivered) \
     FROM guild.stock_carts c WHERE plate = ANY ($1)";

const ADD_SALES: &str = "INSERT INTO guild.stock_sales \
     (group_number, place, id, plate, stock, arrival_ms, kafka_partition, kafka_offset) \
     SELECT group_number, place, id, plate, stock, arrival_ms, $8::integer, kafka_offset \
     FROM unnest($1::bigint[], $2::smallint[], $3::uuid[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[]) \
          AS new (group_number, place, id, plate, stock, arrival_ms, kafka_offset)";

const ADD_GROUPS: &str = "INSERT INTO guild.stock_groups (number, completed_ms) \
     SELECT * FROM unnest($1::bigint[], $2::bigint[])";

const SET_CARTS: &str = "INSERT INTO guild.stock_carts (plate, stock) \
     SELECT * FROM unnest($1::text[], $2::bigint[]) \
     ON CONFLICT (plate) DO UPDATE SET stock = EXCLUDED.stock";

const PREPARE: &str = "INSERT INTO guild.deliveries \
     (id, plate, stock, amount, prepared_ms, delivered, delivered_at) \
     VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN $6 THEN now() END)";

/// Puts sales into groups.
pub struct Stock {
    sales: Sales,
    is_auto: bool,
    /// Told after each commit.
    committed: watch::Sender<()>,
}

impl Stock {
    /// Of the streams that the configuration declares. `is_auto`: deliveries are made as soon as they are prepared.
    pub fn of(
        config: &Config,
        is_auto: bool,
        committed: watch::Sender<()>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            sales: Sales::of(config)?,
            is_auto,
            committed,
        })
    }

    fn sale(&self, event: &Event) -> Option<Sale> {
        Some(Sale {
            plate: self.sales.plate(event).map(str::to_owned),
            stock: self.sales.stock(event)?,
            at_ms: event.document.at_ms,
        })
    }
}

impl Apply for Stock {
    fn wants(&self, stream: usize) -> bool {
        stream == self.sales.stream
    }

    async fn apply(
        &self,
        transaction: &Transaction<'_>,
        source: &Source,
        events: &[&Event],
    ) -> Result<(), Error> {
        let sales = events
            .iter()
            .filter_map(|event| Some((self.sale(event)?, *event)));
        let sales: Vec<(Sale, &Event)> = sales.collect();
        if sales.is_empty() {
            return Ok(());
        }
        if sales.iter().any(|(sale, _)| sale.plate.is_none()) {
            super::say_without_plate();
        }
        transaction.batch_execute(ALONE).await?;
        let mut state = load(transaction, &sales).await?;
        let steps: Vec<_> = sales
            .iter()
            .map(|(sale, _)| state.take(sale, self.is_auto))
            .collect();
        add_sales(transaction, source.position.partition, &sales, &steps).await?;
        set_carts(transaction, &state).await?;
        for delivery in steps.iter().flat_map(|step| &step.deliveries) {
            prepare(transaction, delivery, self.is_auto).await?;
        }
        Ok(())
    }

    async fn committed(&self) {
        self.committed.send_replace(());
    }
}

/// What the next sales meet.
async fn load(transaction: &Transaction<'_>, sales: &[(Sale, &Event)]) -> Result<State, Error> {
    let group: i64 = transaction.query_one(GROUP_OPEN, &[]).await?.get(0);
    let open = transaction.query(SALES_OPEN, &[&group]).await?;
    let open: Vec<Option<String>> = open.iter().map(|row| row.get(0)).collect();
    let last_delivery = transaction.query_one(LAST_DELIVERY, &[]).await?.get(0);
    let named = sales.iter().map(|(sale, _)| &sale.plate);
    let plates: Vec<&str> = named.chain(&open).flatten().map(String::as_str).collect();
    let carts = transaction.query(CARTS, &[&plates]).await?;
    let cart = |row: &tokio_postgres::Row| {
        let cart = Cart {
            stock: row.get(1),
            is_awaiting: row.get(2),
        };
        (row.get(0), cart)
    };
    Ok(State {
        group,
        carts: carts.iter().map(cart).collect(),
        open,
        last_delivery,
    })
}

async fn add_sales(
    transaction: &Transaction<'_>,
    partition: i32,
    sales: &[(Sale, &Event)],
    steps: &[Step],
) -> Result<(), Error> {
    let groups: Vec<i64> = steps.iter().map(|step| step.group).collect();
    let places: Vec<i16> = steps.iter().map(|step| step.place).collect();
    let plates: Vec<_> = sales
        .iter()
        .map(|(sale, _)| sale.plate.as_deref())
        .collect();
    let stocks: Vec<i64> = sales.iter().map(|(sale, _)| sale.stock).collect();
    let arrivals: Vec<i64> = sales.iter().map(|(sale, _)| sale.at_ms).collect();
    let offsets: Vec<i64> = sales.iter().map(|(_, event)| event.offset).collect();
    let ids: Vec<_> = sales
        .iter()
        .map(|(_, event)| Uuid::from_bytes(event.id.0))
        .collect();
    transaction
        .execute(
            ADD_SALES,
            &[
                &groups, &places, &ids, &plates, &stocks, &arrivals, &offsets, &partition,
            ],
        )
        .await?;
    let last_of_group = |(step, arrival): (&Step, &i64)| {
        let is_last = usize::try_from(step.place).is_ok_and(|place| place == GROUP);
        is_last.then_some((step.group, *arrival))
    };
    let complete = steps.iter().zip(&arrivals).filter_map(last_of_group);
    let (numbers, completed): (Vec<i64>, Vec<i64>) = complete.unzip();
    transaction
        .execute(ADD_GROUPS, &[&numbers, &completed])
        .await?;
    Ok(())
}

async fn set_carts(transaction: &Transaction<'_>, state: &State) -> Result<(), Error> {
    // In the order of the plates, so that the same sales always write the same rows.
    let mut carts: Vec<_> = state.carts.iter().collect();
    carts.sort_by_key(|(plate, _)| plate.as_str());
    let (plates, stocks): (Vec<&str>, Vec<i64>) = carts
        .iter()
        .map(|(plate, cart)| (plate.as_str(), cart.stock))
        .unzip();
    transaction
        .execute(SET_CARTS, &[&plates, &stocks])
        .await
        .map(|_| ())
}

async fn prepare(
    transaction: &Transaction<'_>,
    delivery: &Delivery,
    is_delivered: bool,
) -> Result<(), Error> {
    let Delivery {
        id,
        plate,
        stock,
        amount,
        prepared_at_ms,
    } = delivery;
    let statement = transaction.prepare_cached(PREPARE).await?;
    transaction
        .execute(
            &statement,
            &[id, plate, stock, amount, prepared_at_ms, &is_delivered],
        )
        .await
        .map(|_| ())
}

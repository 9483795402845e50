//! A day's sales out of the tables, and its report into them: once, in one transaction.

use std::pin::pin;

use futures_util::TryStreamExt as _;
use jiff::civil::Date;
use processor::{Error, GenericClient, Transaction};
use tokio_postgres::{Row, types::ToSql};

use super::{
    calendar::Calendar,
    matching::{POSITION_AGE_MAX_MS, Seen, cart_at},
    reckoning::{Member, Reckoner, Reckoning, Sale},
    report,
};
use crate::place::Place;

/// How long positions are kept beyond the closing of a day whose report is stored.
const POSITIONS_KEPT_MS: i64 = 2 * 24 * 3_600_000;

/// Days are closed one after the other, whoever does it.
const ALONE: &str = "SELECT pg_advisory_xact_lock(hashtextextended('guild.daily_sales', 0))";

const STORED: &str = "SELECT report FROM guild.daily_reports WHERE day = $1::text::date";

const STORE: &str = "INSERT INTO guild.daily_reports (day, report, data) \
     VALUES ($1::text::date, $2, $3::text::jsonb)";

const LAST: &str = "SELECT max(day)::text FROM guild.daily_reports";

const FIRST_ARRIVAL: &str = "SELECT least(\
     (SELECT min(arrival_ms) FROM guild.sales WHERE day IS NULL), \
     (SELECT min(arrival_ms) FROM guild.registrations))";

const MEMBERS: &str = "SELECT DISTINCT ON (rut) rut, name, plate, arrival_ms, kafka_partition, kafka_offset \
     FROM guild.registrations WHERE arrival_ms < $1 \
     ORDER BY rut, arrival_ms DESC, kafka_partition DESC, kafka_offset DESC";

/// The day of each sale says which report has it: one that arrived before the closing, and is in none yet.
const TAKE: &str = "UPDATE guild.sales SET day = $2::text::date WHERE day IS NULL AND arrival_ms < $1 \
     RETURNING arrival_ms, kafka_partition, kafka_offset, customer, sold, plate, lat, lon";

const LOOK: &str = "SELECT arrival_ms, kafka_partition, kafka_offset, customer, sold, plate, lat, lon \
     FROM guild.sales WHERE day IS NULL AND arrival_ms < $1";

const LAST_SEEN: &str = "SELECT DISTINCT ON (plate) plate, lat, lon FROM guild.positions \
     WHERE arrival_ms >= $1 AND arrival_ms <= $2 \
     ORDER BY plate, arrival_ms DESC, kafka_partition DESC, kafka_offset DESC";

const PRUNE: &str = "DELETE FROM guild.positions WHERE arrival_ms < $1";

const UNWRITTEN: &str =
    "SELECT day::text, report FROM guild.daily_reports WHERE NOT is_written ORDER BY day";

const WRITTEN: &str = "UPDATE guild.daily_reports SET is_written = true WHERE day = $1::text::date";

/// The report of a day, as it is stored.
pub async fn stored(client: &impl GenericClient, day: Date) -> Result<Option<String>, Error> {
    let row = client.query_opt(STORED, &[&day.to_string()]).await?;
    Ok(row.map(|row| row.get(0)))
}

/// The last day that has a report.
pub async fn last_day(client: &impl GenericClient) -> Result<Option<Date>, Error> {
    let day: Option<String> = client.query_one(LAST, &[]).await?.get(0);
    Ok(day.and_then(|day| day.parse().ok()))
}

/// When the first thing arrived that no report has.
pub async fn first_arrival(client: &impl GenericClient) -> Result<Option<i64>, Error> {
    Ok(client.query_one(FIRST_ARRIVAL, &[]).await?.get(0))
}

/// Stores the report of `day`, which is over and of which everything was read, unless it has one.
pub async fn close(
    transaction: &Transaction<'_>,
    calendar: &Calendar,
    day: Date,
) -> Result<(), Error> {
    transaction.batch_execute(ALONE).await?;
    if stored(transaction, day).await?.is_some() {
        return Ok(());
    }
    let reckoning = reckon(transaction, calendar, day, true).await?;
    let text = report::text(calendar, day, &reckoning);
    let data = report::data(day, &reckoning).to_string();
    transaction
        .execute(STORE, &[&day.to_string(), &text, &data])
        .await?;
    let kept_from = calendar.closing(day).saturating_sub(POSITIONS_KEPT_MS);
    transaction.execute(PRUNE, &[&kept_from]).await?;
    Ok(())
}

/// What the report of `day` would say by what is known now; nothing is changed.
pub async fn preview(
    transaction: &Transaction<'_>,
    calendar: &Calendar,
    day: Date,
) -> Result<String, Error> {
    let reckoning = reckon(transaction, calendar, day, false).await?;
    Ok(report::text(calendar, day, &reckoning))
}

async fn reckon(
    transaction: &Transaction<'_>,
    calendar: &Calendar,
    day: Date,
    takes: bool,
) -> Result<Reckoning, Error> {
    let closing = calendar.closing(day);
    let members = transaction.query(MEMBERS, &[&closing]).await?;
    let members = members.iter().map(member).collect();
    let mut reckoner = Reckoner::new(members, calendar.opening(day));
    let mut without_plate = Vec::new();
    let day = day.to_string();
    let values: [&(dyn ToSql + Sync); 2] = [&closing, &day];
    let (statement, values) = match takes {
        true => (TAKE, &values[..]),
        false => (LOOK, &values[..1]),
    };
    // Row by row: a day may have millions.
    let rows = transaction.query_raw(statement, values.iter().copied());
    let rows = rows.await?;
    let mut rows = pin!(rows);
    while let Some(row) = rows.try_next().await? {
        let sale = sale(&row);
        match sale.plate {
            Some(_) => reckoner.add(sale, None),
            None => without_plate.push(sale),
        }
    }
    let last_seen = transaction.prepare_cached(LAST_SEEN).await?;
    for sale in without_plate {
        let from = sale.at_ms.saturating_sub(POSITION_AGE_MAX_MS);
        let last = transaction.query(&last_seen, &[&from, &sale.at_ms]).await?;
        let last: Vec<_> = last.iter().map(seen).collect();
        let cart = cart_at(sale.place, &last).map(str::to_owned);
        reckoner.add(sale, cart);
    }
    Ok(reckoner.finish())
}

/// Reports that no file has yet, the oldest first.
pub async fn unwritten(client: &impl GenericClient) -> Result<Vec<(Date, String)>, Error> {
    let rows = client.query(UNWRITTEN, &[]).await?;
    let report = |row: &Row| Some((row.get::<_, String>(0).parse().ok()?, row.get(1)));
    Ok(rows.iter().filter_map(report).collect())
}

/// A report has its file.
pub async fn written(client: &impl GenericClient, day: Date) -> Result<(), Error> {
    client
        .execute(WRITTEN, &[&day.to_string()])
        .await
        .map(|_| ())
}

fn member(row: &Row) -> Member {
    Member {
        rut: row.get(0),
        name: row.get(1),
        plate: row.get(2),
        registered: (row.get(3), row.get(4), row.get(5)),
    }
}

fn sale(row: &Row) -> Sale {
    Sale {
        at_ms: row.get(0),
        position: (row.get(1), row.get(2)),
        customer: row.get(3),
        sold: row.get(4),
        plate: row.get(5),
        place: Place {
            lat: row.get(6),
            lon: row.get(7),
        },
    }
}

fn seen(row: &Row) -> Seen {
    Seen {
        plate: row.get(0),
        place: Place {
            lat: row.get(1),
            lon: row.get(2),
        },
    }
}

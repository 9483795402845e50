//! Deliveries onto the screen: each that is prepared, after its commit, and at start those that a process which was
//! killed has not announced. One that is killed just after writing announces it twice.

use std::{io::Write as _, time::Duration};

use aguacero::{log_limiter, shutdown::Shutdown};
use processor::{Pool, connection, told};
use tokio::sync::watch;

use crate::{daily_sales::calendar::Calendar, text::shown};

/// How long it is waited for a commit until it is looked all the same: the last try may have failed.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Rows that another process announces are passed by. All of them in one go are bounded.
const NEW: &str = "SELECT id, plate, stock, amount, prepared_ms, delivered FROM guild.deliveries \
     WHERE NOT announced ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED";

const ANNOUNCED: &str = "UPDATE guild.deliveries SET announced = true WHERE id = ANY ($1)";

/// Announces until the shutdown, after each commit.
pub async fn run(
    pool: Pool,
    calendar: Calendar,
    mut committed: watch::Receiver<()>,
    shutdown: Shutdown,
) {
    loop {
        committed.mark_unchanged();
        match announce(&pool, &calendar).await {
            Ok(()) => log_limiter::ended("deliveries cannot be announced", ""),
            Err(error) => {
                let detail = format!("{error:#}");
                log_limiter::repeated("deliveries cannot be announced", "", &detail);
            }
        }
        tokio::select! {
            // An error means that the sink is gone, which is the end.
            told = committed.changed() => if told.is_err() { return },
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = shutdown.requested() => return,
        }
    }
}

async fn announce(pool: &Pool, calendar: &Calendar) -> anyhow::Result<()> {
    let fails = |error: processor::Error| anyhow::anyhow!("PostgreSQL: {}", told(&error));
    let mut client = connection(pool).await?;
    let transaction = client.transaction().await.map_err(fails)?;
    let rows = transaction.query(NEW, &[]).await.map_err(fails)?;
    if rows.is_empty() {
        return Ok(());
    }
    let mut out = std::io::stdout();
    let mut announced = Vec::with_capacity(rows.len());
    for row in &rows {
        let id: i64 = row.get(0);
        let text = line(
            calendar,
            id,
            row.get(1),
            (row.get(2), row.get(3)),
            row.get(4),
            row.get(5),
        );
        // Whoever closed the pipe does not want to know.
        _ = writeln!(out, "{text}");
        announced.push(id);
    }
    _ = out.flush();
    transaction
        .execute(ANNOUNCED, &[&announced])
        .await
        .map_err(fails)?;
    transaction.commit().await.map_err(fails)
}

fn line(
    calendar: &Calendar,
    id: i64,
    plate: &str,
    (stock, amount): (i64, i64),
    prepared_ms: i64,
    is_made: bool,
) -> String {
    let (plate, at) = (shown(plate), calendar.second(prepared_ms));
    let made = if is_made { ", hecho" } else { "" };
    format!("{at} reparto {id}: carrito {plate}, quedan {stock}, llevar {amount}{made}")
}

#[cfg(test)]
mod tests {
    use jiff::civil::Time;

    use super::*;

    #[test]
    fn an_announcement_says_which_cart_gets_how_many() {
        let calendar = Calendar::santiago(Time::constant(23, 59, 0, 0)).expect("built in");
        let at = calendar.closing(jiff::civil::Date::constant(2026, 11, 21));
        assert_eq!(
            line(&calendar, 7, "AB-CD-12", (12, 88), at, false),
            "2026-11-21 23:59:00 reparto 7: carrito AB-CD-12, quedan 12, llevar 88"
        );
        assert!(
            line(&calendar, 7, "A\n", (1, 99), at, true)
                .ends_with("carrito A\u{fffd}, quedan 1, llevar 99, hecho")
        );
    }
}

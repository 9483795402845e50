//! What a turn is measured by, and how it is shown.

use std::time::{Duration, Instant};

use anyhow::ensure;
use benches::{cpu, stats::spread};
use e2e::Services;

/// The longest time without a row.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// A turn.
#[derive(Clone, Copy)]
pub(crate) struct Turn {
    /// Rows a second.
    pub(crate) rate: f64,
    /// Processor seconds for a million rows: of the client, and of PostgreSQL.
    pub(crate) client: f64,
    pub(crate) server: f64,
}

impl Turn {
    /// So many rows in so long, with processor time of the client and of PostgreSQL.
    pub(crate) fn new(rows: u64, took: Duration, client: Duration, server: Duration) -> Self {
        let for_a_million = |time: Duration| time.as_secs_f64() * 1e6 / rows as f64;
        Self {
            rate: rows as f64 / took.as_secs_f64(),
            client: for_a_million(client),
            server: for_a_million(server),
        }
    }

    /// What process `client` comes to until `seen` tells of so many `rows`, asked every so often. Time counts from the
    /// first rows that are seen.
    pub(crate) async fn of_process(
        client: u32,
        rows: u64,
        every: Duration,
        mut seen: impl AsyncFnMut() -> anyhow::Result<u64>,
    ) -> anyhow::Result<Self> {
        let server = Services::pid("postgres")?;
        let (mut first, mut last) = (None, (0, Instant::now()));
        loop {
            let seen = seen().await?;
            let now = Instant::now();
            if seen > last.0 {
                last = (seen, now);
                if first.is_none() {
                    first = Some((seen, now, cpu::of(client)?, cpu::of_family(server)?));
                }
            }
            if let Some((at, began, of_client, of_server)) = first.filter(|_| seen >= rows) {
                ensure!(at < rows, "all {rows} rows came at once: take more");
                return Ok(Self::new(
                    rows - at,
                    now - began,
                    cpu::of(client)?.since(of_client).all(),
                    cpu::of_family(server)?.saturating_sub(of_server),
                ));
            }
            let silent = now - last.1;
            ensure!(
                silent < STALLED_AFTER,
                "{seen} of {rows} rows, and none for {silent:?}"
            );
            tokio::time::sleep(every).await;
        }
    }
}

/// The heads of the columns.
pub(crate) fn show_heads() {
    let (time, million) = ("CPU s", "a million");
    println!(
        "{:>24}{:>12}{:>16}{:>16}",
        "",
        "rows/s",
        format!("client, {time}"),
        format!("server, {time}")
    );
    println!("{:>24}{:>12}{million:>16}{million:>16}", "", "");
}

/// A line.
pub(crate) fn show(name: &str, turn: &Turn) {
    println!(
        "{name:>24}{:>12.0}{:>16.2}{:>16.2}",
        turn.rate, turn.client, turn.server
    );
}

/// The median of each figure, and the lowest and the highest rate.
pub(crate) fn show_median(name: &str, turns: &[Turn]) {
    let [lowest, rate, highest] = of_all(turns, |t| t.rate);
    let median = Turn {
        rate,
        client: of_all(turns, |t| t.client)[1],
        server: of_all(turns, |t| t.server)[1],
    };
    show(&format!("{name}, median"), &median);
    println!("{:>24}{:>12}", "", format!("{lowest:.0}-{highest:.0}"));
}

/// Least, middle and greatest.
fn of_all(turns: &[Turn], figure: fn(&Turn) -> f64) -> [f64; 3] {
    let values: Vec<_> = turns.iter().map(figure).collect();
    spread(&values)
}

/// A figure of ours in each round over theirs: median (lowest-highest).
pub(crate) fn ratio(ours: &[Turn], theirs: &[Turn], figure: fn(&Turn) -> f64) -> String {
    let ratios = ours.iter().zip(theirs).map(|(o, t)| figure(o) / figure(t));
    let [lowest, median, highest] = spread(&ratios.collect::<Vec<_>>());
    format!("{median:.2} ({lowest:.2}-{highest:.2})")
}

//! When a day is over: some time after 23:59, when everything that arrived before it was read, it is closed, oldest first;
//! its report goes into the tables, then into its file and onto the screen.

use std::{
    io::Write as _,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aguacero::{config::Config, kafka::Topics, log_limiter, shutdown::Shutdown};
use anyhow::Context as _;
use jiff::civil::Date;
use processor::{
    Pool, connection,
    ends::{self, Ends},
    told,
};

use super::{calendar::Calendar, close, file};

/// How often it is looked whether a day is over.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often it is looked whether everything was read.
const READ_EVERY: Duration = Duration::from_millis(500);
/// By how much clocks of gateways may be late.
const CLOCKS: Duration = Duration::from_secs(10);
/// Days that are made up at most, if something in the tables seems to be older: a stamp may be anything.
const DAYS_MAX: usize = 400;

/// What keeps days from being closed, for the log.
const WAITS: &str = "a day is over and not everything of it was read yet";

/// Closes days.
pub struct Closer {
    /// Of the processor.
    pub config: Arc<Config>,
    /// When days close.
    pub calendar: Calendar,
    /// Where it is kept.
    pub pool: Pool,
    /// Who tells where the logs end.
    pub topics: Arc<Topics>,
    /// Where the files are written.
    pub folder: PathBuf,
}

impl Closer {
    /// Until the shutdown.
    pub async fn run(self, shutdown: Shutdown) {
        while !shutdown.is_requested() {
            let done = tokio::select! {
                done = self.look() => done,
                () = shutdown.requested() => return,
            };
            match done {
                Ok(()) => log_limiter::ended("days cannot be closed", ""),
                Err(error) => {
                    let detail = format!("{error:#}");
                    log_limiter::repeated("days cannot be closed", "", &detail);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = shutdown.requested() => {}
            }
        }
    }

    async fn look(&self) -> anyhow::Result<()> {
        // What was stored before a process was killed. A full disk is no reason not to close days.
        let written = self.write_files().await;
        let now_ms = now_ms();
        if self.due(now_ms).await?.is_empty() {
            return written;
        }
        // What arrived before a closing that was so long ago is in Kafka by now, so below these ends.
        self.read_everything().await?;
        // What was read meanwhile may be of older days.
        for day in self.due(now_ms).await? {
            self.close(day).await?;
        }
        self.write_files().await
    }

    /// Days that were over at `now_ms` and have no report, the oldest first.
    async fn due(&self, now_ms: i64) -> anyhow::Result<Vec<Date>> {
        let client = connection(&self.pool).await?;
        let last = close::last_day(&client).await.map_err(say)?;
        let first = match last {
            Some(last) => last.tomorrow().ok(),
            None => {
                let arrival = close::first_arrival(&client).await.map_err(say)?;
                arrival.map(|at_ms| self.calendar.day_of(at_ms))
            }
        };
        let over_ms = now_ms - grace_ms(&self.config);
        Ok(first.map_or_else(Vec::new, |first| days_over(&self.calendar, first, over_ms)))
    }

    /// Waits until the group has read everything that is in Kafka now.
    async fn read_everything(&self) -> anyhow::Result<()> {
        let names =
            || -> Vec<String> { self.config.topics.iter().map(|t| t.name.clone()).collect() };
        let ends = Ends::now(&self.topics, names()).await?;
        loop {
            let client = connection(&self.pool).await?;
            let read = ends::read(&client, &self.config.consumer.group)
                .await
                .map_err(say)?;
            drop(client);
            let missing = ends.missing(&read);
            let Some(((topic, partition), records)) = missing.first() else {
                log_limiter::ended(WAITS, "");
                return Ok(());
            };
            let others = missing.len() - 1;
            let detail = format!(
                "{records} records of {topic}/{partition} are missing, and {others} other partitions are behind"
            );
            log_limiter::repeated(WAITS, "", &detail);
            tokio::time::sleep(READ_EVERY).await;
            let now = Ends::now(&self.topics, names()).await?;
            anyhow::ensure!(
                ends.are_of(&now),
                "a topic was made again: it is begun anew"
            );
        }
    }

    async fn close(&self, day: Date) -> anyhow::Result<()> {
        let mut client = connection(&self.pool).await?;
        let transaction = client.transaction().await.map_err(say)?;
        close::close(&transaction, &self.calendar, day)
            .await
            .map_err(say)?;
        transaction.commit().await.map_err(say)?;
        tracing::info!(%day, "the day is closed");
        Ok(())
    }

    /// Writes the files that are missing, and shows what they say. Whoever is killed in between writes the same bytes
    /// again.
    async fn write_files(&self) -> anyhow::Result<()> {
        let client = connection(&self.pool).await?;
        for (day, report) in close::unwritten(&client).await.map_err(say)? {
            let file = file::of_day(&self.folder, day);
            file::write_whole(&file, report.as_bytes())
                .with_context(|| format!("the report of {day} as {}", file.display()))?;
            show(&report);
            close::written(&client, day).await.map_err(say)?;
        }
        Ok(())
    }
}

/// How long after its closing a day is over: the stamp that a gateway gives at arrival is in Kafka by then, or in nobody's
/// memory any more.
fn grace_ms(config: &Config) -> i64 {
    let grace = config.gateway.request_timeout + config.kafka.message_timeout + CLOCKS;
    i64::try_from(grace.as_millis()).unwrap_or(i64::MAX)
}

/// Days from `first` on that closed at `over_ms` or before; the last ones, if they are more than anybody was away for.
fn days_over(calendar: &Calendar, first: Date, over_ms: i64) -> Vec<Date> {
    let last = calendar.day_of(over_ms); // is open
    let mut days = Vec::new();
    let mut day = last;
    while days.len() < DAYS_MAX && day > first {
        let Ok(before) = day.yesterday() else {
            break;
        };
        days.push(before);
        day = before;
    }
    days.reverse();
    days
}

/// Whoever closed the pipe does not want to know.
pub(super) fn show(report: &str) {
    _ = write!(std::io::stdout(), "{report}");
}

fn say(error: processor::Error) -> anyhow::Error {
    anyhow::anyhow!("PostgreSQL: {}", told(&error))
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use jiff::civil::Time;

    use super::*;

    #[test]
    fn days_that_nobody_closed_are_made_up_oldest_first() {
        let calendar = Calendar::santiago(Time::constant(23, 59, 0, 0)).expect("built in");
        let day = |n| Date::constant(2026, 11, n);
        let over = |first, over_ms| days_over(&calendar, first, over_ms);
        let closing = calendar.closing(day(21));
        assert_eq!(over(day(19), closing), [day(19), day(20), day(21)]);
        assert_eq!(over(day(19), closing - 1), [day(19), day(20)]);
        assert_eq!(over(day(21), closing - 1), []);
        assert_eq!(over(day(25), closing), [], "a stamp that is to come");
        let long_ago = over(Date::constant(1970, 1, 1), closing);
        assert_eq!(
            (long_ago.len(), long_ago.last()),
            (DAYS_MAX, Some(&day(21)))
        );
    }
}

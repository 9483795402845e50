//! The guild's days: each ends at 23:59 in Santiago, whatever the clocks there do that night.
//!
//! Chile changes its clocks on a Saturday at 24:00. In April they go back to 23:00, so that Saturday has 23:59 twice; it
//! closes at the second one, and is 25 hours long. In September the hour after midnight does not exist, and Sunday is 23
//! hours long.

use anyhow::Context as _;
use jiff::{
    Timestamp,
    civil::{Date, Time},
    tz::{TimeZone, TimeZoneDatabase},
};

/// Where the guild is.
pub const ZONE: &str = "America/Santiago";

/// The latest moment that is looked at, in the year 9987: a record's time may be anything.
const LATEST_MS: i64 = 253_000_000_000_000;

/// When days close.
#[derive(Debug, Clone)]
pub struct Calendar {
    zone: TimeZone,
    closes: Time,
}

impl Calendar {
    /// Days that close at `closes` in Santiago. The rules of its clocks are those that this program was built with,
    /// wherever it runs.
    pub fn santiago(closes: Time) -> anyhow::Result<Self> {
        let zone = TimeZoneDatabase::bundled().get(ZONE).context(ZONE)?;
        Ok(Self { zone, closes })
    }

    /// Milliseconds since 1970 at which `day` closes: what arrives from then on belongs to the next one.
    #[must_use]
    pub fn closing(&self, day: Date) -> i64 {
        let closing = self
            .zone
            .to_ambiguous_timestamp(day.to_datetime(self.closes));
        // A day behind the end of the calendar never closes.
        closing.later().map_or(i64::MAX, |at| at.as_millisecond())
    }

    /// When it opens: as the day before closes.
    #[must_use]
    pub fn opening(&self, day: Date) -> i64 {
        day.yesterday()
            .map_or(i64::MIN, |before| self.closing(before))
    }

    /// The day that a moment belongs to.
    #[must_use]
    pub fn day_of(&self, at_ms: i64) -> Date {
        let date = self.zone.to_datetime(moment(at_ms)).date();
        match at_ms < self.closing(date) {
            true => date,
            false => date.tomorrow().unwrap_or(date),
        }
    }

    /// `2026-11-21 23:59`, as the clocks in Santiago say.
    #[must_use]
    pub fn minute(&self, at_ms: i64) -> String {
        let local = self.zone.to_datetime(moment(at_ms));
        format!("{} {:02}:{:02}", local.date(), local.hour(), local.minute())
    }

    /// `2026-11-21 23:59:05`
    #[must_use]
    pub fn second(&self, at_ms: i64) -> String {
        let local = self.zone.to_datetime(moment(at_ms));
        format!("{}:{:02}", self.minute(at_ms), local.second())
    }
}

fn moment(at_ms: i64) -> Timestamp {
    Timestamp::from_millisecond(at_ms.clamp(0, LATEST_MS)).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn calendar() -> Calendar {
        Calendar::santiago(Time::constant(23, 59, 0, 0)).expect("the zone is built in")
    }

    fn day(text: &str) -> Date {
        text.parse().expect("a day")
    }

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>()
            .expect("a moment")
            .as_millisecond()
    }

    #[test]
    fn a_day_closes_at_23_59_in_santiago_and_the_next_begins_there() {
        let calendar = calendar();
        let closing = calendar.closing(day("2026-11-21"));
        assert_eq!(
            closing,
            at("2026-11-22T02:59:00Z"),
            "three hours behind UTC"
        );
        assert_eq!(calendar.day_of(closing - 1), day("2026-11-21"));
        assert_eq!(calendar.day_of(closing), day("2026-11-22"));
        assert_eq!(calendar.opening(day("2026-11-22")), closing);
        // In winter it is four hours.
        assert_eq!(
            calendar.closing(day("2026-06-10")),
            at("2026-06-11T03:59:00Z")
        );
    }

    #[test]
    fn days_around_a_change_of_the_clocks_have_23_and_25_hours() {
        let calendar = calendar();
        let hours = |text| {
            let day = day(text);
            let length = calendar.closing(day) - calendar.opening(day);
            assert_eq!(length % HOUR_MS, 0);
            length / HOUR_MS
        };
        assert_eq!(hours("2026-04-03"), 24);
        assert_eq!(
            hours("2026-04-04"),
            25,
            "a Saturday that has 23:00 to 24:00 twice"
        );
        assert_eq!(hours("2026-04-05"), 24);
        assert_eq!(hours("2026-09-05"), 24, "the Saturday before");
        assert_eq!(hours("2026-09-06"), 23, "a Sunday that begins at 01:00");
        assert_eq!(hours("2026-09-07"), 24);
    }

    #[test]
    fn a_day_on_which_23_59_comes_twice_closes_once_at_the_second() {
        let calendar = calendar();
        let saturday = day("2026-04-04");
        let (first, second) = (at("2026-04-05T02:59:00Z"), at("2026-04-05T03:59:00Z"));
        assert_eq!(
            calendar.minute(first),
            calendar.minute(second),
            "both are 23:59"
        );
        assert_eq!(calendar.closing(saturday), second);
        for in_it in [first - 1, first, first + 30_000, second - 1] {
            assert_eq!(calendar.day_of(in_it), saturday);
        }
        assert_eq!(calendar.day_of(second), day("2026-04-05"));
    }

    #[test]
    fn every_moment_of_two_years_is_in_the_one_day_whose_window_has_it() {
        let calendar = calendar();
        let mut at_ms = at("2025-12-30T00:00:00Z");
        while at_ms < at("2028-01-02T00:00:00Z") {
            let day = calendar.day_of(at_ms);
            assert!(calendar.opening(day) <= at_ms && at_ms < calendar.closing(day));
            at_ms += HOUR_MS / 4;
        }
    }

    #[test]
    fn no_time_of_a_record_is_too_strange() {
        let calendar = calendar();
        for strange in [i64::MIN, -1, 0, i64::MAX] {
            _ = calendar.day_of(strange);
            _ = calendar.second(strange);
        }
        assert_eq!(calendar.closing(Date::MAX), i64::MAX);
    }
}

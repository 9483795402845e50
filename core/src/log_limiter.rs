//! Problems that come again and again, in the log when one begins, once a minute with a count while it goes on (and a
//! few times more if the reason changes), and when it has ended. Each has a metric of its own beside it, which counts every single time.
//!
//! A problem is named by what goes wrong and what it is about (an error code, a topic, a peer). It has ended
//! when whoever reported it says so ([`ended`]), or when it has not come for [`QUIET`]; that is noticed by
//! [`look`], which the admin port of each process calls.

use std::{
    collections::HashMap,
    fmt::Display,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Between two lines of a problem that goes on.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// A problem that has not come for so long has ended.
pub const QUIET: Duration = Duration::from_secs(30);
/// Lines within a minute for reasons that are not the one before.
const CHANGES_MAX: u32 = 3;
/// Problems that are told apart. Beyond, those of the same kind count as one.
const APART_MAX: usize = 256;

/// What goes wrong, and what it is about.
type Problem = (&'static str, String);

/// The problems of this process that have not ended.
static PROBLEMS: LazyLock<Mutex<Problems>> = LazyLock::new(Mutex::default);

#[derive(Default)]
struct Problems(HashMap<Problem, Episode>);

/// A problem from when it began.
struct Episode {
    began: Instant,
    last: Instant,
    /// Of the last line.
    logged: Instant,
    count: u64,
    /// Of them, since the last line.
    unlogged: u64,
    /// The reason that was logged last.
    detail: String,
    /// Other reasons that were logged within this minute.
    changes: u32,
    /// It has been logged that it ended. It is remembered for a while: one that comes and goes is one problem.
    has_ended: bool,
}

/// A line for the log.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Began,
    /// So many times since the last line.
    GoesOn(u64),
    Ended {
        count: u64,
        after: Duration,
    },
}

impl Episode {
    fn new(now: Instant) -> Self {
        Self {
            began: now,
            last: now,
            logged: now,
            count: 0,
            unlogged: 0,
            detail: String::new(),
            changes: 0,
            has_ended: false,
        }
    }

    fn note(&mut self, detail: &dyn Display, count: u64, now: Instant) -> Option<Line> {
        let is_due = now.saturating_duration_since(self.logged) >= AGAIN_AFTER;
        if self.has_ended && is_due {
            *self = Self::new(now);
        }
        let is_first = self.count == 0;
        self.has_ended = false;
        self.count += count;
        self.last = now;
        let detail = detail.to_string();
        if is_first {
            self.detail = detail;
            return Some(Line::Began);
        }
        self.unlogged += count;
        let is_other = detail != self.detail && self.changes < CHANGES_MAX;
        if !is_due && !is_other {
            return None;
        }
        match is_due {
            true => (self.logged, self.changes) = (now, 0),
            false => self.changes += 1,
        }
        self.detail = detail;
        Some(Line::GoesOn(std::mem::take(&mut self.unlogged)))
    }

    fn end(&mut self, now: Instant) -> Option<Line> {
        let has_begun_again = self.unlogged > 0;
        let is_due = now.saturating_duration_since(self.logged) >= AGAIN_AFTER;
        // What comes and goes has ended when it has not come for a while.
        if self.has_ended || (has_begun_again && !is_due && !self.is_quiet(now)) {
            return None;
        }
        self.has_ended = true;
        self.logged = now;
        self.unlogged = 0;
        Some(Line::Ended {
            count: self.count,
            after: self.last - self.began,
        })
    }

    fn is_quiet(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) >= QUIET
    }
}

impl Problems {
    fn note(
        &mut self,
        (what, about): (&'static str, &str),
        detail: &dyn Display,
        count: u64,
        now: Instant,
    ) -> Option<Line> {
        let mut problem = (what, about.to_owned());
        if self.0.len() >= APART_MAX && !self.0.contains_key(&problem) {
            problem.1 = "others".to_owned();
        }
        let episode = self.0.entry(problem);
        let episode = episode.or_insert_with(|| Episode::new(now));
        episode.note(detail, count, now)
    }

    fn end(&mut self, what: &'static str, about: &str, now: Instant) -> Option<Line> {
        self.0.get_mut(&(what, about.to_owned()))?.end(now)
    }

    /// Those that have not come for long; they are forgotten.
    fn quiet(&mut self, now: Instant) -> Vec<(Problem, Line)> {
        let mut ended = Vec::new();
        self.0.retain(|problem, episode| {
            let is_quiet = episode.is_quiet(now);
            if is_quiet && let Some(line) = episode.end(now) {
                ended.push((problem.clone(), line));
            }
            !is_quiet
        });
        ended
    }

    fn lock() -> MutexGuard<'static, Self> {
        PROBLEMS.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `what` has gone wrong, `about` this: words that are few, since each is logged by itself.
pub fn repeated(what: &'static str, about: &str, detail: &dyn Display) {
    repeated_times(what, about, detail, 1);
}

/// The same, `count` times at once.
pub fn repeated_times(what: &'static str, about: &str, detail: &dyn Display, count: u64) {
    let line = Problems::lock().note((what, about), detail, count, Instant::now());
    match line {
        Some(Line::Began) => tracing::warn!(about, %detail, "{what}"),
        Some(Line::GoesOn(count)) => tracing::warn!(about, %detail, count, "{what}: goes on"),
        Some(Line::Ended { .. }) | None => {}
    }
}

/// `what` works again. Nothing is logged of what had not gone wrong.
pub fn ended(what: &'static str, about: &str) {
    let line = Problems::lock().end(what, about, Instant::now());
    log_end(what, about, line);
}

/// Ends what has not come for [`QUIET`]. To be called every few seconds.
pub fn look() {
    let quiet = Problems::lock().quiet(Instant::now());
    for ((what, about), line) in quiet {
        log_end(what, &about, Some(line));
    }
}

fn log_end(what: &str, about: &str, line: Option<Line>) {
    if let Some(Line::Ended { count, after }) = line {
        tracing::info!(about, count, ?after, "{what}: has ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_repeats_is_logged_when_it_begins_once_a_minute_with_a_count_and_when_it_ends() {
        let (start, mut problems) = (Instant::now(), Problems::default());
        let mut lines = Vec::new();
        for second in 0..150 {
            for _ in 0..20 {
                let line = problems.note(("it fails", "a"), &"why", 1, start + second * SECOND);
                lines.extend(line.map(|line| (second, line)));
            }
        }
        // 1,200 a minute; the first of all has a line of its own.
        let expected = [
            (0, Line::Began),
            (60, Line::GoesOn(1_200)),
            (120, Line::GoesOn(1_200)),
        ];
        assert_eq!(lines, expected);
        assert!(problems.quiet(start + (149 + 29) * SECOND).is_empty());
        let (count, after) = (3_000, 149 * SECOND);
        let ended = [(("it fails", "a".to_owned()), Line::Ended { count, after })];
        assert_eq!(problems.quiet(start + (149 + 30) * SECOND), ended);
        assert!(problems.0.is_empty(), "nothing is kept of it");
    }

    #[test]
    fn what_comes_and_goes_is_one_problem() {
        let (start, mut problems) = (Instant::now(), Problems::default());
        let (mut begun, mut gone_on, mut ended) = (0, 0, 0);
        for second in 0..600 {
            let now = start + second * SECOND;
            match problems.note(("it fails", ""), &"why", 1, now) {
                Some(Line::Began) => begun += 1,
                Some(_) => gone_on += 1,
                None => {}
            }
            ended += u32::from(problems.end("it fails", "", now).is_some());
            assert!(problems.quiet(now).is_empty());
        }
        assert_eq!(begun, 1);
        assert!(
            gone_on + ended <= 20,
            "{gone_on} and {ended} lines in ten minutes"
        );
    }

    #[test]
    fn what_its_reporter_ends_has_ended_at_once() {
        let (now, mut problems) = (Instant::now(), Problems::default());
        assert_eq!(problems.end("it fails", "", now), None, "it never began");
        let begun = problems.note(("it fails", ""), &"why", 1, now);
        assert_eq!(begun, Some(Line::Began));
        let ended = problems.end("it fails", "", now + SECOND);
        let after = Duration::ZERO;
        assert_eq!(ended, Some(Line::Ended { count: 1, after }));
        assert_eq!(problems.end("it fails", "", now + SECOND), None, "once");
    }

    #[test]
    fn problems_are_told_apart_up_to_a_bound() {
        let (now, mut problems) = (Instant::now(), Problems::default());
        for about in 0..10_000 {
            problems.note(("it fails", &about.to_string()), &"why", 1, now);
        }
        assert_eq!(problems.0.len(), APART_MAX + 1);
        let of_others = problems.note(("it fails", "others"), &"why", 1, now);
        assert_eq!(of_others, None, "it has begun");
    }

    #[test]
    fn another_reason_is_logged_at_once_a_few_times_a_minute() {
        let (start, mut problems) = (Instant::now(), Problems::default());
        let mut lines = 0;
        for second in 0..120 {
            let now = start + second * SECOND;
            for reason in ["nobody is there", "the password is wrong"] {
                lines += u32::from(problems.note(("it fails", ""), &reason, 1, now).is_some());
            }
        }
        assert_eq!(lines, 2 * (1 + CHANGES_MAX));
    }
}

//! Conditions: what is wrong around a process and stays so until an operator mends it, such as a setting of a topic.
//!
//! Whoever watches for one kind of them tells, every some seconds, which hold ([`Conditions::hold`]). Each is then a line
//! in the log (by [`log_limiter`]: when it begins, once a minute, when it has ended), a gauge, and a line in the body
//! of `/readyz` ([`told`]). Its status stays 200: the process does its work, and taking it out of service would not
//! mend anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use crate::log_limiter;

/// What a condition is about, as labels of its gauge.
pub type Labels = Vec<(&'static str, String)>;

/// Every condition that holds in this process, by kind and labels, with its words.
static HOLDING: LazyLock<Mutex<BTreeMap<(&'static str, Labels), String>>> =
    LazyLock::new(Mutex::default);

/// A condition that holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// What it is about.
    pub labels: Labels,
    /// What is wrong, what comes of it, and how to mend it.
    pub words: String,
    /// What the gauge shows: 1, or how many are concerned. It is 0 when the condition has ended.
    pub value: f64,
}

/// The conditions of one kind, as their only watcher has them.
#[derive(Debug)]
pub struct Conditions {
    what: &'static str,
    gauge: &'static str,
    holding: Vec<Condition>,
}

impl Conditions {
    /// None holds yet. `what` is what the log says of each, `gauge` the name of the metric.
    #[must_use]
    pub fn new(what: &'static str, gauge: &'static str) -> Self {
        Self {
            what,
            gauge,
            holding: Vec::new(),
        }
    }

    /// `found` hold, and no others of this kind. To be called more often than [`log_limiter::QUIET`].
    pub fn hold(&mut self, found: Vec<Condition>) {
        let before = std::mem::replace(&mut self.holding, found);
        let still: BTreeSet<_> = self.holding.iter().map(|c| &c.labels).collect();
        let ended = before.iter().filter(|c| !still.contains(&c.labels));
        for condition in ended {
            metrics::gauge!(self.gauge, &condition.labels).set(0.0);
            lock().remove(&(self.what, condition.labels.clone()));
            log_limiter::ended(self.what, &about(&condition.labels));
        }
        self.hold_still();
    }

    /// Nobody could tell what holds now: what held the last time is taken to hold still.
    pub fn hold_still(&self) {
        for condition in &self.holding {
            metrics::gauge!(self.gauge, &condition.labels).set(condition.value);
            let key = (self.what, condition.labels.clone());
            lock().insert(key, condition.words.clone());
            log_limiter::repeated(self.what, &about(&condition.labels), &condition.words);
        }
    }
}

/// A line for each condition that holds in this process: what kind, and its words.
#[must_use]
pub fn told() -> Vec<String> {
    let holding = lock();
    let line = |((what, _), words): (&(&str, _), &String)| format!("{what}: {words}");
    holding.iter().map(line).collect()
}

/// `messages, cleanup.policy`
fn about(labels: &Labels) -> String {
    let values: Vec<_> = labels.iter().map(|(_, value)| value.as_str()).collect();
    values.join(", ")
}

fn lock() -> MutexGuard<'static, BTreeMap<(&'static str, Labels), String>> {
    HOLDING.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(topic: &str) -> Condition {
        Condition {
            labels: vec![("topic", topic.to_owned())],
            words: format!("{topic} is not as it should be"),
            value: 1.0,
        }
    }

    /// The lines of this test; others of this process have kinds of their own.
    fn ours(what: &str) -> Vec<String> {
        let mut lines = told();
        lines.retain(|line| line.starts_with(what));
        lines
    }

    #[test]
    fn what_holds_is_told_until_its_watcher_says_that_it_does_not() {
        const WHAT: &str = "a topic of this test";
        let mut conditions = Conditions::new(WHAT, "aguacero_test");
        conditions.hold(vec![condition("a"), condition("b")]);
        assert_eq!(
            ours(WHAT),
            [
                "a topic of this test: a is not as it should be",
                "a topic of this test: b is not as it should be"
            ]
        );
        conditions.hold_still();
        assert_eq!(ours(WHAT).len(), 2);
        conditions.hold(vec![condition("b")]);
        assert_eq!(
            ours(WHAT),
            ["a topic of this test: b is not as it should be"]
        );
        conditions.hold(Vec::new());
        assert_eq!(ours(WHAT), [""; 0]);
    }
}

//! What is shown of each process, and where the way of an event stands still.
//!
//! Everything is a code and a number; the page has the words.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use aguacero::config::Config;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    ask::{Instance, State},
    prometheus::Metrics,
};

/// How long something must wait without anything being done before it is said to stand still.
const STILL_AFTER: Duration = Duration::from_secs(3);
/// Counters that are behind for so long stand still.
const BEHIND_SECONDS: f64 = 30.0;

/// What a process told a moment ago.
#[derive(Default)]
pub(super) struct Rates(Option<(Metrics, f64)>);

impl Rates {
    pub(super) fn between(before: Metrics, passed: Duration) -> Self {
        Self(Some((before, passed.as_secs_f64().max(0.001))))
    }

    /// Of a counter, a second; a process that was started again begins at 0.
    fn of(&self, now: &Metrics, name: &str, label: &str) -> Option<f64> {
        let (before, seconds) = self.0.as_ref()?;
        Some((now.sum(name, label) - before.sum(name, label)).max(0.0) / seconds)
    }
}

/// Since when something waits at a place and nothing is done.
#[derive(Default)]
pub(super) struct Still(HashMap<Place, Instant>);

/// A process, and what is done there.
type Place = (&'static str, &'static str);

impl Still {
    fn is(&mut self, place: Place, waits: bool, now: Instant) -> bool {
        if !waits {
            self.0.remove(&place);
            return false;
        }
        now - *self.0.entry(place).or_insert(now) >= STILL_AFTER
    }
}

/// How a figure is to be written.
#[derive(Clone, Copy)]
enum As {
    Rate,
    Count,
    Bytes,
    Seconds,
}

impl As {
    fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Count => "count",
            Self::Bytes => "bytes",
            Self::Seconds => "seconds",
        }
    }
}

/// How figures of several processes become one.
#[derive(Clone, Copy)]
enum Of {
    /// A counter, a second, summed.
    PerSecond,
    /// A gauge or a counter, summed.
    Sum,
    /// Each tells the same, or the worst counts.
    Max,
}

/// A row of the table: text, how it is written, how it is made, of which metric and label.
type Row = (&'static str, As, Of, &'static str, &'static str);

/// `consumer tables`, which has a box of its own where a stream has a table.
pub(super) const TABLES: &str = "tables";
const STORED: &str = "outcome=\"stored\"";

/// Of whoever reads Kafka.
const LAG: Row = ("lag", As::Count, Of::Sum, "aguacero_consumer_lag", "");
const LAG_SECONDS: Row = (
    "lag-seconds",
    As::Seconds,
    Of::Max,
    "aguacero_consumer_lag_seconds",
    "",
);
const PARTITIONS: Row = (
    "partitions",
    As::Count,
    Of::Sum,
    "aguacero_consumer_assigned_partitions",
    "",
);
const DUPLICATES: Row = (
    "duplicates",
    As::Count,
    Of::Sum,
    "aguacero_consumer_duplicates_total",
    "",
);

fn rows(program: &str) -> &'static [Row] {
    use As::{Bytes, Count, Rate};
    use Of::{Max, PerSecond, Sum};
    match program {
        "gateway" => &[
            (
                "stored",
                Rate,
                PerSecond,
                "aguacero_gateway_events_total",
                STORED,
            ),
            (
                "answers",
                Rate,
                PerSecond,
                "aguacero_gateway_answers_total",
                "",
            ),
            (
                "connections",
                Count,
                Sum,
                "aguacero_gateway_connections",
                "",
            ),
            (
                "in-flight",
                Bytes,
                Sum,
                "aguacero_gateway_bytes_in_flight",
                "",
            ),
        ],
        "kafka-producer" | "wasm-producer" => &[
            (
                "stored",
                Rate,
                PerSecond,
                "aguacero_producer_records_total",
                STORED,
            ),
            (
                "failed",
                Rate,
                PerSecond,
                "aguacero_producer_records_total",
                "outcome=\"failed\"",
            ),
            (
                "in-flight",
                Bytes,
                Sum,
                "aguacero_producer_bytes_in_flight",
                "",
            ),
            ("sessions", Count, Sum, "aguacero_producer_sessions", ""),
        ],
        "redis-writer" => &[
            (
                "frames",
                Rate,
                PerSecond,
                "aguacero_redis_writer_frames_total",
                "",
            ),
            (
                "waiting",
                Count,
                Sum,
                "aguacero_redis_writer_frames_waiting",
                "",
            ),
            (
                "failures",
                Count,
                Sum,
                "aguacero_redis_writer_redis_failures_total",
                "",
            ),
            ("sessions", Count, Sum, "aguacero_redis_writer_sessions", ""),
        ],
        TABLES => &[
            ("rows", Rate, PerSecond, "aguacero_consumer_rows_total", ""),
            LAG,
            LAG_SECONDS,
            PARTITIONS,
            DUPLICATES,
        ],
        _ => &[
            (
                "archived",
                Rate,
                PerSecond,
                "aguacero_consumer_archived_total",
                "",
            ),
            LAG,
            LAG_SECONDS,
            (
                "unsettled",
                Count,
                Max,
                "aguacero_consumer_pending_entries",
                "",
            ),
            PARTITIONS,
            DUPLICATES,
        ],
    }
}

/// Counters by reason: text, metric, label.
fn reasons(program: &str) -> &'static [(&'static str, &'static str, &'static str)] {
    match program {
        "gateway" => &[
            ("refused", "aguacero_gateway_events_refused_total", "reason"),
            ("not-stored", "aguacero_gateway_not_stored_total", "reason"),
            ("statuses", "aguacero_gateway_answers_total", "status"),
        ],
        "kafka-producer" | "wasm-producer" => {
            &[("failed", "aguacero_producer_failed_total", "code")]
        }
        "redis-writer" => &[("refused", "aguacero_redis_writer_refused_total", "reason")],
        _ => &[(
            "dead-letters",
            "aguacero_consumer_dead_letters_total",
            "reason",
        )],
    }
}

/// The whole page.
pub(super) fn judge(
    config: &Config,
    all: &[(&'static str, Vec<Instance>)],
    still: &mut Still,
    now: Instant,
) -> Value {
    let processes: Vec<_> = all.iter().map(|(name, of)| process(name, of)).collect();
    json!({
        "processes": processes,
        "way": way(config, all, still, now),
    })
}

fn process(name: &str, instances: &[Instance]) -> Value {
    let alive = || instances.iter().filter(|i| i.state != State::Away);
    let figure = |(text, how, of, metric, label): &Row| {
        let value = match of {
            Of::PerSecond => sum(alive().map(|i| i.rates.of(&i.metrics, metric, label))),
            Of::Sum => sum(alive().map(|i| Some(i.metrics.sum(metric, label)))),
            Of::Max => alive()
                .filter_map(|i| i.metrics.max(metric))
                .reduce(f64::max),
        };
        json!([text, how.name(), value])
    };
    let by_reason = |(text, metric, label): &(&str, &str, &str)| {
        let mut by: BTreeMap<String, f64> = BTreeMap::new();
        for (reason, figure) in alive().flat_map(|i| i.metrics.by(metric, label)) {
            *by.entry(reason).or_default() += figure;
        }
        let by: Vec<_> = by.into_iter().collect();
        json!([text, by])
    };
    let one = |i: &Instance| {
        json!({
            "address": i.address,
            "state": match i.state {
                State::Ready => "ready",
                State::NotReady => "not-ready",
                State::Away => "away",
            },
            "reasons": i.reasons,
            "memory": i.metrics.max("process_resident_memory_bytes"),
        })
    };
    json!({
        "name": name,
        "instances": instances.iter().map(one).collect::<Vec<_>>(),
        "figures": rows(name).iter().map(figure).collect::<Vec<_>>(),
        "by": reasons(name).iter().map(by_reason).collect::<Vec<_>>(),
    })
}

/// None where nobody tells.
fn sum(each: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    each.flatten()
        .fold(None, |sum, n| Some(sum.unwrap_or(0.0) + n))
}

/// What reads Kafka and writes into a store.
struct Reading {
    name: &'static str,
    store: &'static str,
    /// Counter of what was written.
    done: &'static str,
    /// What is said where its way stands still.
    away: &'static str,
    not_ready: &'static str,
    refuses: &'static str,
}

/// The edges of the picture: from, to, state, why, and what goes over it a second.
fn way(
    config: &Config,
    all: &[(&'static str, Vec<Instance>)],
    still: &mut Still,
    now: Instant,
) -> Vec<Value> {
    let of = |name: &str| -> &[Instance] {
        let found = all.iter().find(|(n, _)| *n == name);
        found.map_or(&[], |(_, instances)| instances)
    };
    let total = |name: &str, metric: &str, label: &str| -> f64 {
        of(name).iter().map(|i| i.metrics.sum(metric, label)).sum()
    };
    let rate = |name: &str, metric: &str, label: &str| -> Option<f64> {
        sum(of(name)
            .iter()
            .map(|i| i.rates.of(&i.metrics, metric, label)))
    };
    let is_away = |name: &str| of(name).iter().all(|i| i.state == State::Away);
    let is_not_ready = |name: &str| of(name).iter().all(|i| i.state != State::Ready);
    let worst = |name: &str, metric: &str| {
        let each = of(name).iter().filter_map(|i| i.metrics.max(metric));
        each.reduce(f64::max).unwrap_or(0.0)
    };
    let mut edges = Vec::new();
    let mut edge = |from: &str, to: &str, why: Option<&str>, rate: Option<f64>| {
        let state = match (why, rate) {
            (Some(_), _) => "stands",
            (None, Some(rate)) if rate > 0.0 => "flows",
            _ => "idle",
        };
        edges.push(json!({ "from": from, "to": to, "state": state, "why": why, "rate": rate }));
    };
    let first = |reasons: &[(bool, &'static str)]| {
        let found = reasons.iter().find(|(holds, _)| *holds);
        found.map(|(_, why)| *why)
    };

    let taken = rate("gateway", "aguacero_gateway_events_total", "");
    let why = first(&[
        (is_away("gateway"), "gateway-away"),
        (is_not_ready("gateway"), "gateway-not-ready"),
    ]);
    edge("client", "gateway", why, taken);
    for via in config.vias() {
        let producer = via.process();
        let to = format!("to=\"{producer}\"");
        let links = total("gateway", "aguacero_gateway_links", &to);
        let stored = rate(producer, "aguacero_producer_records_total", STORED);
        let why = first(&[
            (is_away(producer), "producer-away"),
            (!is_away("gateway") && links == 0.0, "not-connected"),
        ]);
        edge("gateway", producer, why, stored);
        let waits = total(producer, "aguacero_producer_bytes_in_flight", "") > 0.0
            && stored.unwrap_or(0.0) == 0.0;
        let waits = still.is((producer, "stored"), waits, now);
        let why = first(&[
            (
                !is_away(producer) && is_not_ready(producer),
                "producer-not-ready",
            ),
            (waits, "kafka-does-not-confirm"),
        ]);
        edge(producer, "kafka", why, stored);
    }
    // Whoever reads Kafka: where it writes, what it has done, and what is said where its store takes nothing.
    let mut readers = vec![Reading {
        name: "consumer",
        store: "mongodb",
        done: "aguacero_consumer_archived_total",
        away: "consumer-away",
        not_ready: "consumer-not-ready",
        refuses: "mongodb-does-not-take",
    }];
    if all.iter().any(|(name, _)| *name == TABLES) {
        readers.push(Reading {
            name: TABLES,
            store: "postgres",
            done: "aguacero_consumer_rows_total",
            away: "tables-away",
            not_ready: "tables-not-ready",
            refuses: "postgres-does-not-take",
        });
    }
    for reader in readers {
        let name = reader.name;
        let polled = rate(name, "aguacero_consumer_polled_total", "");
        let done = rate(name, reader.done, "");
        let lags = total(name, "aguacero_consumer_lag", "") > 0.0;
        let nothing_polled = lags && polled.unwrap_or(0.0) == 0.0;
        let nothing_polled = still.is((name, "polled"), nothing_polled, now);
        let stopped = total(name, "aguacero_consumer_stopped_partition", "") > 0.0;
        let retries = rate(name, "aguacero_consumer_archive_retries_total", "");
        let retries = retries.unwrap_or(0.0) > 0.0;
        let why = first(&[
            (is_away(name), reader.away),
            (is_not_ready(name), reader.not_ready),
            (stopped, "partition-stopped"),
            (nothing_polled, "nothing-read"),
        ]);
        edge("kafka", name, why, polled);
        let waits = still.is((name, "done"), retries && done.unwrap_or(0.0) == 0.0, now);
        edge(name, reader.store, first(&[(waits, reader.refuses)]), done);
    }

    let links = total("gateway", "aguacero_gateway_links", "to=\"redis-writer\"");
    let frames = rate("redis-writer", "aguacero_redis_writer_frames_total", "");
    let why = first(&[
        (is_away("redis-writer"), "redis-writer-away"),
        (!is_away("gateway") && links == 0.0, "not-connected"),
    ]);
    edge("gateway", "redis-writer", why, frames);
    let redis = total("redis-writer", "aguacero_redis_writer_redis_connected", "");
    let why = first(&[(!is_away("redis-writer") && redis == 0.0, "redis-away")]);
    edge("redis-writer", "redis", why, frames);
    let behind = worst("consumer", "aguacero_consumer_counters_behind_seconds");
    let settled = rate("consumer", "aguacero_consumer_settled_total", "");
    let why = first(&[(behind >= BEHIND_SECONDS, "counters-behind")]);
    edge("consumer", "redis", why, settled);
    edges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_while_stands_still_and_what_goes_on_does_not() {
        let (mut still, began) = (Still::default(), Instant::now());
        let after = |part: f64| began + STILL_AFTER.mul_f64(part);
        assert!(!still.is(("a", ""), true, after(0.0)));
        assert!(!still.is(("a", ""), false, after(0.5)));
        assert!(!still.is(("a", ""), true, after(0.5)));
        assert!(!still.is(("a", ""), true, after(1.0)));
        assert!(still.is(("a", ""), true, after(1.5)));
        assert!(!still.is(("b", ""), true, after(1.5)));
    }

    #[test]
    fn a_rate_is_what_was_added_a_second() {
        let at = |n: u32| Metrics::read(format!("a{{x=\"y\"}} {n}\n"));
        let rates = Rates::between(at(10), Duration::from_secs(2));
        assert_eq!(rates.of(&at(30), "a", ""), Some(10.0));
        assert_eq!(rates.of(&at(3), "a", ""), Some(0.0), "it was started again");
        assert_eq!(Rates::default().of(&at(3), "a", ""), None);
    }
}

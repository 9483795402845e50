//! Locust on everything beside Locust on bare hyper: the same locustfile, records and users. What it costs
//! itself is nearly all there is to see, so its processor time stands beside that of the servers.

use anyhow::ensure;
use benches::{
    locust::{Run, requests_of, run},
    plot::{Axes, Curve, Line},
};

use crate::{
    Effort,
    goal::{Figure, Goal, Wanted},
    sides::{Server, seconds_for_a_million},
};

/// Its goals.
pub(crate) const GOALS: &[Goal] = &[Goal {
    name: "locust: 10 users, everything on",
    measure: |_, effort| Box::pin(ten_users(effort)),
}];

/// Users of the sweep.
const USERS: [usize; 6] = [1, 10, 50, 100, 200, 500];

async fn ten_users(effort: Effort) -> anyhow::Result<Vec<Figure>> {
    let mut sides = Sides::start(effort).await?;
    let name = "requests/s / Locust on bare hyper";
    let mut rate = Figure::new(name, Wanted::AtLeast(0.9));
    let mut cpu = Figure::new("Locust's own CPU s for a million requests", Wanted::Known);
    let mut failures = Figure::new("failures in all rounds", Wanted::AtMost(0.0));
    let mut failed = 0;
    for _ in 0..effort.rounds {
        let [limit, run] = sides.turn(10).await?;
        rate.values.push(run.rate / limit.rate);
        rate.note = format!(
            "{} requests; {:.0} against {:.0}/s; p50 {:.1} against {:.1}, p99 {:.1} against {:.1} ms",
            sides.requests,
            run.rate,
            limit.rate,
            run.p50_ms,
            limit.p50_ms,
            run.p99_ms,
            limit.p99_ms
        );
        cpu.values.push(run.locust_seconds_for_a_million);
        cpu.note = format!(
            "gateway + kafka-producer + redis-writer + consumer {}; bare hyper {}",
            seconds_for_a_million(&run.cpu, sides.requests),
            seconds_for_a_million(&limit.cpu, sides.requests)
        );
        failed += run.failures;
        failures.note.push_str(&run.kinds);
    }
    failures.values.push(failed as f64);
    Ok(vec![rate, failures, cpu])
}

/// Throughput and latency over users.
pub(crate) async fn sweep(effort: Effort) -> anyhow::Result<[Curve; 2]> {
    let mut sides = Sides::start(effort).await?;
    let mut rates = ["Locust on bare hyper", "Locust on aguacero"].map(Line::new);
    let mut times = [
        "bare hyper p50",
        "bare hyper p99",
        "aguacero p50",
        "aguacero p99",
    ]
    .map(Line::new);
    let mut failures = 0;
    for users in USERS {
        let runs = sides.turn(users).await?;
        for (side, run) in runs.iter().enumerate() {
            let point = |y| (users as f64, y);
            rates[side].points.push(point(run.rate));
            times[2 * side].points.push(point(run.p50_ms * 1e3));
            times[2 * side + 1].points.push(point(run.p99_ms * 1e3));
        }
        failures += runs[1].failures;
    }
    rates[1].name.push_str(&format!(" ({failures} failures)"));
    let throughput = Curve {
        title: "Locust: throughput over users",
        over: "users",
        unit: "requests/s",
        axes: Axes::Factors,
        lines: rates.into(),
    };
    let latency = Curve {
        title: "Locust: latency over users",
        over: "users",
        unit: "µs",
        axes: Axes::Factors,
        lines: times.into(),
    };
    Ok([throughput, latency])
}

/// What takes turns.
struct Sides {
    bare: Server,
    ours: Server,
    /// Of each run.
    requests: u64,
    /// Answered 2xx by ours so far.
    accepted: u64,
}

impl Sides {
    async fn start(effort: Effort) -> anyhow::Result<Self> {
        Ok(Self {
            bare: Server::bare()?,
            ours: Server::everything().await?,
            requests: requests_of(effort),
            accepted: 0,
        })
    }

    /// A run on bare hyper, and one on ours until the last document, which must not cost the next run.
    async fn turn(&mut self, users: usize) -> anyhow::Result<[Run; 2]> {
        let limit = run(&self.bare, users, self.requests, &[])?;
        ensure!(limit.failures == 0, "bare hyper failed: {}", limit.kinds);
        let run = run(&self.ours, users, self.requests, &[])?;
        self.accepted += self.requests - run.failures;
        let pipeline = self.ours.pipeline()?;
        let collection = &pipeline.stream("weather").archive;
        let all = async || pipeline.archive.count(collection).await >= self.accepted;
        e2e::once("all that was accepted in MongoDB", all).await;
        Ok([limit, run])
    }
}

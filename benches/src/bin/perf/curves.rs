//! How ours and the limit go with the number of connections, with the rate, and with the batch.

use anyhow::Context as _;
use benches::{
    load::Pace,
    plot::{Axes, Curve, Line},
    stats::spread,
};

use crate::{
    Effort, locust,
    sides::{Events, Server},
};

/// Connections of the sweep; the gateway's default bound is 10,000 in all.
const CONNECTIONS: [usize; 5] = [1, 10, 100, 1_000, 9_900];
/// Events of a request.
const BATCHES: [usize; 5] = [1, 10, 100, 500, 1_000];
/// Shares of the greatest rate.
const SHARES: [f64; 3] = [0.1, 0.5, 0.8];
/// Of latency.
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

/// Every curve.
pub(crate) async fn all(events: &Events, effort: Effort) -> anyhow::Result<Vec<Curve>> {
    let (bare, ours) = (Server::bare()?, Server::durable().await);
    let mut curves = connections(events, effort, &bare, &ours)?;
    curves.push(rates(events, effort, &bare, &ours)?);
    curves.push(batches(events, effort, &ours)?);
    drop((bare, ours));
    curves.extend(locust::sweep(effort).await?);
    Ok(curves)
}

fn connections(
    events: &Events,
    effort: Effort,
    bare: &Server,
    ours: &Server,
) -> anyhow::Result<Vec<Curve>> {
    let mut rate = [Line::new("bare hyper"), Line::new("aguacero, durable")];
    let mut times = both_quantiles();
    for connections in CONNECTIONS {
        for (side, server) in [bare, ours].into_iter().enumerate() {
            let turn = server.turn(&events.singles, connections, effort)?;
            rate[side]
                .points
                .push((connections as f64, turn.outcome.rate()));
            for (n, (_, fraction)) in QUANTILES.into_iter().enumerate() {
                let time = turn.outcome.quantile_us(fraction);
                let line = &mut times[side * QUANTILES.len() + n];
                line.points.push((connections as f64, time));
            }
        }
    }
    let throughput = Curve {
        title: "throughput over connections",
        over: "connections",
        unit: "requests/s",
        axes: Axes::Factors,
        lines: rate.into(),
    };
    let latency = Curve {
        title: "latency over connections",
        over: "connections",
        unit: "µs",
        axes: Axes::Factors,
        lines: times,
    };
    Ok(vec![throughput, latency])
}

/// Latency at a fixed rate, counted from when each request was due. The greatest rate is measured anew in
/// each round, since a machine's pace changes; bare hyper at the same rates shows what the load itself adds.
fn rates(events: &Events, effort: Effort, bare: &Server, ours: &Server) -> anyhow::Result<Curve> {
    let mut measured = vec![Vec::new(); SHARES.len()];
    for _ in 0..effort.rounds.min(3) {
        let greatest = ours.turn(&events.singles, 100, effort)?.outcome.rate();
        for (share, measured) in SHARES.into_iter().zip(&mut measured) {
            let mut row = vec![greatest * share];
            for server in [bare, ours] {
                let pace = Pace::Rate(greatest * share);
                let turn = server.paced(&events.singles, 100, pace, effort)?;
                row.extend(QUANTILES.map(|(_, fraction)| turn.outcome.quantile_us(fraction)));
            }
            measured.push(row);
        }
    }
    let mut lines = both_quantiles();
    for rounds in measured {
        let median = |column: usize| {
            let values: Vec<f64> = rounds.iter().map(|row| row[column]).collect();
            spread(&values)[1]
        };
        for (n, line) in lines.iter_mut().enumerate() {
            line.points.push((median(0), median(n + 1)));
        }
    }
    Ok(Curve {
        title: "latency at 10, 50 and 80 % of the greatest rate",
        over: "requests/s",
        unit: "µs",
        axes: Axes::Factors,
        lines,
    })
}

/// A line for each quantile of bare hyper, then of ours.
fn both_quantiles() -> Vec<Line> {
    let of = |name| QUANTILES.map(|(quantile, _)| Line::new(format!("{name} {quantile}")));
    ["bare hyper", "aguacero"]
        .into_iter()
        .flat_map(of)
        .collect()
}

fn batches(events: &Events, effort: Effort, ours: &Server) -> anyhow::Result<Curve> {
    let mut rate = Line::new("aguacero, durable, 16 connections");
    for records in BATCHES {
        let turn = ours
            .turn(&events.batches(records), 16, effort)
            .with_context(|| format!("batches of {records}"))?;
        let point = (records as f64, turn.outcome.rate() * records as f64);
        rate.points.push(point);
    }
    Ok(Curve {
        title: "events over the size of NDJSON batches",
        over: "events of a request",
        unit: "events/s",
        axes: Axes::Factors,
        lines: vec![rate],
    })
}

//! The two clients of the kafka-producer beside each other: the project's own, and librdkafka.

use e2e::{Pipeline, Request, load::tweet};

use crate::{
    Effort,
    goal::{Figure, Goal, Wanted},
    sides::{self, Server},
};

/// Its goals.
pub(crate) const GOALS: &[Goal] = &[
    Goal {
        name: "clients: single events, 100 connections",
        measure: |events, effort| {
            Box::pin(async move {
                let wanted = [0.35, 1.5, 0.6];
                beside(&events.singles, (100, 1), wanted, effort).await
            })
        },
    },
    Goal {
        name: "clients: single events, 1 connection",
        measure: |events, effort| {
            Box::pin(async move {
                let wanted = [0.5, 1.0, 1.0];
                beside(&events.singles, (1, 1), wanted, effort).await
            })
        },
    },
    Goal {
        name: "clients: NDJSON of 500, 16 connections",
        measure: |events, effort| {
            Box::pin(async move {
                let wanted = [0.2, 1.0, 1.0];
                beside(&events.batches(500), (16, 500), wanted, effort).await
            })
        },
    },
    Goal {
        name: "clients: the kafka-producer is killed",
        measure: |_, effort| Box::pin(killed(effort)),
    },
];

/// Where the processes are among those that are counted.
const KAFKA_PRODUCER: usize = 1;
const KAFKA: usize = 2;

/// Engine against librdkafka: CPU of the kafka-producer for an event, requests for a second, CPU of the broker for an event,
/// of which so much is wanted.
async fn beside(
    requests: &[Vec<u8>],
    (connections, events): (usize, usize),
    [cpu, rate, broker]: [f64; 3],
    effort: Effort,
) -> anyhow::Result<Vec<Figure>> {
    let engine = Server::with_client("engine").await?;
    let librdkafka = Server::with_client("librdkafka").await?;
    let mut cpu = Figure::new(
        "kafka-producer's CPU: engine / librdkafka",
        Wanted::AtMost(cpu),
    );
    let mut rate = Figure::new("requests/s: the same", Wanted::AtLeast(rate));
    let mut broker = Figure::new("Kafka's CPU: the same", Wanted::AtMost(broker));
    for _ in 0..effort.rounds {
        let b = librdkafka.turn(requests, connections, effort)?;
        let a = engine.turn(requests, connections, effort)?;
        let each = |process| (a.seconds_of(process, events), b.seconds_of(process, events));
        for (figure, (a, b)) in [(&mut cpu, each(KAFKA_PRODUCER)), (&mut broker, each(KAFKA))] {
            figure.values.push(a / b);
            figure.note = format!("{a:.2} against {b:.2} CPU s/M");
        }
        rate.values.push(a.outcome.rate() / b.outcome.rate());
        rate.note = format!(
            "{:.0} against {:.0}/s; p50 {:.0} against {:.0}, p99 {:.0} against {:.0} µs",
            a.outcome.rate(),
            b.outcome.rate(),
            a.outcome.quantile_us(0.5),
            b.outcome.quantile_us(0.5),
            a.outcome.quantile_us(0.99),
            b.outcome.quantile_us(0.99)
        );
    }
    let slabs = [engine.slab_events().await?, librdkafka.slab_events().await?];
    cpu.note += &format!("; {:.1} and {:.1} events a slab", slabs[0], slabs[1]);
    Ok(vec![cpu, rate, broker])
}

/// From the kill of a kafka-producer that is started again at once to the first event that is answered 200, with either
/// client.
async fn killed(effort: Effort) -> anyhow::Result<Vec<Figure>> {
    let mut seconds = Figure::new("seconds to an answer, engine", Wanted::AtMost(0.3));
    let mut ratio = Figure::new("the same / librdkafka", Wanted::Known);
    let start = async |client: &str| {
        let pipeline = Pipeline::weather().with("kafka_producer.client", client);
        pipeline.into_kafka_only().start().await
    };
    let mut pipelines = [start("librdkafka").await, start("engine").await];
    for round in 0..effort.rounds {
        let mut took = [0.0; 2];
        for (pipeline, took) in pipelines.iter_mut().zip(&mut took) {
            let request = Request::json("/input", tweet(round));
            *took = sides::killed(pipeline, &request).await?;
        }
        seconds.values.push(took[1]);
        ratio.values.push(took[1] / took[0]);
        ratio.note = format!("{:.2} against {:.2} s", took[1], took[0]);
    }
    Ok(vec![seconds, ratio])
}

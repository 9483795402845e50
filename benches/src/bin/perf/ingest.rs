//! The way of an event to its answer: gateway and kafka-producer beside HTTP and Kafka alone.

use benches::{load, produce};

use crate::{
    Effort,
    goal::{Figure, Goal, Wanted, measured},
    peer::{self, Place},
    sides::{Events, Server},
};

/// Its goals.
pub(crate) const GOALS: &[Goal] = &[
    Goal {
        name: "null: gateway with a null producer, 100 connections",
        measure: |events, effort| Box::pin(null(events, effort)),
    },
    Goal {
        name: "durable: single events, 100 connections",
        measure: |events, effort| Box::pin(durable(events, effort)),
    },
    Goal {
        name: "ten: 10 clients, one event each",
        measure: |events, effort| Box::pin(ten(events, effort)),
    },
    Goal {
        name: "lone: 1 client",
        measure: |events, effort| Box::pin(lone(events, effort)),
    },
    Goal {
        name: "ndjson: batches of 500",
        measure: |events, effort| Box::pin(ndjson(events, effort)),
    },
    Goal {
        name: "wide: 10,000 connections",
        measure: |events, effort| Box::pin(wide(events, effort)),
    },
    Goal {
        name: "idle: memory of idle connections",
        measure: |events, effort| Box::pin(idle(events, effort)),
    },
];

async fn null(events: &Events, effort: Effort) -> anyhow::Result<Vec<Figure>> {
    let ours = Server::without_kafka().await?;
    let [cpu, _] = beside_bare(events, effort, &ours, 0.9)?; // a rate is only wanted with Kafka
    Ok(vec![cpu])
}

async fn durable(events: &Events, effort: Effort) -> anyhow::Result<Vec<Figure>> {
    let ours = Server::durable().await;
    let mut figures = beside_bare(events, effort, &ours, 0.7)?;
    let [_, rate] = &mut figures;
    rate.note += &format!("; {:.1} events a slab", ours.slab_events().await?);
    Ok(figures.into())
}

/// Requests for a CPU second, of which so many are wanted, and for a second.
fn beside_bare(
    events: &Events,
    effort: Effort,
    ours: &Server,
    wanted: f64,
) -> anyhow::Result<[Figure; 2]> {
    let bare = Server::bare()?;
    let name = "requests per CPU second / bare hyper";
    let mut cpu = Figure::new(name, Wanted::AtLeast(wanted));
    let mut rate = Figure::new("requests/s / bare hyper", Wanted::AtLeast(0.6));
    for _ in 0..effort.rounds {
        let limit = bare.turn(&events.singles, 100, effort)?;
        let turn = ours.turn(&events.singles, 100, effort)?;
        cpu.values
            .push(turn.per_cpu_second() / limit.per_cpu_second());
        rate.values.push(turn.outcome.rate() / limit.outcome.rate());
        cpu.note = format!(
            "{} against {} CPU s/M; {:.0} against {:.0}/s",
            turn.seconds_for_a_million(1),
            limit.seconds_for_a_million(1),
            turn.outcome.rate(),
            limit.outcome.rate()
        );
        rate.note = format!(
            "p50 {:.0}, p99 {:.0} µs",
            turn.outcome.quantile_us(0.5),
            turn.outcome.quantile_us(0.99)
        );
    }
    Ok([cpu, rate])
}

async fn ten(events: &Events, effort: Effort) -> anyhow::Result<Vec<Figure>> {
    let ours = Server::durable().await;
    let mut p50 = Figure::new("p50 / produce-and-await, 10 tasks", Wanted::AtMost(0.9));
    let mut p99 = Figure::new("p99 / the same", Wanted::AtMost(0.9));
    let mut cpu = Figure::new("CPU for an event / the same", Wanted::AtMost(0.9));
    let name = "p50 / krafka's produce-and-await, 10 tasks";
    let mut peer_p50 = Figure::new(name, Wanted::Known);
    let mut peer_cpu = Figure::new("CPU for an event / the same", Wanted::Known);
    let place = place(&ours)?;
    for _ in 0..effort.rounds {
        let limit = awaited(&place, events, 10, effort).await?;
        let peer = peer::awaited(&place, events, 10, effort).await?;
        let turn = ours.turn(&events.singles, 10, effort)?;
        let of = |fraction: f64| limit.times.value_at_quantile(fraction) as f64 / 1e3;
        p50.values.push(turn.outcome.quantile_us(0.5) / of(0.5));
        p50.note = format!(
            "{:.0} against {:.0} µs; {:.0} against {:.0}/s",
            turn.outcome.quantile_us(0.5),
            of(0.5),
            turn.outcome.rate(),
            limit.events as f64 / limit.elapsed.as_secs_f64()
        );
        p99.values.push(turn.outcome.quantile_us(0.99) / of(0.99));
        p99.note = format!(
            "{:.0} against {:.0} µs",
            turn.outcome.quantile_us(0.99),
            of(0.99)
        );
        let spent = turn.seconds_for_a_million(1);
        let limit = limit.seconds_for_a_million();
        cpu.values.push(1e6 / turn.per_cpu_second() / limit);
        cpu.note = format!("{spent} against {limit:.1} CPU s/M");
        if let Some(peer) = peer {
            let (us, of) = (turn.outcome.quantile_us(0.5), peer.p50_us());
            peer_p50.values.push(us / of);
            let rate = peer.events as f64 / peer.elapsed.as_secs_f64();
            peer_p50.note = format!("{us:.0} against {of:.0} µs; {rate:.0}/s of krafka");
            let of = peer.seconds_for_a_million();
            peer_cpu.values.push(1e6 / turn.per_cpu_second() / of);
            peer_cpu.note = format!("{spent} against {of:.1} CPU s/M");
        }
    }
    Ok(measured(vec![p50, p99, cpu, peer_p50, peer_cpu]))
}

async fn lone(events: &Events, effort: Effort) -> anyhow::Result<Vec<Figure>> {
    let (bare, ours) = (Server::bare()?, Server::durable().await);
    let name = "p50 / (produce-and-await, 1 task + bare hyper)";
    let mut p50 = Figure::new(name, Wanted::AtMost(1.25));
    let name = "p50 / (krafka's, 1 task + bare hyper)";
    let mut peer_p50 = Figure::new(name, Wanted::Known);
    let place = place(&ours)?;
    for _ in 0..effort.rounds {
        let http = bare.turn(&events.singles, 1, effort)?;
        let kafka = awaited(&place, events, 1, effort).await?;
        let peer = peer::awaited(&place, events, 1, effort).await?;
        let turn = ours.turn(&events.singles, 1, effort)?;
        let (http, turn) = (http.outcome.quantile_us(0.5), turn.outcome.quantile_us(0.5));
        for (figure, kafka) in [(&mut p50, Some(kafka)), (&mut peer_p50, peer)] {
            if let Some(kafka) = kafka.map(|kafka| kafka.p50_us()) {
                figure.values.push(turn / (http + kafka));
                figure.note = format!("{turn:.0} against {kafka:.0} + {http:.0} µs");
            }
        }
    }
    Ok(measured(vec![p50, peer_p50]))
}

async fn ndjson(events: &Events, effort: Effort) -> anyhow::Result<Vec<Figure>> {
    let ours = Server::durable().await;
    let batches = events.batches(500);
    let name = "events per CPU second / raw librdkafka";
    let mut cpu = Figure::new(name, Wanted::AtLeast(0.8));
    let mut peer_cpu = Figure::new("events per CPU second / raw krafka", Wanted::Known);
    let place = place(&ours)?;
    for _ in 0..effort.rounds {
        let n = (300_000.0 * effort.duration.as_secs_f64()) as u64;
        let (brokers, topic, partitions) = &place;
        let limit = produce::raw(brokers, topic, &events.plain, n, 500, *partitions)?;
        let peer = peer::raw(&place, events, n, 500).await?;
        let turn = ours.turn(&batches, 16, effort)?;
        for (figure, limit) in [(&mut cpu, Some(limit)), (&mut peer_cpu, peer)] {
            let Some(limit) = limit else { continue };
            anyhow::ensure!(limit.events == n, "{} of {n} acknowledged", limit.events);
            let limit_per_second = 1e6 / limit.seconds_for_a_million();
            figure
                .values
                .push(turn.per_cpu_second() * 500.0 / limit_per_second);
            figure.note = format!(
                "{} against {:.2} CPU s/M; {:.0} against {:.0} events/s",
                turn.seconds_for_a_million(500),
                limit.seconds_for_a_million(),
                turn.outcome.rate() * 500.0,
                limit.events as f64 / limit.elapsed.as_secs_f64()
            );
        }
    }
    Ok(measured(vec![cpu, peer_cpu]))
}

async fn wide(events: &Events, effort: Effort) -> anyhow::Result<Vec<Figure>> {
    let ours = Server::durable().await;
    let mut rate = Figure::new("requests/s / of 100 connections", Wanted::AtLeast(0.9));
    for _ in 0..effort.rounds {
        let few = ours.turn(&events.singles, 100, effort)?;
        let many = ours.turn(&events.singles, 9_900, effort)?;
        rate.values.push(many.outcome.rate() / few.outcome.rate());
        rate.note = format!(
            "{:.0} against {:.0}/s; p50 {:.0}, p99 {:.0} ms",
            many.outcome.rate(),
            few.outcome.rate(),
            many.outcome.quantile_us(0.5) / 1e3,
            many.outcome.quantile_us(0.99) / 1e3
        );
    }
    Ok(vec![rate])
}

/// Connections that have had an answer, and have been silent since.
async fn idle(events: &Events, effort: Effort) -> anyhow::Result<Vec<Figure>> {
    const CONNECTIONS: usize = 9_000;
    let name = "KiB of the gateway for each idle connection";
    let mut memory = Figure::new(name, Wanted::AtMost(8.0));
    for _ in 0..effort.rounds.min(3) {
        let ours = Server::durable().await;
        let gateway = &ours.pipeline()?.gateway;
        ours.turn(&events.singles, 10, effort)?;
        let before = gateway.memory();
        let open = load::once_each(ours.address, &events.singles, CONNECTIONS)?;
        let peak = gateway.memory();
        ours.asleep(CONNECTIONS).await?;
        let each = |now: u64| (now as f64 - before as f64) / CONNECTIONS as f64 / 1024.0;
        memory.values.push(each(gateway.memory()));
        memory.note = format!(
            "{} connections; {:.1} before they sleep",
            open.len(),
            each(peak)
        );
    }
    Ok(vec![memory])
}

async fn awaited(
    (brokers, topic, _): &Place,
    events: &Events,
    tasks: usize,
    effort: Effort,
) -> anyhow::Result<produce::Produced> {
    let (warm_up, duration) = (effort.warm_up, effort.duration);
    produce::awaited(brokers, topic, &events.plain, tasks, warm_up, duration).await
}

/// Where `ours` writes to.
fn place(ours: &Server) -> anyhow::Result<Place> {
    let pipeline = ours.pipeline()?;
    let topic = pipeline.config.topic_of(pipeline.stream("weather"));
    let brokers = pipeline.gateway.setting("kafka.brokers");
    Ok((brokers.to_owned(), topic.name.clone(), topic.partitions))
}

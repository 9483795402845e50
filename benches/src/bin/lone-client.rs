//! One client, one event at a time: what does the gateway cost beside its limits?
//!
//! Alternates rounds of three, in one run against one broker: a request to a bare hyper server,
//! produce-and-await in this process (idempotent, acks=all), and a request to the running gateway.
//! The figure is the gateway's p50 against the sum of the other two.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use benches::{
    bare::{self, Bare},
    client::Client,
    stats::{Times, spread},
};
use bytes::Bytes;
use clap::Parser;
use rdkafka::{
    ClientConfig,
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Arguments {
    /// Where the gateway takes events.
    #[arg(long, default_value = "127.0.0.1:8080")]
    gateway: SocketAddr,
    /// The gateway's broker.
    #[arg(long, env = "AGUACERO_KAFKA_BROKERS", default_value = "127.0.0.1:9092")]
    brokers: String,
    /// A topic of the same broker, for produce-and-await.
    #[arg(long, default_value = "messages")]
    topic: String,
    /// Rounds of each.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Events in a round.
    #[arg(long, default_value_t = 3000)]
    events: usize,
    /// Be the bare server: what the comparison starts by itself.
    #[arg(long, hide = true)]
    serve_bare: bool,
}

/// 111 bytes, as the events of the field are.
const EVENT: &str = r#"{"texto":"Llueve a cántaros en el centro y nadie trae paraguas, qué día tan gris amigos","país":"Argentina"}"#;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.serve_bare {
        return bare::serve();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(compare(arguments))
}

async fn compare(arguments: Arguments) -> anyhow::Result<()> {
    let event = Bytes::from_static(EVENT.as_bytes());
    let server = Bare::spawn("--serve-bare")?;
    let mut bare = Client::connect(server.address).await?;
    let mut gateway = Client::connect(arguments.gateway).await?;
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", &arguments.brokers)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "0")
        .set("socket.nagle.disable", "true")
        .create()?;

    let (mut ratios, mut rows) = (Vec::new(), Vec::new());
    println!(
        "{:>6}{:>12}{:>12}{:>12}{:>9}   p50, µs",
        "round", "bare hyper", "produce", "gateway", "ratio"
    );
    for round in 0..=arguments.rounds {
        let mut times = [const { Vec::new() }; 3];
        for _ in 0..arguments.events {
            times[0].push(timed(bare.post(event.clone())).await?);
            times[1].push(timed(produce(&producer, &arguments.topic)).await?);
            times[2].push(timed(gateway.post(event.clone())).await?);
        }
        let p50 = times.map(|t| Times::new(t).quantile_us(0.5));
        let ratio = p50[2] / (p50[0] + p50[1]);
        let note = if round == 0 {
            "   (warming up, not counted)"
        } else {
            ""
        };
        println!(
            "{round:>6}{:>12.0}{:>12.0}{:>12.0}{ratio:>9.2}{note}",
            p50[0], p50[1], p50[2]
        );
        if round > 0 {
            ratios.push(ratio);
            rows.push(p50);
        }
    }
    let median = |i: usize| spread(&rows.iter().map(|row| row[i]).collect::<Vec<_>>())[1];
    let [least, middle, most] = spread(&ratios);
    println!(
        "{:>6}{:>12.0}{:>12.0}{:>12.0}{middle:>9.2}",
        "median",
        median(0),
        median(1),
        median(2)
    );
    println!(
        "gateway against bare hyper + produce-and-await: {middle:.2} ({least:.2} to {most:.2})"
    );
    Ok(())
}

async fn timed(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<Duration> {
    let started = Instant::now();
    work.await?;
    Ok(started.elapsed())
}

/// Produces one event with a header as long as Aguacero's and waits for its acknowledgement.
async fn produce(producer: &FutureProducer, topic: &str) -> anyhow::Result<()> {
    let header = Header {
        key: "bench",
        value: Some(&[1_u8; 25]),
    };
    let record = FutureRecord::<(), _>::to(topic)
        .payload(EVENT)
        .headers(OwnedHeaders::new_with_capacity(1).insert(header));
    producer
        .send(record, Duration::from_secs(5))
        .await
        .map_err(|(error, _)| error)?;
    Ok(())
}

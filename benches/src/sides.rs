//! What takes turns: servers under the same load, and the producer in this process.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use e2e::{Builder, Pipeline, Process, Request, Services};

use crate::{
    bare::Bare,
    cpu::{self, Cpu},
    events,
    load::{self, Load, Outcome, Pace, Plan},
    null,
};

/// How each side is measured.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Turns of each.
    pub rounds: usize,
    /// Of a turn; not counted.
    pub warm_up: Duration,
    /// Of a turn; counted.
    pub duration: Duration,
}

impl Effort {
    /// So many turns of so many seconds, beside a warm-up of a third of it.
    #[must_use]
    pub fn of(rounds: usize, seconds: f64) -> Self {
        Self {
            rounds,
            warm_up: Duration::from_secs_f64(seconds / 3.0),
            duration: Duration::from_secs_f64(seconds),
        }
    }
}

/// Different events, and requests of them.
pub struct Events {
    /// As they are produced.
    pub plain: Arc<Vec<String>>,
    /// One in each request.
    pub singles: Vec<Vec<u8>>,
}

impl Events {
    /// The same in every run.
    #[must_use]
    pub fn generated() -> Self {
        let plain: Vec<_> = (0..5000).map(events::event).collect();
        let single = |event: &String| load::post("/input", "application/json", event.as_bytes());
        let singles = plain.iter().map(single).collect();
        let plain = Arc::new(plain);
        Self { plain, singles }
    }

    /// Requests of `records` events each.
    #[must_use]
    pub fn batches(&self, records: usize) -> Vec<Vec<u8>> {
        let batches = (0..self.plain.len() / records).map(|batch| {
            let body = events::ndjson((batch * records) as u64, records as u64);
            load::post("/input", "application/x-ndjson", &body)
        });
        batches.collect()
    }
}

/// A server, and the processes that make it up.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    pids: Vec<u32>,
    _bare: Option<Bare>,
    /// What is measured, if it is not the bare one.
    pipeline: Option<Pipeline>,
}

/// What a producer was given.
#[derive(Debug, Clone, Copy)]
pub struct Slabs {
    /// How many slabs.
    pub count: f64,
    /// In all of them.
    pub events: f64,
    /// Of these events, as they came.
    pub bytes: f64,
}

impl Slabs {
    /// What came since `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            count: self.count - before.count,
            events: self.events - before.events,
            bytes: self.bytes - before.bytes,
        }
    }
}

/// What a turn came to.
pub struct Turn {
    /// What the load has seen.
    pub outcome: Outcome,
    /// Of each process.
    pub cpu: Vec<Cpu>,
}

impl Turn {
    /// Requests answered 200 for a second of the processes' time.
    #[must_use]
    pub fn per_cpu_second(&self) -> f64 {
        let cpu: Duration = self.cpu.iter().map(|cpu| cpu.all()).sum();
        self.outcome.times.len() as f64 / cpu.as_secs_f64()
    }

    /// Processor seconds of one process, by its place in `cpu`, for a million events, so many in a request.
    #[must_use]
    pub fn seconds_of(&self, process: usize, events: usize) -> f64 {
        let millions = (self.outcome.times.len() * events as u64) as f64 / 1e6;
        self.cpu[process].all().as_secs_f64() / millions
    }

    /// The same of each process, and how many of them in its own code.
    #[must_use]
    pub fn seconds_for_a_million(&self, events: usize) -> String {
        seconds_for_a_million(&self.cpu, self.outcome.times.len() * events as u64)
    }
}

/// The same of `cpu`, which was spent on so many events.
#[must_use]
pub fn seconds_for_a_million(cpu: &[Cpu], events: u64) -> String {
    let millions = events as f64 / 1e6;
    let of = |cpu: &Cpu| {
        let [all, user] = [cpu.all(), cpu.user].map(|time| time.as_secs_f64() / millions);
        format!("{all:.2} ({user:.2} user)")
    };
    cpu.iter().map(of).collect::<Vec<_>>().join(" + ")
}

fn weather() -> Builder {
    from_one_address(Pipeline::weather())
}

/// All clients have one address here.
fn from_one_address(pipeline: Builder) -> Builder {
    pipeline.with("gateway.connections_per_address_max", 10_000)
}

impl Server {
    /// The limit of HTTP.
    pub fn bare() -> anyhow::Result<Self> {
        let bare = Bare::spawn("--serve-bare")?;
        Ok(Self {
            address: bare.address,
            pids: vec![bare.pid()],
            _bare: Some(bare),
            pipeline: None,
        })
    }

    /// A gateway whose kafka-producer stores nothing.
    pub async fn without_kafka() -> anyhow::Result<Self> {
        let mut pipeline = weather().into_kafka_only().prepare().await;
        let socket = pipeline.gateway.setting("kafka_producer.socket").to_owned();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(null::serve(socket.as_ref()))
        });
        pipeline.gateway.start_ready().await;
        Ok(Self::of(pipeline, |p| vec![&p.gateway]))
    }

    /// Gateway and kafka-producer.
    pub async fn durable() -> Self {
        let pipeline = weather().into_kafka_only().start().await;
        Self::of(pipeline, |p| vec![&p.gateway, &p.producer])
    }

    /// Gateway, kafka-producer with this client, and the broker.
    pub async fn with_client(client: &str) -> anyhow::Result<Self> {
        Self::into_kafka(weather().with("kafka_producer.client", client)).await
    }

    /// The same processes of any pipeline.
    pub async fn into_kafka(pipeline: Builder) -> anyhow::Result<Self> {
        let pipeline = from_one_address(pipeline).into_kafka_only().start().await;
        let mut server = Self::of(pipeline, |p| vec![&p.gateway, &p.producer]);
        server.pids.push(Services::pid("kafka")?);
        Ok(server)
    }

    /// All four processes, and the services behind them, in the order of `whole::PROCESSES`.
    pub async fn everything() -> anyhow::Result<Self> {
        let pipeline = weather().start().await;
        let mut server = Self::of(pipeline, |p| p.processes().collect());
        for service in ["mongodb", "redis", "kafka"] {
            server.pids.push(Services::pid(service)?);
        }
        Ok(server)
    }

    fn of(pipeline: Pipeline, counted: impl Fn(&Pipeline) -> Vec<&Process>) -> Self {
        Self {
            address: pipeline.address(),
            pids: counted(&pipeline).into_iter().map(Process::pid).collect(),
            _bare: None,
            pipeline: Some(pipeline),
        }
    }

    /// What is measured, if it is not the bare one.
    pub fn pipeline(&self) -> anyhow::Result<&Pipeline> {
        self.pipeline
            .as_ref()
            .context("a bare server has no pipeline")
    }

    /// A turn of so many connections, each with its next request as soon as it has its answer.
    pub fn turn(
        &self,
        requests: &[Vec<u8>],
        connections: usize,
        effort: Effort,
    ) -> anyhow::Result<Turn> {
        self.paced(requests, connections, Pace::Closed, effort)
    }

    /// A turn of so many connections, at a pace.
    pub fn paced(
        &self,
        requests: &[Vec<u8>],
        connections: usize,
        pace: Pace,
        effort: Effort,
    ) -> anyhow::Result<Turn> {
        let plan = Plan {
            requests,
            connections,
            pace,
            warm_up: effort.warm_up,
            duration: effort.duration,
        };
        let mut seen = Vec::new();
        let outcome = Load::connect(self.address, plan)?.run(|| seen.push(self.cpu()))?;
        anyhow::ensure!(
            outcome.others.is_empty(),
            "answers other than 200, by status: {:?}",
            outcome.others
        );
        let (before, after) = (seen.remove(0)?, seen.remove(0)?);
        let cpu = after.into_iter().zip(before).map(|(a, b)| a.since(b));
        Ok(Turn {
            outcome,
            cpu: cpu.collect(),
        })
    }

    /// Waits until so many connections have nothing but their sockets.
    pub async fn asleep(&self, connections: usize) -> anyhow::Result<()> {
        let gateway = &self.pipeline()?.gateway;
        let name = "aguacero_gateway_connections_asleep";
        let all = async || gateway.metric(name).await >= connections as f64;
        e2e::once("every connection asleep", all).await;
        Ok(())
    }

    /// Events of a slab, on average since the start.
    pub async fn slab_events(&self) -> anyhow::Result<f64> {
        let slabs = self.slabs().await?;
        Ok(slabs.events / slabs.count)
    }

    /// What the producer has been given since the start.
    pub async fn slabs(&self) -> anyhow::Result<Slabs> {
        let producer = &self.pipeline()?.producer;
        let of = async |name: &str| {
            producer
                .metric(&format!("aguacero_producer_slab_{name}"))
                .await
        };
        Ok(Slabs {
            count: of("records_count").await,
            events: of("records_sum").await,
            bytes: of("bytes_sum").await,
        })
    }

    /// What each process has had of the processors so far.
    pub fn cpu(&self) -> anyhow::Result<Vec<Cpu>> {
        self.pids.iter().map(|pid| cpu::of(*pid)).collect()
    }
}

/// A broker that has just been started compiles itself for half a minute of load.
///
/// # Errors
/// An answer other than 200.
pub fn warm_up_broker(server: &Server, requests: &[Vec<u8>]) -> anyhow::Result<()> {
    let effort = Effort {
        rounds: 1,
        warm_up: Duration::ZERO,
        duration: Duration::from_secs(10),
    };
    for connections in [10, 100, 1] {
        server.turn(requests, connections, effort)?;
    }
    Ok(())
}

/// Seconds from the kill of a producer that is started again at once to the first event that is answered 200.
///
/// # Errors
/// It was not answered 200 before.
pub async fn killed(pipeline: &mut Pipeline, request: &Request) -> anyhow::Result<f64> {
    let mut client = pipeline.client();
    let answer = client.answer(request).await;
    anyhow::ensure!(answer.status == 200, "{}", answer.status);
    let began = Instant::now();
    pipeline.producer.kill();
    pipeline.producer.start();
    while client.answer(request).await.status != 200 {}
    Ok(began.elapsed().as_secs_f64())
}

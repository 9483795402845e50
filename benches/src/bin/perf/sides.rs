//! What takes turns: servers under the same load, and the producer in this process.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use benches::{
    bare::Bare,
    cpu::{self, Cpu},
    events,
    load::{self, Load, Outcome, Pace, Plan},
    null,
};
use e2e::{Builder, Pipeline, Process, Services};

use crate::Effort;

/// Different events, and requests of them.
pub(crate) struct Events {
    /// As they are produced.
    pub(crate) plain: Arc<Vec<String>>,
    /// One in each request.
    pub(crate) singles: Vec<Vec<u8>>,
}

impl Events {
    pub(crate) fn new() -> Self {
        let plain: Vec<_> = (0..5000).map(events::event).collect();
        let single = |event: &String| load::post("/input", "application/json", event.as_bytes());
        let singles = plain.iter().map(single).collect();
        let plain = Arc::new(plain);
        Self { plain, singles }
    }

    /// Requests of `records` events each.
    pub(crate) fn batches(&self, records: usize) -> Vec<Vec<u8>> {
        let batches = (0..self.plain.len() / records).map(|batch| {
            let body = events::ndjson((batch * records) as u64, records as u64);
            load::post("/input", "application/x-ndjson", &body)
        });
        batches.collect()
    }
}

/// A server, and the processes that make it up.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pids: Vec<u32>,
    _bare: Option<Bare>,
    /// What is measured, if it is not the bare one.
    pipeline: Option<Pipeline>,
}

/// What a turn came to.
pub(crate) struct Turn {
    pub(crate) outcome: Outcome,
    /// Of each process.
    pub(crate) cpu: Vec<Cpu>,
}

impl Turn {
    /// Requests answered 200 for a second of the processes' time.
    pub(crate) fn per_cpu_second(&self) -> f64 {
        let cpu: Duration = self.cpu.iter().map(|cpu| cpu.all()).sum();
        self.outcome.times.len() as f64 / cpu.as_secs_f64()
    }

    /// Processor seconds of each process for a million events, so many in a request, and how many of them in
    /// its own code.
    pub(crate) fn seconds_for_a_million(&self, events: usize) -> String {
        seconds_for_a_million(&self.cpu, self.outcome.times.len() * events as u64)
    }
}

/// The same of `cpu`, which was spent on so many events.
pub(crate) fn seconds_for_a_million(cpu: &[Cpu], events: u64) -> String {
    let millions = events as f64 / 1e6;
    let of = |cpu: &Cpu| {
        let [all, user] = [cpu.all(), cpu.user].map(|time| time.as_secs_f64() / millions);
        format!("{all:.2} ({user:.2} user)")
    };
    cpu.iter().map(of).collect::<Vec<_>>().join(" + ")
}

/// All clients have one address here.
fn weather() -> Builder {
    Pipeline::weather().with("gateway.connections_per_address_max", 10_000)
}

impl Server {
    /// The limit of HTTP.
    pub(crate) fn bare() -> anyhow::Result<Self> {
        let bare = Bare::spawn("--serve-bare")?;
        Ok(Self {
            address: bare.address,
            pids: vec![bare.pid()],
            _bare: Some(bare),
            pipeline: None,
        })
    }

    /// A gateway whose kafka-producer stores nothing.
    pub(crate) async fn without_kafka() -> anyhow::Result<Self> {
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
    pub(crate) async fn durable() -> Self {
        let pipeline = weather().into_kafka_only().start().await;
        Self::of(pipeline, |p| vec![&p.gateway, &p.producer])
    }

    /// Gateway, kafka-producer with this client, and the broker.
    pub(crate) async fn with_client(client: &str) -> anyhow::Result<Self> {
        let pipeline = weather().with("kafka_producer.client", client);
        let pipeline = pipeline.into_kafka_only().start().await;
        let mut server = Self::of(pipeline, |p| vec![&p.gateway, &p.producer]);
        server.pids.push(Services::pid("kafka")?);
        Ok(server)
    }

    /// All four processes, and the services behind them, in the order of `whole::PROCESSES`.
    pub(crate) async fn everything() -> anyhow::Result<Self> {
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
    pub(crate) fn pipeline(&self) -> anyhow::Result<&Pipeline> {
        self.pipeline
            .as_ref()
            .context("a bare server has no pipeline")
    }

    /// A turn of so many connections, each with its next request as soon as it has its answer.
    pub(crate) fn turn(
        &self,
        requests: &[Vec<u8>],
        connections: usize,
        effort: Effort,
    ) -> anyhow::Result<Turn> {
        self.paced(requests, connections, Pace::Closed, effort)
    }

    /// A turn of so many connections, at a pace.
    pub(crate) fn paced(
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
    pub(crate) async fn asleep(&self, connections: usize) -> anyhow::Result<()> {
        let gateway = &self.pipeline()?.gateway;
        let name = "aguacero_gateway_connections_asleep";
        let all = async || gateway.metric(name).await >= connections as f64;
        e2e::once("every connection asleep", all).await;
        Ok(())
    }

    /// Events of a slab, on average since the start.
    pub(crate) async fn slab_events(&self) -> anyhow::Result<f64> {
        let kafka_producer = &self.pipeline()?.producer;
        let name = |part| format!("aguacero_producer_slab_records_{part}");
        let of = async |part| kafka_producer.metric(&name(part)).await;
        Ok(of("sum").await / of("count").await)
    }

    /// What each process has had of the processors so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<Vec<Cpu>> {
        self.pids.iter().map(|pid| cpu::of(*pid)).collect()
    }
}

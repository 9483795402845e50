//! Asks every process, all at once.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use aguacero::config::{Config, Via};
use futures_util::future::join_all;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    judge::{self, Rates, TABLES},
    prometheus::Metrics,
};
use crate::{
    fetch,
    metric::{self, From},
};

/// How long a process may take: less than the interval of the feed.
const TIMEOUT: Duration = Duration::from_millis(900);
/// Bytes of an answer.
const BYTES_MAX: usize = 8 << 20;
/// Lines of `/readyz` that are shown of one process, and characters of each.
const REASONS_MAX: usize = 8;
const REASON_CHARS: usize = 500;

/// A program, and where its processes are.
pub(super) struct Program {
    pub(super) name: &'static str,
    hosts: Vec<String>,
}

/// One process, as it has answered.
pub(super) struct Instance {
    pub(super) address: String,
    pub(super) state: State,
    /// What `/readyz` says beside `ready`, or why it did not answer.
    pub(super) reasons: Vec<String>,
    pub(super) metrics: Metrics,
    pub(super) rates: Rates,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Ready,
    NotReady,
    Away,
}

/// Asks for everybody.
pub struct Reader {
    config: Arc<Config>,
    programs: Vec<Program>,
    /// What each has told the last time, and when.
    last: HashMap<SocketAddr, (Instant, Metrics)>,
    /// Since when each place stands still.
    still: judge::Still,
}

impl Reader {
    /// Of the processes that the configuration has.
    #[must_use]
    pub fn new(config: Arc<Config>) -> Self {
        let hosts = |named: &str, own: SocketAddr| -> Vec<String> {
            match named.is_empty() {
                true => vec![reachable(own).to_string()],
                false => named
                    .split(',')
                    .map(|host| host.trim().to_owned())
                    .collect(),
            }
        };
        let console = &config.console;
        let mut programs = vec![Program {
            name: "gateway",
            hosts: hosts(&console.gateway_admin, config.gateway.admin),
        }];
        for via in config.vias() {
            let hosts = match via {
                Via::Grpc => hosts(&console.kafka_producer_admin, config.kafka_producer.admin),
                Via::Wasm => hosts(&console.wasm_producer_admin, config.wasm_producer.admin),
            };
            let name = via.process();
            programs.push(Program { name, hosts });
        }
        programs.push(Program {
            name: "redis-writer",
            hosts: hosts(&console.redis_writer_admin, config.redis_writer.admin),
        });
        programs.push(Program {
            name: "consumer",
            hosts: hosts(&console.consumer_admin, config.consumer.admin),
        });
        if config.streams.iter().any(|stream| stream.table.is_some()) {
            programs.push(Program {
                name: TABLES,
                hosts: hosts(&console.tables_admin, config.tables.admin),
            });
        }
        Self {
            config,
            programs,
            last: HashMap::new(),
            still: judge::Still::default(),
        }
    }

    /// All of them at this moment.
    pub async fn read(&mut self) -> Value {
        metric::read(From::Processes);
        let asked = join_all(self.programs.iter().map(ask)).await;
        let now = Instant::now();
        let mut last = HashMap::new();
        let mut all = Vec::new();
        for (program, answers) in self.programs.iter().zip(asked) {
            let mut instances = Vec::new();
            for (address, mut instance) in answers {
                if instance.state == State::Away {
                    metric::read_failed(From::Processes);
                } else if let Some(address) = address {
                    if let Some((then, before)) = self.last.get(&address) {
                        instance.rates = Rates::between(before.clone(), now - *then);
                    }
                    last.insert(address, (now, instance.metrics.clone()));
                }
                instances.push(instance);
            }
            all.push((program.name, instances));
        }
        self.last = last;
        judge::judge(&self.config, &all, &mut self.still, now)
    }
}

/// Where a process of this machine is reached that listens on all addresses.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip([127, 0, 0, 1].into());
    }
    address
}

async fn ask(program: &Program) -> Vec<(Option<SocketAddr>, Instance)> {
    let each = program.hosts.iter().map(async |host| {
        let found = tokio::time::timeout(TIMEOUT, fetch::addresses(host)).await;
        let why = match found {
            Ok(Ok(addresses)) => {
                return join_all(addresses.into_iter().map(ask_one)).await;
            }
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("{host}: no answer from DNS"),
        };
        vec![(None, away(host.clone(), why))]
    });
    join_all(each).await.into_iter().flatten().collect()
}

async fn ask_one(address: SocketAddr) -> (Option<SocketAddr>, Instance) {
    let (ready, metrics) = tokio::join!(
        fetch::get(address, "/readyz", TIMEOUT, BYTES_MAX),
        fetch::get(address, "/metrics", TIMEOUT, BYTES_MAX)
    );
    let instance = match (ready, metrics) {
        (Ok((status, words)), Ok((_, metrics))) => Instance {
            address: address.to_string(),
            state: match status {
                200 => State::Ready,
                _ => State::NotReady,
            },
            reasons: reasons(&words),
            metrics: Metrics::read(metrics),
            rates: Rates::default(),
        },
        (Err(error), _) | (_, Err(error)) => away(address.to_string(), format!("{error:#}")),
    };
    (Some(address), instance)
}

fn away(address: String, why: String) -> Instance {
    Instance {
        address,
        state: State::Away,
        reasons: vec![why],
        metrics: Metrics::default(),
        rates: Rates::default(),
    }
}

/// What `/readyz` says, without the word that all is well.
fn reasons(words: &str) -> Vec<String> {
    let lines = words.lines().filter(|line| *line != "ready");
    let lines = lines.map(|line| line.strip_prefix("but: ").unwrap_or(line));
    lines
        .take(REASONS_MAX)
        .map(|line| line.chars().take(REASON_CHARS).collect())
        .collect()
}

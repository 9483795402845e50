//! Build, then run: the module is verified before the sockets are bound, and compiled when Kafka is there.

use std::sync::Arc;

use aguacero::{config::Config, essential::essential, shutdown::Shutdown};
use kafka_producer::{App, Client, Known, Process, engine::Producer};
use tokio::sync::mpsc;

use crate::{machine::Guest, metric, module::Loader};

/// Serves until `shutdown`.
///
/// # Errors
/// What is missing in the configuration, a module that is not the declared one, a socket that cannot be bound.
pub async fn run(config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    let table = &config.wasm_producer;
    let loader = Loader::new(table)?;
    // Before it is read: what is changed from now on is noticed, whenever Kafka comes.
    let stamp = loader.stamp();
    let verified = loader.read()?;
    let process = Process {
        socket: table.socket.clone(),
        admin: table.admin,
        drain_timeout: table.drain_timeout,
    };
    let (sender, modules) = mpsc::unbounded_channel();
    let client = {
        let shutdown = shutdown.clone();
        async move |config: Arc<Config>, topics: Known| {
            metric::describe();
            let compiler = loader.clone();
            let compiling = tokio::task::spawn_blocking(move || compiler.compile(&verified));
            let module = Arc::new(compiling.await??);
            tracing::info!(sha256 = module.sha256, "the module is compiled");
            tokio::spawn(essential(
                "looking at the module",
                loader.watch(stamp, sender, shutdown),
            ));
            let guest = |beginning| Guest::new(module, modules, beginning);
            let producer = Producer::start(&config, topics, "aguacero-wasm-producer", guest);
            Ok(Arc::new(producer.await?) as Arc<dyn Client>)
        }
    };
    App::build(config, process)
        .await?
        .run(shutdown, client)
        .await
}

/// Whether the module can be run, for somebody who reads it.
#[must_use]
pub fn check(config: &Config) -> (String, bool) {
    let loaded = Loader::new(&config.wasm_producer).and_then(|loader| loader.load());
    match loaded {
        Ok(module) => (
            format!("the module\n  is the declared one: {}\n", module.sha256),
            true,
        ),
        Err(error) => (format!("the module\n  {error:#}\n"), false),
    }
}

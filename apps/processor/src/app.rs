//! The process around a processor: build, then run.

use std::{net::SocketAddr, sync::Arc};

use aguacero::{
    admin::Admin,
    cli::{self, ConfigFile},
    config::{Config, FilesOf},
    essential::essential,
    shutdown::{self, Shutdown},
    telemetry,
};
use consumer::{metric, process, sink::Sink, transaction::TransactionSink};
use tokio::{sync::watch, task::JoinSet};

use crate::{Apply, Declared, Follow, Follower, Pool, Tables, pool};

/// Connections to PostgreSQL beside those of the writers: of what a processor does on its own.
const CONNECTIONS_BESIDE: usize = 2;

/// What every processor is told on its command line.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    #[command(flatten)]
    file: ConfigFile,
    /// Where /healthz, /readyz and /metrics are; port 0 takes a free one
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "PROCESSOR_ADMIN",
        default_value = "127.0.0.1:0"
    )]
    pub admin: SocketAddr,
    /// The consumer group; `aguacero-` and the processor's name unless told. Another one begins at the beginning
    #[arg(long, value_name = "NAME", env = "PROCESSOR_GROUP")]
    pub group: Option<String>,
    /// This replica's own lasting name in the group
    #[arg(long, value_name = "NAME", env = "PROCESSOR_INSTANCE")]
    pub instance: Option<String>,
}

impl Options {
    /// Where the configuration is.
    #[must_use]
    pub fn file(&self) -> &ConfigFile {
        &self.file
    }

    /// The group of the processor called `name`.
    #[must_use]
    pub fn group_of(&self, name: &str) -> String {
        self.group
            .clone()
            .unwrap_or_else(|| format!("aguacero-{name}"))
    }
}

/// A processor whose admin port answers.
pub struct App {
    config: Arc<Config>,
    admin: SocketAddr,
    ready: watch::Sender<bool>,
    shutdown: Shutdown,
    /// The admin port; it ends with this.
    _serving: JoinSet<()>,
}

impl App {
    /// Reads the configuration and the `files` that it names, begins to log, listens for signals, and binds the admin
    /// port. `name` is the processor's; of the configuration, it gets the topics of `streams`.
    pub async fn build(
        name: &'static str,
        options: &Options,
        files: &[FilesOf],
        streams: &[&str],
    ) -> anyhow::Result<Self> {
        let config = cli::load_for(&options.file, files);
        telemetry::init(name);
        cli::warn(&config);
        Self::of(name, &config, options, streams, shutdown::on_signals()?).await
    }

    /// The same of a configuration that is read, and a shutdown that somebody else requests.
    pub async fn of(
        name: &'static str,
        config: &Config,
        options: &Options,
        streams: &[&str],
        shutdown: Shutdown,
    ) -> anyhow::Result<Self> {
        for stream in streams {
            Declared::stream(config, stream)?;
        }
        let mut config = config.narrowed(|stream| streams.contains(&stream.name.as_str()));
        config.consumer.group = options.group_of(name);
        config.consumer.instance.clone_from(&options.instance);
        config.consumer.admin = options.admin;
        let admin = Admin::bind(options.admin).await?;
        let address = admin.local_addr();
        tracing::info!(admin = %address, group = config.consumer.group, "listening");
        let (ready, is_ready) = watch::channel(false);
        let mut serving = JoinSet::new();
        let serve = admin.serve(is_ready, shutdown.clone());
        serving.spawn(essential("the admin port", serve));
        metric::describe(&config);
        Ok(Self {
            config: Arc::new(config),
            admin: address,
            ready,
            shutdown,
            _serving: serving,
        })
    }

    /// The configuration: the topics that are read, and all their streams.
    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Where the admin port listens.
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin
    }

    /// Tells when to stop.
    #[must_use]
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Runs a processor whose state lies in PostgreSQL: `tables` are made if they are missing, then each event changes
    /// the state exactly once. `make` is given connections for what the processor does beside, and may begin that.
    pub async fn exactly_once<A: Apply>(
        self,
        tables: &Tables,
        make: impl FnOnce(&Pool) -> anyhow::Result<A>,
    ) -> anyhow::Result<()> {
        let connections = self.config.consumer.writers + CONNECTIONS_BESIDE;
        let pool = pool(&self.config.postgres, connections)?;
        tokio::select! {
            made = tables.ensure(&pool, &self.config.postgres) => made?,
            () = self.shutdown.requested() => return Ok(()),
        }
        let apply = make(&pool)?;
        let sink = TransactionSink::new(self.config.clone(), pool, apply);
        self.run(sink).await
    }

    /// Runs a processor whose state lies in memory.
    pub async fn follow<F: Follow>(self, follow: Arc<F>) -> anyhow::Result<()> {
        let sink = Follower::new(self.config.clone(), follow);
        self.run(sink).await
    }

    async fn run<S: Sink>(self, sink: S) -> anyhow::Result<()> {
        let ready = self.ready.clone();
        let seen = move || _ = ready.send_replace(true);
        process::run(
            self.config.clone(),
            Arc::new(sink),
            seen,
            self.shutdown.clone(),
        )
        .await
    }
}

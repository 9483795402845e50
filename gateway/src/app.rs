//! Build, then run: the addresses are bound before anything is served, and the workers end together.

use std::{net::SocketAddr, sync::Arc, thread};

use aguacero::{
    admin::Admin,
    config::{Access, Config, Key, Stream, Via},
    essential::{essential, or_exit},
    shutdown::Shutdown,
};
use anyhow::Context as _;
use socket2::{Domain, Socket, Type};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use crate::{
    batch::budget::Budget,
    connection::{addresses::Addresses, descriptors, tls::Tls},
    metric,
    request::keys,
    worker,
};

/// Connections that wait to be accepted; with the 128 of the standard library, a thousand clients that
/// connect at once wait a second for their second attempt. The system's `somaxconn` bounds it.
const BACKLOG: i32 = 4096;

/// A gateway whose addresses are bound.
pub struct App {
    config: Arc<Config>,
    keys: Vec<Key>,
    admin: Admin,
    listener: std::net::TcpListener,
    tls: Option<Tls>,
}

impl App {
    /// Binds the public address and the admin port. `keys` are those of the configuration's file of keys.
    pub async fn build(config: Config, keys: Vec<Key>) -> anyhow::Result<Self> {
        metric::describe(&config);
        let tls = config.gateway.tls.as_ref().map(Tls::load).transpose()?;
        let admin = Admin::bind(config.gateway.admin).await?;
        let address = config.gateway.listen;
        let listener = listen(address)
            .with_context(|| format!("cannot listen on {address} (gateway.listen)"))?;
        Ok(Self {
            config: Arc::new(config),
            keys,
            admin,
            listener,
            tls,
        })
    }

    /// Where events come in.
    pub fn addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Where the admin port listens.
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin.local_addr()
    }

    /// Serves until `shutdown`, then answers what was accepted, within the drain's deadline.
    pub async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        let address = self.addr()?;
        let workers = self.config.gateway.workers;
        let tls = self.tls.as_ref().map(Tls::acceptor);
        tracing::info!(%address, tls = tls.is_some(), admin = %self.admin_addr(), workers, "listening");
        warn_of_open_streams(&self.config);
        descriptors::raise_limit(self.config.gateway.connections_max);

        let (key_set_sender, keys) = keys::Keys::new(self.keys);
        let watching = keys::watch_file(Arc::clone(&self.config), key_set_sender);
        tokio::spawn(essential("watching the file of keys", watching));

        let processes = self.config.vias().into_iter().map(Via::process);
        let (missing_sender, missing) = watch::channel(processes.collect::<Vec<_>>());
        let mut admin = JoinSet::new(); // ends with this function
        let serving = self.admin.serve_with(missing, shutdown.clone());
        admin.spawn(essential("the admin port", serving));
        if let Some(tls) = self.tls {
            tokio::spawn(essential("watching the certificate", tls.watch_files()));
        }
        let addresses = Arc::new(Addresses::new(&self.config.gateway));
        let budget = Budget::new(self.config.gateway.bytes_in_flight_max);

        let (welcomed, welcomes) = mpsc::channel(workers);
        let (ended_sender, mut ended) = mpsc::channel::<()>(1);
        let mut threads = Vec::new();
        for index in 0..workers {
            let worker = worker::Setup {
                config: Arc::clone(&self.config),
                listener: self.listener.try_clone()?,
                tls: tls.clone(),
                addresses: Arc::clone(&addresses),
                budget: budget.clone(),
                welcomed: welcomed.clone(),
                keys: keys.clone(),
                shutdown: shutdown.clone(),
            };
            let ended = ended_sender.clone();
            threads.push(
                thread::Builder::new()
                    .name(format!("worker-{index}"))
                    .spawn(move || {
                        let _ended = ended; // dropped when the thread ends, however it does
                        or_exit("a worker", || worker::run(worker))
                    })?,
            );
        }
        drop((ended_sender, welcomed, self.listener));
        tokio::spawn(count_welcomes(workers, welcomes, missing_sender));

        _ = ended.recv().await; // none: every worker has let go of its end
        for thread in threads {
            thread
                .join()
                .map_err(|_| anyhow::anyhow!("a worker panicked"))??;
        }
        Ok(())
    }
}

/// Takes a producer out of those that are missing when it has welcomed every worker.
async fn count_welcomes(
    workers: usize,
    mut welcomes: mpsc::Receiver<Via>,
    missing: watch::Sender<Vec<&'static str>>,
) {
    let mut counts = [0; Via::ALL.len()];
    while !missing.borrow().is_empty() {
        let Some(via) = welcomes.recv().await else {
            return; // the workers have ended
        };
        let count = &mut counts[via as usize];
        *count += 1;
        if *count == workers {
            tracing::info!("the {} has seen every topic", via.process());
            missing.send_modify(|missing| missing.retain(|process| *process != via.process()));
        }
    }
    tracing::info!("ready");
}

/// As the standard library does it, with room for more clients that connect at once.
fn listen(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn warn_of_open_streams(config: &Config) {
    let open = |stream: &&Stream| stream.access == Access::Open;
    for stream in config.streams.iter().filter(open) {
        for route in &stream.routes {
            tracing::warn!(
                stream = stream.name,
                path = route.path,
                "open: anyone may write"
            );
        }
    }
}

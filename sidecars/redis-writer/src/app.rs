//! Build, then run: the sockets are bound before anything is served.

use std::{io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use aguacero::{
    admin::Admin, config::Config, essential::essential, log_limiter, redis_check,
    shutdown::Shutdown, socket,
};
use tokio::{net::UnixListener, sync::watch, task::JoinSet};

use crate::{
    apply::{self, Applier},
    metric, session,
};

/// Open connections; a gateway has one for each of its workers. More wait in the listen queue.
const CONNECTIONS_MAX: usize = 256;

/// A redis-writer whose sockets are bound.
pub struct App {
    config: Arc<Config>,
    admin: Admin,
    listener: UnixListener,
}

impl App {
    /// Binds the Unix socket and the admin port.
    pub async fn build(config: Config) -> anyhow::Result<Self> {
        let admin = Admin::bind(config.redis_writer.admin).await?;
        let listener = socket::listen(&config.redis_writer.socket).await?;
        Ok(Self {
            config: Arc::new(config),
            admin,
            listener,
        })
    }

    /// Where the gateway connects to.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.config.redis_writer.socket
    }

    /// Where the admin port listens.
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin.local_addr()
    }

    /// Serves until `shutdown`, then applies and acknowledges what was read, within the deadline. An error if Redis is
    /// of a kind that nothing can be counted in.
    pub async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        metric::describe();
        let (ready_sender, ready) = watch::channel(false);
        let mut admin = JoinSet::new(); // ends with this function
        let serving = self.admin.serve(ready, shutdown.clone());
        admin.spawn(essential("the admin port", serving));
        tracing::info!(socket = %self.config.redis_writer.socket.display(), "serving");

        // The queue ends, and with it the applier, when the last session has let go of it.
        let (queue, waiting) = apply::queue();
        let applier = Applier::new(Arc::clone(&self.config), ready_sender);
        let context = session::Context::new(Arc::clone(&self.config), queue, shutdown.clone());
        let serving = async {
            tokio::join!(accept(self.listener, context), applier.run(waiting));
        };
        let redis = self.config.redis.clone();
        let refusal = async {
            match redis_check::unsupported(&redis).await {
                Some(why) => why,
                None => match redis_check::watch(&redis, metric::REDIS_PROBLEM).await {},
            }
        };
        let deadline = async {
            shutdown.requested().await;
            tokio::time::sleep(self.config.redis_writer.drain_timeout).await;
        };
        tokio::select! {
            () = serving => {}
            why = refusal => anyhow::bail!("Redis at {}: {why}", redis.address()),
            () = deadline => tracing::warn!(
                "not every frame was applied before the drain timeout: the gateway repeats them, or the consumer settles them"
            ),
        }
        Ok(())
    }
}

/// Accepts connections until the shutdown, and returns when the last one has ended.
async fn accept(listener: UnixListener, context: session::Context) {
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            () = context.shutdown.requested() => break,
            Some(ended) = sessions.join_next() => report(ended),
            accepted = listener.accept(), if sessions.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => _ = sessions.spawn(session::serve(stream, context.clone())),
                Err(error) => {
                    log_limiter::repeated("connections cannot be accepted", "", &error);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    close(listener, &context.config.redis_writer.socket);
    drop(context);
    while let Some(ended) = sessions.join_next().await {
        report(ended);
    }
}

/// Takes the socket's file away while we still answer on it: nobody can have replaced it yet.
fn close(listener: UnixListener, path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "removing the socket");
    }
    drop(listener);
}

/// A panic ends its connection and no other.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        log_limiter::repeated("a session failed: this is a bug", "", &error);
    }
}

//! Build, then run: the sockets are bound before anything is asked of anybody.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use aguacero::{admin::Admin, config::Config, essential::essential, shutdown::Shutdown};
use anyhow::Context as _;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

use crate::{
    feed, letters, live, log, metric,
    mongo::Mongo,
    pipeline,
    web::{Site, serve},
};

/// A console whose sockets are bound.
pub struct App {
    config: Arc<Config>,
    admin: Admin,
    listener: TcpListener,
}

impl App {
    /// Binds the public address and the admin port. `port` is that of the environment, as Cloud Run sets it.
    pub async fn build(config: Config, port: Option<&str>) -> anyhow::Result<Self> {
        let admin = Admin::bind(config.console.admin).await?;
        let listen = listen(config.console.listen, port)?;
        let listener = TcpListener::bind(listen).await;
        let listener = listener.with_context(|| format!("{listen} (console.listen)"))?;
        Ok(Self {
            config: Arc::new(config),
            admin,
            listener,
        })
    }

    /// Where browsers connect.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown`. Stores that are away are no reason not to.
    pub async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        metric::describe();
        let mongo = Mongo::new(self.config.clone()).await.context("MongoDB")?;
        let (_ready, ready) = watch::channel(true);
        let mut tasks = JoinSet::new(); // end with this function
        let address = self.local_addr()?;
        let serving = self.admin.serve(ready, shutdown.clone());
        tasks.spawn(essential("the admin port", serving));
        let site = Arc::new(Site::new(
            self.config.clone(),
            mongo,
            address.ip().is_loopback(),
        ));
        fill(&site, &mut tasks);
        tracing::info!(%address, "serving");
        serve(self.listener, site, shutdown).await;
        Ok(())
    }
}

/// Starts whoever reads for everybody.
fn fill(site: &Site, tasks: &mut JoinSet<()>) {
    let (config, mongo) = (&site.config, &site.mongo);
    let mut reader = live::Reader::new(config.clone(), mongo.clone(), site.history.clone());
    let filling = site.live.clone();
    let filling = filling.fill(feed::INTERVAL, async move || reader.read().await);
    tasks.spawn(essential("reading the counters", filling));
    for (stream, feed) in site.logs.iter().enumerate() {
        let mut reader = log::Reader::new(config.clone(), stream, mongo.clone());
        let filling = feed.clone();
        let filling = filling.fill(feed::INTERVAL, async move || reader.read().await);
        tasks.spawn(essential("reading the log", filling));
    }
    let mut reader = pipeline::Reader::new(config.clone());
    let filling = site.pipeline.clone();
    let filling = filling.fill(feed::INTERVAL, async move || reader.read().await);
    tasks.spawn(essential("asking the processes", filling));
    let (config, mongo) = (config.clone(), mongo.clone());
    let filling = site.letters.clone();
    let filling = filling.fill(letters::INTERVAL, async move || {
        letters::read(&config, &mongo).await
    });
    tasks.spawn(essential("reading the dead letters", filling));
}

/// Where to listen.
fn listen(configured: SocketAddr, port: Option<&str>) -> anyhow::Result<SocketAddr> {
    match port.filter(|port| !port.is_empty()) {
        None => Ok(configured),
        Some(port) => {
            let number = port.parse::<u16>();
            let number = number.with_context(|| format!("PORT is {port:?}, and no port"))?;
            Ok((Ipv4Addr::UNSPECIFIED, number).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_s_port_replaces_the_address() {
        let configured = SocketAddr::from(([127, 0, 0, 1], 8090));
        for (port, address) in [
            (None, "127.0.0.1:8090"),
            (Some(""), "127.0.0.1:8090"),
            (Some("8080"), "0.0.0.0:8080"),
        ] {
            let found = listen(configured, port).expect("an address");
            assert_eq!(found.to_string(), address);
        }
        assert!(listen(configured, Some("http")).is_err());
    }
}

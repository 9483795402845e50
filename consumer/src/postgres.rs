//! Connections to PostgreSQL.

use std::{str::FromStr as _, time::Duration};

use aguacero::config::Postgres;
use anyhow::Context as _;
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use tokio_postgres::{NoTls, config::SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What was sent and is not confirmed for so long breaks the connection (`TCP_USER_TIMEOUT`): a server behind a cut line.
const UNCONFIRMED_MAX: Duration = Duration::from_secs(30);
/// A line on which nothing comes is asked about after so long, and as often: a server whose machine is gone confirms nothing.
const QUIET_MAX: Duration = Duration::from_secs(10);
/// What the server lists as the connection's purpose.
const APPLICATION: &str = "aguacero";

/// At most `connections` at a time, each made when it is needed. The password is read now.
pub fn pool(postgres: &Postgres, connections: usize) -> anyhow::Result<Pool> {
    // Nothing of the URL is told, which may hold a password.
    let mut config = tokio_postgres::Config::from_str(&postgres.url)
        .map_err(|_| anyhow::anyhow!("postgres.url cannot be read"))?;
    config
        .application_name(APPLICATION)
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_user_timeout(UNCONFIRMED_MAX)
        .keepalives_idle(QUIET_MAX)
        .keepalives_interval(QUIET_MAX)
        .keepalives_retries(3);
    if let Some(username) = &postgres.username {
        config.user(username);
    }
    if let Some(credentials) = &postgres.credentials {
        config.password(credentials.password()?.expose());
    }
    let recycling = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    let manager = match &postgres.tls {
        None => {
            config.ssl_mode(SslMode::Disable);
            Manager::from_config(config, NoTls, recycling)
        }
        Some(tls) => {
            config.ssl_mode(SslMode::Require);
            let tls = tls.client_config().context("the files of [postgres]")?;
            Manager::from_config(config, MakeRustlsConnect::new(tls), recycling)
        }
    };
    let pool = Pool::builder(manager).max_size(connections).build();
    pool.context("PostgreSQL")
}

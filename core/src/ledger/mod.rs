//! Counters in Redis that are live and exact.
//!
//! The redis-writer adds the deltas of a receipt within milliseconds ([`live()`]). The consumer, once
//! it has archived a range of offsets, replaces what the redis-writer added for that range by what the
//! archive holds ([`settle()`]). For each stream and each [`Position`] Redis keeps a *watermark* (the
//! last settled offset, or none) and the *pending* entries (what was added and is not settled yet), so
//! that at any moment
//!
//! > shown = settled + pending
//!
//! and whoever was killed in between, the next settle comes out at the archive's figures. A stream's
//! ledger is changed by three Lua scripts alone: `live.lua`, `settle.lua` and `clear.lua`. Each runs
//! whole or not at all, may be repeated, changes nothing for a caller whose counters are declared
//! differently from those that are shown ([`LedgerError::Fingerprint`]), and is bounded, since Redis does
//! nothing else meanwhile: a large frame or settle is several calls.
//!
//! The counters are a view of the archive, and Redis may lose any part of it. What `meta` says of the other
//! keys shows when one of them is not as the scripts left it ([`look()`], and [`check()`] for the figures of
//! each key). Then nothing is settled any more, and somebody begins again from the archive ([`clear()`]).
//!
//! # Keys
//! All keys of a stream begin with its hash tag, so that a cluster keeps them in one slot; the scripts
//! are given only the tag (`KEYS[1]`) and derive the rest. For a stream `weather`:
//!
//! | key | type | holds |
//! |---|---|---|
//! | `{weather}:total` | hash | `events` |
//! | `{weather}:NAME` | hash | for the counter NAME: key → number, and nothing of ours |
//! | `{weather}:settled:NAME` | set | the keys of NAME that are settled by name |
//! | `{weather}:overflow` | hash | NAME → what its keys count that have no field of their own |
//! | `{weather}:watermark` | hash | `incarnation/partition` → offset |
//! | `{weather}:settled` | hash | `incarnation/partition` → events that are settled |
//! | `{weather}:pending` | hash | `incarnation/partition` → its pending entries |
//! | `{weather}:pending:incarnation/partition` | sorted set | entries by last offset; a member is unique by (run, sequence, index) and carries what was added for it (MessagePack) |
//! | `{weather}:run:RUN` | string | the highest sequence seen of a gateway's run; expires after a day |
//! | `{weather}:meta` | hash | `counters`: fingerprint of their declaration; `format`: 2; `generation`: of this count; `origin`: the archive that is counted; `recount`: why to count anew; `changes`: how often it was changed; and of the other keys `events`, `positions`, `pending`, `fields:NAME`, `owners:NAME` (how many) and `check:NAME` (a checksum) |
//!
//! The configuration therefore refuses a counter by one of these names. No field of the figures stays
//! at zero.
//!
//! # Distinct keys
//! What is settled has the first right to a counter's names: the first `max_distinct` keys that are
//! settled have a field of their own for good, the others count as overflow for good. What was live
//! before changes nothing about it, so a counter whose keys are all settled shows by name as many as
//! the archive has, up to `max_distinct`, and each with its whole figure.
//!
//! A key that is only pending has a field if it is there already, or if the counter has fewer than
//! `max_distinct` fields; otherwise it counts as overflow. This is decided inside the scripts, and
//! pending stores what was decided, so that each entry is taken out from where it was placed. Until
//! then there may be up to twice `max_distinct` fields, and what is pending of a key may be in both
//! places. A field that comes to zero is removed.

mod check;
mod clear;
mod live;
mod look;
mod pack;
mod script;
mod settle;
mod shown;

use std::{fmt, time::Duration};

use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ErrorKind, IntoConnectionInfo as _, ServerErrorKind,
    TlsCertificates, aio::MultiplexedConnection,
};

pub use check::check;
pub use clear::clear;
pub use live::{Applied, Part, live};
pub use look::{Look, Standing, look, want_recount};
pub use settle::{Settled, settle};
pub use shown::{Shown, shown};

use crate::{
    config::{AccessError, Redis, read},
    counts::Deltas,
};

/// A watermark here closes the ledger of a topic that no longer exists: it is settled to the end of
/// time, and live entries that come late are ignored. It is also the highest offset there can be,
/// since Lua's numbers are exact only so far.
pub const END: i64 = (1 << 53) - 1;

/// What a ledger belongs to: a partition of one incarnation of a topic. A topic that is deleted and
/// made again begins new ledgers; what the old ones settled stays shown.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// Kafka's id of the topic, as its tools print it.
    pub incarnation: String,
    /// Number of the partition.
    pub partition: i32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.incarnation, self.partition)
    }
}

impl Position {
    /// Reads what `Display` writes.
    fn parse(text: &str) -> Option<Self> {
        let (incarnation, partition) = text.rsplit_once('/')?;
        Some(Self {
            incarnation: incarnation.to_owned(),
            partition: partition.parse().ok()?,
        })
    }
}

/// What one or more receipts add to a stream's counters: of records between two offsets, though not
/// necessarily of all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where the records are.
    pub position: Position,
    /// Lowest offset of the counted records.
    pub first: i64,
    /// Highest offset of the counted records, at most [`END`].
    pub last: i64,
    /// What they add.
    pub deltas: Deltas,
}

/// Why the ledger did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Redis shows the counters of another declaration. Nothing was changed.
    #[error(
        "Redis shows stream {stream} with counters declared as {found}, while they are declared as {ours} \
         here: let every process read the same file, then `consumer rebuild {stream}`"
    )]
    Fingerprint {
        /// The stream.
        stream: String,
        /// Of the counters that are shown.
        found: String,
        /// Of the counters that the caller was started with.
        ours: String,
    },
    /// A settle from `from` to `to`, which do not rise or lie beyond [`END`]. Nothing was sent.
    #[error("cannot settle from {from:?} to {to}")]
    Range {
        /// Where it should begin.
        from: Option<i64>,
        /// Where it should end.
        to: i64,
    },
    /// A file with the password or a certificate is not as it should be: perhaps it is just being changed.
    #[error("Redis: the file {0}")]
    Access(#[from] AccessError),
    /// Redis did not answer, or answered with an error.
    #[error("Redis: {0}")]
    Redis(#[from] redis::RedisError),
}

impl LedgerError {
    /// Whether the same call can succeed later, with a new connection if need be: Redis is away, full,
    /// loading, read-only. Repeating is always harmless; after the other errors it is also in vain.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Fingerprint { .. } | Self::Range { .. } => false,
            Self::Access(_) => true,
            Self::Redis(error) => match error.kind() {
                // Of a script that met what it cannot work on: a hash that someone else has written to.
                ErrorKind::UnexpectedReturnType => false,
                ErrorKind::Extension => error.code() != Some("WRONGTYPE"),
                // Redis 6 wraps whatever a script ran into.
                ErrorKind::Server(ServerErrorKind::ResponseError) => {
                    let detail = error.detail().unwrap_or_default();
                    ["-OOM", "-READONLY", "-MISCONF"]
                        .iter()
                        .any(|code| detail.contains(code))
                }
                _ => true,
            },
        }
    }
}

/// A connection of whoever keeps a ledger. redis-rs' own response timeout of 500 ms is too short for
/// a Redis that saves or settles; since every call may be repeated, a longer one loses nothing.
pub async fn connect(
    redis: &Redis,
    response_timeout: Duration,
) -> Result<MultiplexedConnection, LedgerError> {
    let config = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(response_timeout))
        .set_response_timeout(Some(response_timeout));
    Ok(client(redis)?
        .get_multiplexed_async_connection_with_config(&config)
        .await?)
}

/// A client with the password and the certificates that the files have now.
pub fn client(redis: &Redis) -> Result<Client, LedgerError> {
    let mut info = redis.url.as_str().into_connection_info()?;
    if let Some(credentials) = &redis.credentials {
        let password = credentials.password()?;
        let mut settings = info
            .redis_settings()
            .clone()
            .set_password(password.expose());
        if let Some(username) = &credentials.username {
            settings = settings.set_username(username);
        }
        info = info.set_redis_settings(settings);
    }
    if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
        return Ok(Client::open(info)?);
    }
    // Another part of the process may have chosen already, which is as good.
    _ = rustls::crypto::ring::default_provider().install_default();
    let tls = redis.tls.clone().unwrap_or_default();
    let root_cert = tls.ca.as_deref().map(read).transpose()?;
    let client_tls = tls.identity.map(|identity| {
        Ok::<_, AccessError>(ClientTlsConfig {
            client_cert: read(&identity.certificate)?,
            client_key: read(&identity.key)?,
        })
    });
    let certificates = TlsCertificates {
        client_tls: client_tls.transpose()?,
        root_cert,
    };
    Ok(Client::build_with_tls(info, certificates)?)
}

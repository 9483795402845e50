//! Frames of deltas as a gateway makes them, and the gateway's end of a connection to a redis-writer.

use std::{
    future::Future,
    mem,
    path::Path,
    time::{Duration, Instant},
};

use aguacero_proto::deltas::{
    DeltaFrame, DeltaHello, Entry, FromRedisWriter, PROTOCOL, ToRedisWriter, from_redis_writer,
    to_redis_writer,
};
use anyhow::{Context as _, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use gateway::stages::Stages;
use prost::Message as _;
use tokio::{net::UnixStream, task::JoinSet};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use crate::{events, stages};

/// Slabs whose receipts come between two frames, each of the next partition: some 2 ms apart, in 10 ms.
const SLABS: u64 = 6;
/// Frames of a sender after which a consumer would have settled them: half of `redis_writer.pending_max`.
const SETTLED_AFTER: u64 = 500;

/// A frame that is sent again and again, under the next number each time.
#[derive(Clone)]
pub struct Frame {
    frame: DeltaFrame,
    sender: usize,
}

impl Frame {
    /// What a gateway coalesces of `events` tweets that were stored between two frames.
    pub fn of(events: u64) -> anyhow::Result<Self> {
        let mut worker = Stages::new(stages::config()?);
        let (tweets, mut stored) = (events::tweets(), 0);
        for slab in 1..=SLABS {
            let body: Vec<_> = (stored..events * slab / SLABS)
                .map(|n| tweets[n as usize % tweets.len()].as_str())
                .collect();
            stored += body.len() as u64;
            for request in body.chunks(1_000) {
                worker.take(request.join("\n").as_bytes());
            }
            while !worker.frame().is_empty() {}
        }
        let frame = Self {
            frame: DeltaFrame::decode(&worker.deltas()[..])?,
            sender: 0,
        };
        let counted = frame.events();
        ensure!(counted == events, "{counted} of {events} events counted");
        Ok(frame)
    }

    /// The same frame of another gateway's worker.
    #[must_use]
    pub fn from_sender(&self, sender: usize) -> Self {
        let frame = self.frame.clone();
        Self { frame, sender }
    }

    /// Names the sender.
    #[must_use]
    pub fn run(&self) -> [u8; 16] {
        (self.sender as u128).to_be_bytes()
    }

    /// Events that it counts.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.entries().map(|entry| entry.events).sum()
    }

    /// What it adds, each by one HINCRBY: for a place the hash's name, the field and the number.
    pub fn increments(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        self.entries().flat_map(|entry| {
            let counters = entry.counters.iter().flat_map(|counter| {
                let counts = counter.keys.iter().zip(&counter.counts);
                counts.map(|(key, n)| (counter.counter.as_str(), key.as_str(), *n))
            });
            std::iter::once(("total", "events", entry.events)).chain(counters)
        })
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.frame.streams.iter().flat_map(|s| &s.entries)
    }

    /// Its next number, and the incarnation that its places have there. It is another one after each
    /// [`SETTLED_AFTER`] frames, so that Redis has as few pending entries as beside a consumer that keeps up.
    pub fn renumber(&mut self) -> (u64, String) {
        self.frame.sequence += 1;
        let settled = self.frame.sequence / SETTLED_AFTER;
        let incarnation = format!("{:09}-{settled:012}", self.sender); // as long as Kafka's
        (self.frame.sequence, incarnation)
    }

    /// The next message.
    pub fn message(&mut self) -> Vec<u8> {
        let (_, incarnation) = self.renumber();
        for entry in self.frame.streams.iter_mut().flat_map(|s| &mut s.entries) {
            entry.incarnation.clone_from(&incarnation);
        }
        let frame = to_redis_writer::Kind::Frame(mem::take(&mut self.frame));
        let message = ToRedisWriter { kind: Some(frame) };
        let bytes = message.encode_to_vec();
        if let Some(to_redis_writer::Kind::Frame(frame)) = message.kind {
            self.frame = frame;
        }
        bytes
    }
}

/// Something that frames are applied by.
pub trait Target: Send + 'static {
    /// Applies the next frame, and waits until that is acknowledged.
    fn apply(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Keeps all `targets` busy for `duration`, side by side. Returns the frames that they applied, and the time
/// until the last one was.
pub async fn apply_all<T: Target>(
    targets: Vec<T>,
    duration: Duration,
) -> anyhow::Result<(u64, Duration)> {
    let (began, mut running, mut frames) = (Instant::now(), JoinSet::new(), 0);
    for mut target in targets {
        running.spawn(async move {
            let mut applied = 0_u64;
            while began.elapsed() < duration {
                target.apply().await?;
                applied += 1;
            }
            anyhow::Ok(applied)
        });
    }
    while let Some(applied) = running.join_next().await {
        frames += applied??;
    }
    Ok((frames, began.elapsed()))
}

/// A gateway's worker: one connection to the redis-writer, one frame at a time on it.
pub struct Session {
    socket: WebSocketStream<UnixStream>,
    frame: Frame,
}

impl Session {
    /// Connects to the redis-writer at `path`.
    pub async fn open(path: &Path, frame: Frame) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(path).await;
        let stream = stream.with_context(|| format!("the redis-writer at {}", path.display()))?;
        let (mut socket, _) = client_async("ws://redis-writer/", stream).await?;
        let hello = to_redis_writer::Kind::Hello(DeltaHello {
            protocol: PROTOCOL,
            run: frame.run().to_vec().into(),
            config_fingerprint: stages::config()?.fingerprint,
        });
        let hello = ToRedisWriter { kind: Some(hello) };
        let hello = Message::Binary(hello.encode_to_vec().into());
        socket.send(hello).await?;
        Ok(Self { socket, frame })
    }
}

impl Target for Session {
    async fn apply(&mut self) -> anyhow::Result<()> {
        let message = self.frame.message();
        self.socket.send(Message::Binary(message.into())).await?;
        loop {
            let message = self.socket.next().await;
            let message = message.context("the redis-writer closed the connection")??;
            let answer = FromRedisWriter::decode(message.into_data())?;
            let Some(from_redis_writer::Kind::Ack(ack)) = answer.kind else {
                continue; // the welcome
            };
            ensure!(ack.problems.is_empty(), "it refused: {:?}", ack.problems);
            if ack.sequence >= self.frame.frame.sequence {
                return Ok(());
            }
        }
    }
}

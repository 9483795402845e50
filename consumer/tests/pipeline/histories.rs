//! Random histories, as the ledger's model has them, on the real thing: events that are sent again, lost
//! and late frames, two streams in one slab, killed consumers, an emptied Redis and one that has lost a key,
//! topics that are made again.
//!
//! `AGUACERO_HISTORY_STEPS` makes them longer, `AGUACERO_HISTORY_SEED` repeats one.

use std::time::{Duration, SystemTime};

use aguacero::{id::EventId, ledger::Position};

use crate::world::{Process, World, events, eventually, forget, second_stream};

const PARTITIONS: i32 = 3;

/// Number of the stream, position, first and last offset, countries.
type Frame = (usize, Position, (i64, i64), Vec<&'static str>);

struct History {
    world: World,
    consumers: [Option<Process>; 2],
    random: u64,
    /// With the number of its stream.
    sent: Vec<(usize, EventId, String)>,
    /// What a gateway has added, or should have.
    frames: Vec<Frame>,
}

const COUNTRIES: [&str; 5] = ["Perú", "Chile", "España", "México", "Corea del Sur"];

impl History {
    /// A number below `n`.
    fn below(&mut self, n: usize) -> usize {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) as usize % n
    }

    async fn step(&mut self) {
        match self.below(21) {
            0..=9 => self.send().await,
            10..=12 => {
                if !self.frames.is_empty() {
                    let late = self.below(self.frames.len());
                    let (stream, position, offsets, countries) = self.frames[late].clone();
                    let world = &mut self.world;
                    world.live_of(stream, position, offsets, &countries).await;
                }
            }
            13..=15 => {
                let which = self.below(2);
                self.consumers[which] = None;
                self.consumers[which] = Some(self.world.spawn(&format!("c{which}")));
            }
            16 => forget(&mut self.world).await,
            18 => self.lose_a_part().await,
            17 => {
                self.world.delete_topic().await;
                self.world.create_topic().await;
            }
            _ => {
                let milliseconds = self.below(700) as u64;
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            }
        }
    }

    /// New events of both streams and some that were sent before, in any order, and the frame of their receipt,
    /// unless it is lost. An entry has its stream's first and last offset, or the whole slab's.
    async fn send(&mut self) {
        let partition = self.below(PARTITIONS as usize) as i32;
        let mut batch = Vec::new();
        for (id, json) in events(1 + self.below(40) as u64) {
            batch.push((self.below(2), id, json));
        }
        for _ in 0..self.below(10) {
            if !self.sent.is_empty() {
                let (again, at) = (self.below(self.sent.len()), self.below(batch.len()));
                batch.insert(at, self.sent[again].clone());
            }
        }
        let position = self.world.position(partition);
        let borrowed: Vec<_> = batch
            .iter()
            .map(|(s, id, json)| (*s, *id, &json[..]))
            .collect();
        let last = self.world.send_mixed(partition, &borrowed);
        let first = last + 1 - batch.len() as i64;
        let (is_whole, is_lost) = (self.below(4) == 0, self.below(10) >= 7);
        for stream in 0..2 {
            let ours = (first..).zip(&batch).filter(|(_, (s, ..))| *s == stream);
            let ours: Vec<_> = ours.collect();
            let (Some((from, _)), Some((to, _))) = (ours.first(), ours.last()) else {
                continue;
            };
            let country = |(_, (_, _, json)): &(i64, &(usize, EventId, String))| {
                COUNTRIES.into_iter().find(|c| json.contains(c))
            };
            let countries: Vec<_> = ours.iter().filter_map(country).collect();
            let offsets = if is_whole {
                (first, last)
            } else {
                (*from, *to)
            };
            if !is_lost {
                let position = position.clone();
                self.world
                    .live_of(stream, position, offsets, &countries)
                    .await;
            }
            self.frames
                .push((stream, position.clone(), offsets, countries));
        }
        self.sent.extend(batch);
    }

    /// A key of the ledger is gone.
    async fn lose_a_part(&mut self) {
        let stream = self.below(2);
        let stream = self.world.config.streams[stream].name.clone();
        let mut keys: Vec<Vec<u8>> = redis::cmd("KEYS")
            .arg(format!("{{{stream}}}:*"))
            .query_async(&mut self.world.redis)
            .await
            .unwrap();
        keys.sort();
        if !keys.is_empty() {
            let lost = keys.swap_remove(self.below(keys.len()));
            let mut delete = redis::cmd("DEL");
            let () = delete
                .arg(lost)
                .query_async(&mut self.world.redis)
                .await
                .unwrap();
        }
    }

    /// Everything is consumed, and Redis shows what the archive holds, and goes on doing so.
    async fn ends_exact(&self) {
        let topics = aguacero::kafka::Topics::new(&self.world.config.kafka, "test").unwrap();
        for partition in 0..PARTITIONS {
            let end = topics.offsets(self.world.topic(), partition).unwrap().1;
            if end > 0 {
                self.world.has_committed(partition, end).await;
            }
        }
        let mut in_a_row = 0;
        eventually("Redis shows what the archive holds", async || {
            let (mut archived, mut shown) = (Vec::new(), Vec::new());
            for stream in &self.world.config.streams {
                archived.push(self.world.archive_counts(stream).await);
                shown.push(self.world.shown(stream).await);
            }
            in_a_row = if archived == shown { in_a_row + 1 } else { 0 };
            if in_a_row > 100 {
                return Ok(());
            }
            let ledgers = self.ledgers().await;
            Err(format!("archive {archived:?}, Redis {shown:?}: {ledgers}"))
        })
        .await;
    }

    /// How far each position is settled, for who looks for the reason of a failure.
    async fn ledgers(&self) -> String {
        let mut ledgers = String::new();
        for stream in &self.world.config.streams {
            for part in ["watermark", "settled", "meta"] {
                let mut all = redis::cmd("HGETALL");
                let all = all.arg(format!("{{{}}}:{part}", stream.name));
                let all = all.query_async(&mut self.world.redis.clone()).await;
                let all: std::collections::BTreeMap<String, String> = all.unwrap();
                ledgers += &format!("\n{} {part} {all:?}", stream.name);
            }
            let archived = self.world.archived_by_position(stream).await;
            ledgers += &format!("\n{} archived {archived:?}", stream.name);
        }
        ledgers
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_history_ends_with_counters_that_equal_the_archive() {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    let random = number("AGUACERO_HISTORY_SEED").unwrap_or(now.as_micros() as u64);
    println!("AGUACERO_HISTORY_SEED={random}");
    let world = World::with(
        PARTITIONS,
        "session_timeout_ms = 6000\nbatch_records_max = 20\nsettle_step = 11\naudit_interval_ms = 1000",
        &second_stream("NAME"),
    )
    .await;
    let consumers = [0, 1].map(|i| Some(world.spawn(&format!("c{i}"))));
    let mut history = History {
        world,
        consumers,
        random,
        sent: Vec::new(),
        frames: Vec::new(),
    };
    for _ in 0..number("AGUACERO_HISTORY_STEPS").unwrap_or(40) {
        history.step().await;
    }
    history.ends_exact().await;
    assert!(history.world.dead_letters().await.is_empty());
}

//! Random histories, as the ledger's model has them, on the real thing: events that are sent again, lost
//! and late frames, killed consumers, an emptied Redis, topics that are made again.
//!
//! `AGUACERO_HISTORY_STEPS` makes them longer, `AGUACERO_HISTORY_SEED` repeats one.

use std::time::{Duration, SystemTime};

use aguacero::{id::EventId, ledger::Position};

use crate::world::{Process, World, borrowed, events, eventually, forget};

const PARTITIONS: i32 = 3;

struct History {
    world: World,
    consumers: [Option<Process>; 2],
    random: u64,
    sent: Vec<(EventId, String)>,
    /// What a gateway has added, or should have.
    frames: Vec<(Position, (i64, i64), Vec<&'static str>)>,
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
        match self.below(20) {
            0..=9 => self.send().await,
            10..=12 => {
                if !self.frames.is_empty() {
                    let late = self.below(self.frames.len());
                    let (position, offsets, countries) = self.frames[late].clone();
                    self.world.live(position, offsets, &countries).await;
                }
            }
            13..=15 => {
                let which = self.below(2);
                self.consumers[which] = None;
                self.consumers[which] = Some(self.world.spawn(&format!("c{which}")));
            }
            16 => forget(&mut self.world).await,
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

    /// New events and some that were sent before, and the frame of their receipt, unless it is lost.
    async fn send(&mut self) {
        let partition = self.below(PARTITIONS as usize) as i32;
        let mut batch = events(1 + self.below(40) as u64);
        for _ in 0..self.below(10) {
            if !self.sent.is_empty() {
                let again = self.below(self.sent.len());
                batch.push(self.sent[again].clone());
            }
        }
        let position = self.world.position(partition);
        let last = self.world.send(partition, &borrowed(&batch));
        let country = |(_, json): &(_, String)| COUNTRIES.into_iter().find(|c| json.contains(c));
        let countries: Vec<_> = batch.iter().filter_map(country).collect();
        let frame = (position, (last + 1 - batch.len() as i64, last), countries);
        self.sent.extend(batch);
        if self.below(10) < 7 {
            self.world.live(frame.0.clone(), frame.1, &frame.2).await;
        }
        self.frames.push(frame);
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
        let stream = self.world.stream();
        let mut in_a_row = 0;
        eventually("Redis shows what the archive holds", async || {
            let (archived, shown) = (
                self.world.archive_counts(stream).await,
                self.world.shown(stream).await,
            );
            in_a_row = if archived == shown { in_a_row + 1 } else { 0 };
            if in_a_row > 100 {
                Ok(())
            } else {
                Err(format!("archive {archived:?}, Redis {shown:?}"))
            }
        })
        .await;
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
        "session_timeout_ms = 6000\nbatch_records_max = 20\nsettle_step = 11",
        "",
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

//! Whatever happens, in whatever order: random histories of gateways, frames, consumers, topics and
//! Redis itself. After every step Redis must show what is settled and what is pending; each history ends
//! with everything delivered and settled, and must then show the archive.
//!
//! A failure names its seed; `AGUACERO_LEDGER_SEED=n` runs that history alone, and
//! `AGUACERO_LEDGER_HISTORIES=n` runs another number of them.

use std::collections::{BTreeMap, HashMap};

use aguacero::{
    counts::Deltas,
    ledger::{self, END, Entry, Position, Settled},
};

use crate::{
    expected::Expected,
    fixture::{self, Ledger, counter, frame},
};

const PARTITIONS: usize = 3;
const KEYS: [&str; 4] = ["k0", "k1", "k2", "k3"];

#[tokio::test]
async fn every_history_ends_with_what_the_archive_holds() {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|n| n.parse::<u64>().expect("a number"))
    };
    if let Some(seed) = number("AGUACERO_LEDGER_SEED") {
        return World::new(seed).await.run().await;
    }
    // A few at a time: a history waits for Redis most of the time.
    let histories = number("AGUACERO_LEDGER_HISTORIES").unwrap_or(300);
    let lanes = (0..8).map(|lane| async move {
        for seed in (lane..histories).step_by(8) {
            World::new(seed).await.run().await;
        }
    });
    futures_join(lanes.collect()).await;
}

/// Runs all of them on this thread.
async fn futures_join<F: Future<Output = ()>>(futures: Vec<F>) {
    let mut futures: Vec<_> = futures.into_iter().map(|f| Some(Box::pin(f))).collect();
    std::future::poll_fn(|cx| {
        for slot in &mut futures {
            if slot
                .as_mut()
                .is_some_and(|f| f.as_mut().poll(cx).is_ready())
            {
                *slot = None;
            }
        }
        if futures.iter().all(Option::is_none) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}

/// Where a consumer is killed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Crash {
    Never,
    WhileArchiving,
    BeforeSettle,
    /// Its call is on its way, and arrives later or never.
    WhileSettling,
    /// A part of what it had to settle is settled.
    BetweenSettles,
    BeforeCommit,
    /// Redis is away: it commits, and settles nothing.
    WithoutRedis,
}

/// A frame with one entry.
#[derive(Clone)]
struct Sent {
    run: u8,
    sequence: u64,
    entry: Entry,
}

/// A settle whose caller is gone.
struct Late {
    position: Position,
    from: Option<i64>,
    to: i64,
    archived: Deltas,
}

struct Gateway {
    run: u8,
    sequence: u64,
    unsent: Vec<Entry>,
}

#[derive(Clone, Default)]
struct Consumer {
    /// Next offset to consume.
    at: HashMap<Position, i64>,
    watermark: HashMap<Position, Option<i64>>,
}

/// Kafka, MongoDB and the processes as they might be; Redis as it is.
struct World {
    seed: u64,
    chance: Chance,
    ledger: Ledger,
    incarnations: [u32; PARTITIONS],
    /// Event ids by offset.
    logs: BTreeMap<Position, Vec<usize>>,
    /// Where each event was first archived from.
    archive: HashMap<usize, (Position, i64)>,
    committed: HashMap<Position, i64>,
    ids: usize,
    runs: u8,
    gateways: Vec<Gateway>,
    consumers: Vec<Consumer>,
    in_flight: Vec<Sent>,
    sent: Vec<Sent>,
    late: Vec<Late>,
    expected: Expected,
}

impl World {
    async fn new(seed: u64) -> Self {
        // Room for all, room for some, and a declared few.
        let counters = vec![
            counter("all", 10, &[]),
            counter("some", 2, &[]),
            counter("declared", 10, &["k1", "k2"]),
        ];
        Self {
            seed,
            chance: Chance(seed),
            ledger: Ledger::counting(&format!("history-{seed}"), counters).await,
            incarnations: [0; PARTITIONS],
            logs: BTreeMap::new(),
            archive: HashMap::new(),
            committed: HashMap::new(),
            ids: 0,
            runs: 2,
            gateways: (0..2)
                .map(|run| Gateway {
                    run,
                    sequence: 0,
                    unsent: Vec::new(),
                })
                .collect(),
            consumers: vec![Consumer::default(); 2],
            in_flight: Vec::new(),
            sent: Vec::new(),
            late: Vec::new(),
            expected: Expected::default(),
        }
    }

    async fn run(mut self) {
        for _ in 0..20 + self.chance.below(180) {
            self.step().await;
            self.assert_sound().await;
        }
        self.quiesce().await;
        self.assert_sound().await;
        self.assert_exact().await;
        self.ledger.empty_redis().await;
    }

    async fn step(&mut self) {
        let partition = self.chance.below(PARTITIONS);
        match self.chance.below(1000) {
            0..350 => self.receipt(partition),
            350..550 => self.send(),
            550..730 => self.deliver().await,
            730..750 => self.settle_late().await,
            750..790 => self.restart_gateway(),
            790..960 => {
                let crashes = [
                    Crash::Never,
                    Crash::Never,
                    Crash::Never,
                    Crash::WhileArchiving,
                    Crash::BeforeSettle,
                    Crash::WhileSettling,
                    Crash::BetweenSettles,
                    Crash::BeforeCommit,
                    Crash::WithoutRedis,
                ];
                let crash = crashes[self.chance.below(crashes.len())];
                let who = self.chance.below(2);
                let mut consumer = std::mem::take(&mut self.consumers[who]);
                self.consume(&mut consumer, &self.position(partition), crash)
                    .await;
                self.consumers[who] = consumer;
            }
            960..965 => {
                self.ledger.empty_redis().await;
                self.expected = Expected::default();
            }
            965..970 => {
                self.ledger.clear().await;
                self.expected = Expected::default();
            }
            970..985 => self.recreate(partition).await,
            985..988 => self.lose_a_part().await,
            988..991 => self.lose_a_tail(partition),
            991..994 => self.begin_again_if_asked().await,
            _ => {
                let who = self.chance.below(2);
                self.consumers[who] = self.new_consumer();
            }
        }
    }

    /// A key of the ledger is gone: that is noticed, whichever it was, and the count begins again.
    async fn lose_a_part(&mut self) {
        let mut keys = self.ledger.keys().await;
        keys.retain(|key| !String::from_utf8_lossy(key).contains(":run:"));
        keys.sort();
        if keys.is_empty() {
            return;
        }
        let lost = keys.swap_remove(self.chance.below(keys.len()));
        self.ledger.delete(&lost).await;
        let look = self.ledger.look(&[]).await;
        let lost = String::from_utf8_lossy(&lost);
        let again = self.again();
        assert!(
            look.damage.is_some() || keys.is_empty(),
            "{lost} was not missed: {again}"
        );
        self.ledger.clear().await;
        self.expected = Expected::default();
    }

    /// Kafka has lost the end of a log, and goes on with others' records at its offsets.
    fn lose_a_tail(&mut self, partition: usize) {
        let position = self.position(partition);
        let log = self.logs.entry(position.clone()).or_default();
        let kept = self.chance.below(log.len() + 1);
        log.truncate(kept);
        // Who commits after that has noticed.
        let committed = self.committed.entry(position).or_default();
        *committed = (*committed).min(kept as i64);
    }

    /// Whoever looks each second, and at a slow pace compares what was settled with the archive.
    async fn begin_again_if_asked(&mut self) {
        let positions = self.ledger.look(&[]).await.positions;
        let look = self.ledger.look(&positions).await;
        let differs = positions.iter().zip(&look.of).any(|(position, standing)| {
            standing
                .watermark
                .is_some_and(|at| Some(self.archived(position, None, at).events) != standing.events)
        });
        if look.recount.is_some() || differs {
            self.ledger.clear().await;
            self.expected = Expected::default();
        }
    }

    fn position(&self, partition: usize) -> Position {
        Position {
            incarnation: format!("topic-{}", self.incarnations[partition]),
            partition: partition as i32,
        }
    }

    fn new_consumer(&self) -> Consumer {
        Consumer {
            at: self.committed.clone(),
            watermark: HashMap::new(),
        }
    }

    fn key(id: usize) -> &'static str {
        KEYS[id % KEYS.len()]
    }

    /// Events are appended to the log; a gateway hears of it, or not.
    fn receipt(&mut self, partition: usize) {
        let position = self.position(partition);
        let log = self.logs.entry(position.clone()).or_default();
        let first = log.len() as i64;
        let mut keys = Vec::new();
        for _ in 0..=self.chance.below(4) {
            let retry = self.ids > 0 && self.chance.percent(15); // or a resend after a lost receipt
            let id = if retry {
                self.chance.below(self.ids)
            } else {
                self.ids
            };
            self.ids += usize::from(!retry);
            log.push(id);
            keys.push(Self::key(id));
            if self.chance.percent(30) {
                log.push(self.ids); // another gateway's, whose receipt is lost
                self.ids += 1;
            }
        }
        let last = log.len() as i64 - 1;
        if self.chance.percent(15) {
            return;
        }
        let entry = self.ledger.entry_at(position, first, last, &keys);
        let merge = self.chance.percent(50);
        let gateway = self.chance.below(2);
        match self.gateways[gateway].unsent.last_mut() {
            Some(open) if merge && open.position == entry.position => {
                open.last = last;
                open.deltas.merge(entry.deltas);
            }
            _ => self.gateways[gateway].unsent.push(entry),
        }
    }

    fn send(&mut self) {
        let gateway = self.chance.below(2);
        if let Some(frame) = self.next_frame(gateway) {
            self.in_flight.push(frame.clone());
            self.sent.push(frame);
        }
    }

    fn next_frame(&mut self, gateway: usize) -> Option<Sent> {
        let gateway = &mut self.gateways[gateway];
        if gateway.unsent.is_empty() {
            return None;
        }
        gateway.sequence += 1;
        Some(Sent {
            run: gateway.run,
            sequence: gateway.sequence,
            entry: gateway.unsent.remove(0),
        })
    }

    /// Frames arrive late, in any order, never, or again.
    async fn deliver(&mut self) {
        let mut frames = Vec::new();
        if !self.in_flight.is_empty() && self.chance.percent(85) {
            frames.push(
                self.in_flight
                    .remove(self.chance.below(self.in_flight.len())),
            );
        }
        if !self.sent.is_empty() && self.chance.percent(20) {
            frames.push(self.sent[self.chance.below(self.sent.len())].clone());
        }
        self.live(frames).await;
    }

    async fn live(&mut self, frames: Vec<Sent>) {
        let expected: Vec<_> = frames
            .iter()
            .map(|sent| self.expected.live(sent.run, sent.sequence, &sent.entry))
            .collect();
        let parts: Vec<_> = frames
            .into_iter()
            .map(|sent| frame(&self.ledger, sent.run, sent.sequence, vec![sent.entry]))
            .collect();
        let outcomes =
            ledger::live(&mut self.ledger.con.clone(), fixture::PENDING_MAX, &parts).await;
        let outcomes = outcomes.expect("Redis answers").into_iter();
        let outcomes: Vec<_> = outcomes.map(|outcome| outcome.expect("applied")).collect();
        assert_eq!(outcomes, expected, "{}", self.again());
    }

    /// A gateway dies with what it has not sent.
    fn restart_gateway(&mut self) {
        let gateway = self.chance.below(2);
        self.gateways[gateway] = Gateway {
            run: self.runs,
            sequence: 0,
            unsent: Vec::new(),
        };
        self.runs += 1;
    }

    /// Archives a few records, settles and commits, or dies in between. A consumer that has lost the
    /// partition goes on believing that it owns it.
    async fn consume(&mut self, consumer: &mut Consumer, position: &Position, crash: Crash) {
        let Some(log) = self.logs.get(position) else {
            return;
        };
        let begin = consumer.at.get(position).copied().unwrap_or(0);
        let begin = begin.min(log.len() as i64); // a log that has lost its tail is read from its end
        let end = (log.len() as i64).min(begin + 1 + self.chance.below(5) as i64);
        let mut first_new = None;
        for offset in begin..end {
            if crash != Crash::WhileArchiving || self.chance.percent(50) {
                self.archive.entry(log[offset as usize]).or_insert_with(|| {
                    first_new.get_or_insert(offset);
                    (position.clone(), offset)
                });
            }
        }
        // Something new below the watermark: nobody counts it unless it is noted, and that outlives whoever
        // has seen it.
        let at = self.ledger.look(std::slice::from_ref(position)).await.of[0].watermark;
        if first_new.is_some_and(|new| at >= Some(new)) {
            let (con, stream) = (&mut self.ledger.con.clone(), &self.ledger.stream);
            let noted = ledger::want_recount(con, stream, "new below").await;
            noted.expect("noted");
            self.expected.recount = true;
        }
        if matches!(crash, Crash::WhileArchiving | Crash::BeforeSettle) {
            consumer.at = self.committed.clone();
            return;
        }
        if end == 0 {
            return;
        }
        let known = consumer.watermark.get(position).copied().flatten();
        match crash {
            Crash::WithoutRedis => {
                consumer.at.insert(position.clone(), end);
                self.committed.insert(position.clone(), end);
                return;
            }
            Crash::WhileSettling if known.is_none_or(|known| known < end - 1) => {
                self.late.push(Late {
                    position: position.clone(),
                    from: known,
                    to: end - 1,
                    archived: self.archived(position, known, end - 1),
                });
                *consumer = self.new_consumer();
                return;
            }
            Crash::BetweenSettles => {
                self.settle(position, known, (begin + (end - begin) / 2).min(end - 1))
                    .await;
                *consumer = self.new_consumer();
                return;
            }
            _ => {}
        }
        let found = self.settle(position, known, end - 1).await;
        consumer.watermark.insert(position.clone(), found);
        if crash == Crash::BeforeCommit {
            consumer.at = self.committed.clone();
            return;
        }
        consumer.at.insert(position.clone(), end);
        self.committed.insert(position.clone(), end); // a zombie may move it back
    }

    /// Settles from wherever the watermark is found to be, and says where it was left.
    async fn settle(&mut self, position: &Position, known: Option<i64>, to: i64) -> Option<i64> {
        let mut from = known;
        if from.is_some_and(|from| from >= to) {
            let look = self.ledger.look(std::slice::from_ref(position)).await;
            from = look.of[0].watermark;
        }
        while from.is_none_or(|from| from < to) {
            let archived = self.archived(position, from, to);
            match self.settle_once(position, from, to, &archived).await {
                Settled::Done => return Some(to),
                Settled::Found(found) => from = found,
                Settled::Damaged(_) => return None, // it is begun again sooner or later
                other => panic!("{other:?}: {}", self.again()),
            }
        }
        from
    }

    async fn settle_once(
        &mut self,
        position: &Position,
        from: Option<i64>,
        to: i64,
        archived: &Deltas,
    ) -> Settled {
        let (con, stream) = (&mut self.ledger.con.clone(), &self.ledger.stream);
        let settled = ledger::settle(con, stream, position, (from, to), archived, None).await;
        let settled = settled.expect("settled");
        let expected = self.expected.settle(position, from, to, archived);
        assert_eq!(settled, expected, "{}", self.again());
        settled
    }

    /// What somebody had sent before it died arrives.
    async fn settle_late(&mut self) {
        if !self.late.is_empty() {
            let late = self.late.remove(self.chance.below(self.late.len()));
            self.settle_once(&late.position, late.from, late.to, &late.archived)
                .await;
        }
    }

    /// What the archive holds of `position` in `(from, to]`.
    fn archived(&self, position: &Position, from: Option<i64>, to: i64) -> Deltas {
        let within = |offset: i64| offset <= to && from.is_none_or(|from| offset > from);
        let keys = self
            .archive
            .iter()
            .filter(|(_, (at, offset))| at == position && within(*offset));
        let keys: Vec<_> = keys.map(|(id, _)| Self::key(*id)).collect();
        fixture::deltas(&self.ledger.stream, &keys)
    }

    /// The topic is deleted and made again: after its log was archived, or with the end of it lost, in
    /// which case somebody closes the ledger, since what is pending there can never be settled.
    async fn recreate(&mut self, partition: usize) {
        let position = self.position(partition);
        let lost = self.chance.percent(50);
        if lost {
            let archived = self.archive.values().filter(|(at, _)| *at == position);
            let kept = archived.map(|(_, offset)| offset + 1).max().unwrap_or(0);
            self.logs
                .entry(position.clone())
                .or_default()
                .truncate(kept as usize);
        }
        let mut consumer = self.new_consumer();
        self.consume_all(&mut consumer, &position).await;
        if lost {
            self.begin_again_if_asked().await;
            self.settle(&position, None, END).await;
        }
        self.incarnations[partition] += 1;
    }

    async fn consume_all(&mut self, consumer: &mut Consumer, position: &Position) {
        loop {
            let len = self.logs.get(position).map_or(0, Vec::len) as i64;
            if consumer.at.get(position).copied().unwrap_or(0) >= len {
                return;
            }
            self.consume(consumer, position, Crash::Never).await;
        }
    }

    /// What is under way arrives, and one consumer does all that is left, looking at every ledger that
    /// Redis holds and at every log that there is.
    async fn quiesce(&mut self) {
        while !self.late.is_empty() {
            self.settle_late().await;
        }
        let mut frames = std::mem::take(&mut self.in_flight);
        for gateway in 0..2 {
            while let Some(frame) = self.next_frame(gateway) {
                frames.push(frame);
            }
        }
        self.live(frames).await;

        let mut consumer = self.new_consumer();
        consumer.at.clear(); // what was counted live and archived nowhere is read, too
        for position in self.logs.keys().cloned().collect::<Vec<_>>() {
            // A zombie may have committed less, never more, than what is archived.
            self.consume_all(&mut consumer, &position).await;
        }
        self.begin_again_if_asked().await;
        let held = self.ledger.look(&[]).await.positions;
        for position in self.logs.keys().cloned().chain(held).collect::<Vec<_>>() {
            self.settle(&position, None, END).await;
        }
    }

    fn again(&self) -> String {
        format!("run it again with AGUACERO_LEDGER_SEED={}", self.seed)
    }

    /// What holds at any moment: shown = settled + pending, of every key.
    async fn assert_sound(&self) {
        let again = self.again();
        let shown = self.ledger.shown().await;
        let (events, keys) = self.expected.shown();
        assert_eq!(
            (shown.events, &shown.counters[0]),
            (events, &keys),
            "{again}"
        );
        for (counter, named) in self.ledger.stream.counters.iter().zip(&shown.counters) {
            let some = named.values().all(|n| *n > 0);
            assert!(some && named.len() <= 2 * counter.max_distinct, "{again}");
        }
        for (i, named) in shown.counters.iter().enumerate() {
            let sum = named.values().sum::<i64>() + shown.overflow[i];
            assert_eq!(sum, shown.events, "counter {i}: {again}");
        }
        assert_eq!(self.ledger.zeros().await, [""; 0], "{again}");
    }

    async fn assert_exact(&self) {
        let mut archive: HashMap<String, i64> = HashMap::new();
        for id in self.archive.keys() {
            *archive.entry(Self::key(*id).to_owned()).or_default() += 1;
        }
        let total = self.archive.len() as i64;
        let shown = self.ledger.shown().await;
        let again = self.again();

        assert_eq!(
            (shown.events, &shown.counters[0]),
            (total, &archive),
            "{again}"
        );
        for (i, named) in shown.counters.iter().enumerate() {
            for (key, n) in named {
                assert_eq!(
                    *n,
                    archive.get(key).copied().unwrap_or(0),
                    "counter {i}, key {key}: {again}"
                );
            }
            assert_eq!(
                named.values().sum::<i64>() + shown.overflow[i],
                total,
                "counter {i}: {again}"
            );
        }
        for (counter, named) in self.ledger.stream.counters.iter().zip(&shown.counters) {
            let declared =
                |key: &&String| counter.values.is_empty() || counter.values.contains(key);
            let archived = archive.keys().filter(declared).count();
            assert_eq!(
                named.len(),
                archived.min(counter.max_distinct),
                "{}: {again}",
                counter.name
            );
        }
        assert!(!shown.counters[2].contains_key("k0"), "{again}");
        assert_eq!(self.ledger.zeros().await, [""; 0], "{again}");
        assert_eq!(self.ledger.pending_positions().await, 0, "{again}");
    }
}

/// SplitMix64: small, and the same everywhere.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    fn percent(&mut self, n: usize) -> bool {
        self.below(100) < n
    }
}

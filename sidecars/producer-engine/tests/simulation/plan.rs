//! What kind of a history a seed makes.

use producer_engine::{Address, Compression, Settings, Time};

use crate::{cluster::BROKERS_MAX, random::Random};

pub(crate) struct Plan {
    pub(crate) settings: Settings,
    pub(crate) brokers: usize,
    /// Partitions, replicas, and how many of these have to be in sync.
    pub(crate) topics: Vec<(usize, usize, usize)>,
    pub(crate) slabs: usize,
    /// Records of a slab, at the most.
    pub(crate) records_max: usize,
    pub(crate) value_bytes_max: usize,
    /// `max.message.bytes`, and what the engine is told of it.
    pub(crate) batch_bytes_max: (usize, usize),
    /// Versions of Produce, one for each broker.
    pub(crate) produce_max: Vec<i16>,
    pub(crate) metadata_max: i16,
    /// Microseconds in which slabs come and things go wrong.
    pub(crate) active: u64,
    /// Microseconds between two faults; none: nothing goes wrong.
    pub(crate) fault_every: Option<u64>,
    /// Of a thousand batches, those that are answered with an error that nothing explains.
    pub(crate) error_permille: u64,
    pub(crate) invalid_permille: u64,
    pub(crate) throttle_permille: u64,
    /// Brokers that hear late, followers that lag.
    pub(crate) late_permille: u64,
    pub(crate) lag_permille: u64,
    /// Of a thousand pieces of bytes, those that come slowly; those that come in parts.
    pub(crate) slow_permille: u64,
    pub(crate) piece_permille: u64,
    /// Of a thousand NOT_LEADER_OR_FOLLOWER, those that say who it is.
    pub(crate) hint_permille: u64,
    /// Brokers handle the next request of a connection before the last is answered.
    pub(crate) is_pipelined: bool,
    /// A producer that is not known has to begin with 0.
    pub(crate) wants_zero: bool,
    /// One that writes nothing is forgotten after so many microseconds.
    pub(crate) producer_expires: u64,
    /// A pause in the middle, longer than that.
    pub(crate) pause: u64,
    /// Ids of producers begin in an epoch near the last.
    pub(crate) first_epoch: i16,
    /// Bytes that a connection takes until somebody reads them.
    pub(crate) window: usize,
    /// Whether a slab that is waiting is told at the end of its time at the earliest when nothing goes wrong any more.
    pub(crate) is_patient: bool,
    /// Only connections, brokers and leaders come and go: whoever waits long enough can have everything stored.
    pub(crate) is_gentle: bool,
    /// Microseconds after which everything has recovered.
    pub(crate) recovery: u64,
    pub(crate) again_permille: u64,
}

impl Plan {
    pub(crate) fn random(random: &mut Random) -> Self {
        let brokers = 1 + random.below(BROKERS_MAX);
        let topics: Vec<_> = (0..1 + random.below(2))
            .map(|_| {
                let replicas = random.pick(&[1, 3]).min(brokers);
                let in_sync = if replicas == 3 && random.permille(500) {
                    2
                } else {
                    1
                };
                (1 + random.below(4), replicas, in_sync)
            })
            .collect();
        let is_patient = random.permille(600);
        let delivery_timeout = match is_patient {
            true => 120_000,
            false => random.within(300..=4_000),
        };
        let request_timeout = random.within(200..=1_500);
        let connect_timeout = random.within(100..=500);
        let backoff_max = random.within(100..=600);
        let is_faulty = random.permille(900);
        let small = random.permille(300);
        let batch_bytes_max = random.within(150..=600) as usize;
        let highest = random.within(9..=13) as i16;
        let mut versions = |_| match random.permille(300) {
            true => random.within(9..=13) as i16,
            false => highest,
        };
        let produce_max = (0..brokers).map(&mut versions).collect();
        let address = |broker: usize| Address {
            host: format!("b{broker}"),
            port: 9092,
        };
        let pause = random.permille(80);
        let metadata_max_age = match pause {
            true => 30_000,
            false => random.within(1_000..=10_000),
        };
        let recovery =
            3 * request_timeout + 2 * connect_timeout + 20 * backoff_max + 1_500 + metadata_max_age;
        let settings = Settings {
            client_id: "simulation".to_owned(),
            bootstrap: (0..brokers)
                .take(1 + random.below(3))
                .map(address)
                .collect(),
            topics: (0..topics.len()).map(|t| format!("t{t}")).collect(),
            delivery_timeout: Time::from_millis(delivery_timeout),
            request_timeout: Time::from_millis(request_timeout),
            connect_timeout: Time::from_millis(connect_timeout),
            backoff: Time::from_millis(random.within(10..=60)),
            backoff_max: Time::from_millis(backoff_max),
            metadata_max_age: Time::from_millis(metadata_max_age),
            in_flight_max: random.within(1..=5) as usize,
            request_bytes_max: random.pick(&[100, 600, 1 << 20]),
            queue_bytes_max: random.pick(&[1_500, 10_000, 1 << 20]),
            compression: match random.below(60) {
                0 => Compression::Gzip,
                1 => Compression::Snappy,
                2 => Compression::Lz4,
                _ => Compression::None,
            },
            sasl: None,
            seed: [0; 32],
        };
        let errors = is_faulty && random.permille(500);
        let expires = random.within(61..=100) * 1_000_000;
        let is_invalid = random.permille(200);
        Self {
            is_gentle: is_patient && !pause && !errors && !is_invalid && !small,
            settings,
            brokers,
            topics,
            slabs: 4 + random.below(26),
            records_max: random.pick(&[1, 2, 6]),
            value_bytes_max: random.pick(&[1, 40, 120]),
            batch_bytes_max: match small {
                true => (batch_bytes_max, random.pick(&[batch_bytes_max, 1 << 20])),
                false => (1 << 20, 1 << 20),
            },
            produce_max,
            metadata_max: random.within(11..=13) as i16,
            active: random.within(50..=4_000) * 1_000,
            fault_every: is_faulty.then(|| random.within(20_000..=1_000_000)),
            error_permille: match (errors, pause) {
                (true, true) => random.within(50..=500),
                (true, false) => random.within(5..=150),
                (false, _) => 0,
            },
            invalid_permille: if is_invalid { 40 } else { 0 },
            throttle_permille: if random.permille(150) { 100 } else { 0 },
            late_permille: random.pick(&[0, 100, 400]),
            lag_permille: random.pick(&[0, 30, 200]),
            slow_permille: random.pick(&[0, 0, 50, 300]),
            piece_permille: random.pick(&[0, 20, 200]),
            hint_permille: random.pick(&[0, 500, 1000]),
            is_pipelined: random.permille(300),
            wants_zero: random.permille(300),
            producer_expires: expires,
            pause: if pause { expires + 5_000_000 } else { 0 },
            first_epoch: match random.permille(150) {
                true => i16::MAX - random.below(3) as i16,
                false => 0,
            },
            window: random.pick(&[64, 500, 1 << 16, 1 << 16]),
            is_patient,
            recovery: recovery * 1_000,
            again_permille: random.pick(&[0, 300]),
        }
    }
}

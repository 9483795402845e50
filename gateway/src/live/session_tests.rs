//! What is told to a redis-writer that goes away, and what is not told to it.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use aguacero::{config::Config, id::EventId, shutdown::Shutdown};
use aguacero_proto::deltas::{
    DeltaAck, DeltaFrame, DeltaWelcome, FromRedisWriter, PROTOCOL, ToRedisWriter,
    from_redis_writer, to_redis_writer,
};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use prost::Message as _;
use smallvec::SmallVec;
use tokio::{
    net::{UnixListener, UnixStream},
    time::timeout,
};
use tokio_tungstenite::{WebSocketStream, accept_async, tungstenite::Message};

use crate::{
    batch::{
        append::{Append, Origin},
        lane::Finished,
        slab::Slab,
        verdict::{Outcome, Verdict},
    },
    live::deltas::Live,
};

/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(30);

fn config(socket: &std::path::Path) -> Arc<Config> {
    let toml = format!(
        r#"
[topics.t]
partitions = 2
[streams.s]
topic = "t"
fields = [{{ name = "k", type = "string" }}]
counters = [{{ name = "by_k", by = ["k"] }}]
[[streams.s.routes]]
path = "/s"
[streams.other]
topic = "t"
fields = [{{ name = "k", type = "string" }}]
counters = [{{ name = "by_k", by = ["k"] }}]
[[streams.other.routes]]
path = "/other"
[redis_writer]
socket = "{}"
"#,
        socket.display()
    );
    Arc::new(Config::parse(&toml, "test", []).unwrap())
}

/// A slab of partition 1 with these keys of the first stream, stored from `first` on but for `exceptions`.
fn finished(
    config: &Config,
    keys: &[&str],
    first: i64,
    exceptions: Vec<(u32, Outcome)>,
) -> Finished {
    let keys: Vec<_> = keys.iter().map(|key| (0, *key)).collect();
    finished_of(config, &keys, first, exceptions)
}

/// A slab of several streams: position in the configuration, and key.
fn finished_of(
    config: &Config,
    keys: &[(usize, &str)],
    first: i64,
    exceptions: Vec<(u32, Outcome)>,
) -> Finished {
    let mut slab = Slab::open(1, 1, Instant::now());
    for (position, (stream, key)) in (0..).zip(keys) {
        let origin = Origin {
            stream: &config.streams[*stream],
            base: EventId([0; 16]),
            client_key: Bytes::new(),
            arrived_ms: 0,
            trace: <[Bytes; 2]>::default(),
            tells_offsets: false,
        };
        let value = format!(r#"{{"k":"{key}"}}"#);
        let event = Append {
            position,
            value: value.as_bytes(),
            key: None,
            reserved: None,
            id: EventId([0; 16]),
            name: None,
            counter_keys: SmallVec::from_elem(Some(*key), 1),
        };
        // A request has one stream.
        slab.append(&origin, 1 + u64::from(position), &event);
    }
    slab.close("t", 1);
    let stored = (keys.len() - exceptions.len()) as i64;
    Finished {
        slab,
        verdict: Verdict {
            exceptions,
            ..Verdict::whole(Outcome::Stored, "")
        },
        partition: 1,
        incarnation: "i".into(),
        offsets: Some((first, first + stored - 1)),
    }
}

/// First and last offset, and the counts, of a frame with one entry.
fn entry(frame: &DeltaFrame) -> (i64, i64, Vec<(String, u64)>) {
    let [stream] = &frame.streams[..] else {
        panic!("{frame:?}");
    };
    let [entry] = &stream.entries[..] else {
        panic!("{frame:?}");
    };
    assert_eq!((&*entry.incarnation, entry.partition), ("i", 1));
    let counter = &entry.counters[0];
    let mut counts: Vec<_> = counter
        .keys
        .iter()
        .cloned()
        .zip(counter.counts.iter().copied())
        .collect();
    counts.sort();
    assert_eq!(counts.iter().map(|(_, n)| n).sum::<u64>(), entry.events);
    (entry.first, entry.last, counts)
}

fn counts(counts: &[(&str, u64)]) -> Vec<(String, u64)> {
    counts
        .iter()
        .map(|(key, n)| ((*key).to_owned(), *n))
        .collect()
}

/// A redis-writer's end of a connection.
struct Writer(WebSocketStream<UnixStream>);

impl Writer {
    async fn accept(listener: &UnixListener) -> Self {
        let (stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
        let mut writer = Self(accept_async(stream).await.unwrap());
        let to_redis_writer::Kind::Hello(hello) = writer.receive().await else {
            panic!("a hello comes first");
        };
        assert_eq!((hello.protocol, hello.run.len()), (PROTOCOL, 16));
        let welcome = DeltaWelcome::default();
        writer.send(from_redis_writer::Kind::Welcome(welcome)).await;
        writer
    }

    async fn receive(&mut self) -> to_redis_writer::Kind {
        let message = timeout(PATIENCE, self.0.next()).await.unwrap();
        let bytes = message.unwrap().unwrap().into_data();
        ToRedisWriter::decode(bytes).unwrap().kind.unwrap()
    }

    async fn frame(&mut self) -> DeltaFrame {
        match self.receive().await {
            to_redis_writer::Kind::Frame(frame) => frame,
            other => panic!("{other:?}"),
        }
    }

    async fn send(&mut self, kind: from_redis_writer::Kind) {
        let message = FromRedisWriter { kind: Some(kind) }.encode_to_vec();
        self.0.send(Message::Binary(message.into())).await.unwrap();
    }

    async fn acknowledge(&mut self, sequence: u64) {
        let ack = DeltaAck {
            sequence,
            problems: Vec::new(),
        };
        self.send(from_redis_writer::Kind::Ack(ack)).await;
    }
}

#[tokio::test]
async fn a_frame_that_is_lost_twice_is_repeated_unchanged_and_what_came_meanwhile_is_merged() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&folder.path().join("s"));
    let listener = UnixListener::bind(&config.redis_writer.socket).unwrap();
    let live = Rc::new(Live::new(&config));
    let (trigger, shutdown) = Shutdown::new();
    let exchange = async {
        let running = tokio::task::spawn_local(Rc::clone(&live).run(shutdown));
        live.stored(finished(&config, &["a", "b", "a"], 10, Vec::new()));
        let mut lost = Vec::new();
        for round in 0..2 {
            let mut writer = Writer::accept(&listener).await;
            lost.push(writer.frame().await);
            live.stored(finished(&config, &["b"], 13 + round, Vec::new()));
            drop(writer); // without an acknowledgement
        }
        let mut writer = Writer::accept(&listener).await;
        let third = writer.frame().await;
        assert_eq!(entry(&third), (10, 12, counts(&[("a", 2), ("b", 1)])));
        assert_eq!(lost, [third.clone(), third.clone()]);
        writer.acknowledge(third.sequence).await;
        let merged = writer.frame().await;
        assert_eq!(merged.sequence, third.sequence + 1);
        assert_eq!(entry(&merged), (13, 14, counts(&[("b", 2)])));
        // Acknowledged twice, or not at all: what was acknowledged does not come again.
        writer.acknowledge(merged.sequence).await;
        writer.acknowledge(merged.sequence).await;
        live.stored(finished(&config, &["c"], 15, Vec::new()));
        let last = writer.frame().await;
        assert_eq!(
            (last.sequence, entry(&last)),
            (3, (15, 15, counts(&[("c", 1)])))
        );
        writer.acknowledge(last.sequence).await;
        trigger.fire();
        timeout(PATIENCE, running).await.unwrap().unwrap();
    };
    tokio::task::LocalSet::new().run_until(exchange).await;
}

#[tokio::test]
async fn what_was_not_stored_is_not_counted() {
    let config = config("unused".as_ref());
    let live = Live::new(&config);
    let exceptions = vec![(0, Outcome::TooLarge), (3, Outcome::Unknown)];
    live.stored(finished(&config, &["a", "b", "a", "c"], 5, exceptions));
    let unknown = Finished {
        offsets: None,
        ..finished(&config, &["d"], 9, Vec::new())
    };
    live.stored(unknown); // where it is, nobody knows: settling counts it
    let frame = live.pending.borrow_mut().next_frame(&config).unwrap();
    assert_eq!(entry(&frame), (5, 6, counts(&[("a", 1), ("b", 1)])));
}

#[tokio::test]
async fn each_stream_of_a_slab_has_its_own_first_and_last_offset() {
    let config = config("unused".as_ref());
    let streams = ["s", "other"].map(|name| config.stream(name).unwrap().index);
    let [s, other] = streams;
    let keys = [(s, "a"), (other, "b"), (other, "c"), (s, "a"), (other, "d")];
    // Of the last one nobody knows whether it was stored; then an event of each is not, and a slab has
    // others' records in it.
    let cases = [
        (Vec::new(), 104, [(100, 103), (101, 104)]),
        (vec![(4, Outcome::Unknown)], 103, [(100, 103), (101, 102)]),
        (
            vec![(0, Outcome::TooLarge), (1, Outcome::TooLarge)],
            102,
            [(101, 101), (100, 102)],
        ),
        (Vec::new(), 110, [(100, 109), (101, 110)]),
    ];
    for (exceptions, last, ranges) in cases {
        let live = Live::new(&config);
        live.stored(Finished {
            offsets: Some((100, last)),
            ..finished_of(&config, &keys, 100, exceptions)
        });
        let frame = live.pending.borrow_mut().next_frame(&config).unwrap();
        let range = |name: &str| {
            let stream = frame.streams.iter().find(|of| of.stream == name).unwrap();
            (stream.entries[0].first, stream.entries[0].last)
        };
        assert_eq!([range("s"), range("other")], ranges);
    }
}

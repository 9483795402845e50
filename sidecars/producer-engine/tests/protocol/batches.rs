//! Our batches against what that crate reads, in every codec.

use bytes::{Bytes, BytesMut};
use kafka_protocol::records::{self, RecordBatchDecoder};
use producer_engine::{
    Compression, Record, Slab,
    batch::{self, HEAD_BYTES, Stamp},
    partition::{Batch, Partition},
};
use proptest::{collection::vec, option, prelude::*};

type Event = (i64, Option<Vec<u8>>, Vec<u8>, Vec<(String, Vec<u8>)>);

#[derive(Debug)]
struct Events(Vec<Event>);

impl Slab for Events {
    fn topic(&self) -> &str {
        "t"
    }

    fn partition(&self) -> i32 {
        0
    }

    fn records(&self) -> usize {
        self.0.len()
    }

    fn bytes(&self) -> usize {
        0
    }

    fn encoded_bytes_max(&self) -> usize {
        0
    }

    fn each(&self, mut visit: impl FnMut(Record<'_>)) {
        for (timestamp, key, value, headers) in &self.0 {
            let headers: Vec<_> = headers.iter().map(|(n, v)| (&**n, &**v)).collect();
            visit(Record {
                timestamp: *timestamp,
                key: key.as_deref(),
                value,
                headers: &headers,
            });
        }
    }
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..20),
        // Lengths of two bytes, of three.
        vec(any::<u8>(), 60..70),
        (8180_usize..8200, any::<u8>()).prop_map(|(length, byte)| vec![byte; length]),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let header = ("[a-zé]{1,70}", bytes());
    (
        // Both ways, and so far apart that the delta takes many bytes.
        prop_oneof![
            0..2_000_000_i64,
            any::<i32>().prop_map(i64::from),
            -(1_i64 << 60)..1 << 60
        ],
        option::of(bytes()),
        bytes(),
        vec(header, 0..3),
    )
}

fn codec() -> impl Strategy<Value = Compression> {
    prop_oneof![
        Just(Compression::None),
        Just(Compression::Gzip),
        Just(Compression::Snappy),
        Just(Compression::Lz4),
        Just(Compression::Zstd),
    ]
}

fn code(of: Compression) -> records::Compression {
    match of {
        Compression::None => records::Compression::None,
        Compression::Gzip => records::Compression::Gzip,
        Compression::Snappy => records::Compression::Snappy,
        Compression::Lz4 => records::Compression::Lz4,
        Compression::Zstd => records::Compression::Zstd,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_batch_is_read_as_its_records_are(
        events in vec(event(), 1..8),
        codec in codec(),
        (producer, epoch, sequence) in (0..i64::MAX, 0..i16::MAX, 0..i32::MAX - 8),
        (from, to) in any::<(prop::sample::Index, prop::sample::Index)>(),
        before in vec(any::<u8>(), 0..5),
    ) {
        let (from, to) = (from.index(events.len()), to.index(events.len()));
        let (from, to) = (from.min(to), from.max(to) + 1);
        let slab = Events(events);
        let stamp = Stamp { producer, epoch, sequence };
        let mut out = BytesMut::from(&before[..]);
        batch::encode(&slab, from..to, stamp, codec, &mut out).expect("a batch");
        prop_assert_eq!(&out[..before.len()], &before[..]);
        let mut encoded = out.freeze().slice(before.len()..);
        let info = RecordBatchDecoder::decode_batch_info(&mut encoded.clone()).expect("its head");
        prop_assert_eq!(info.len(), 1);
        prop_assert_eq!(info[0].record_count as usize, to - from);
        prop_assert_eq!(info[0].base_sequence, sequence);
        prop_assert!(!info[0].transactional && !info[0].control);
        let last = i32::from_be_bytes(encoded[23..27].try_into().expect("4 bytes"));
        prop_assert_eq!(last as usize, to - from - 1);
        let times = slab.0[from..to].iter().map(|(timestamp, ..)| *timestamp);
        let greatest = i64::from_be_bytes(encoded[35..43].try_into().expect("8 bytes"));
        prop_assert_eq!(Some(greatest), times.max());
        let set = RecordBatchDecoder::decode(&mut encoded).expect("a batch with its checksum");
        prop_assert!(encoded.is_empty());
        prop_assert_eq!(set.compression, code(codec));
        prop_assert_eq!(set.records.len(), to - from);
        for (nth, (record, event)) in set.records.iter().zip(&slab.0[from..to]).enumerate() {
            let (timestamp, key, value, headers) = event;
            prop_assert_eq!(record.timestamp, *timestamp);
            prop_assert_eq!(record.key.as_deref(), key.as_deref());
            prop_assert_eq!(record.value.as_deref(), Some(&value[..]));
            prop_assert_eq!(record.offset, nth as i64);
            prop_assert_eq!((record.producer_id, record.producer_epoch), (producer, epoch));
            prop_assert_eq!(record.sequence, sequence + nth as i32);
            // It keeps the last of those of one name.
            for (name, value) in &record.headers {
                let last = headers.iter().rfind(|(n, _)| **n == **name);
                prop_assert_eq!(value.as_deref(), last.map(|(_, v)| &v[..]));
            }
        }
    }

    #[test]
    fn sizes_are_those_of_the_encoded_records(events in vec(event(), 1..8)) {
        let slab = Events(events);
        let stamp = Stamp { producer: 1, epoch: 0, sequence: 0 };
        let mut sizes = Vec::new();
        batch::sizes(&slab, |size| sizes.push(size));
        prop_assert_eq!(sizes.len(), slab.records());
        // One byte more for what the time's delta may take where a batch begins with another record.
        let sum: usize = sizes.iter().map(|size| size - 1).sum();
        let mut out = BytesMut::new();
        batch::encode(&slab, 0..slab.records(), stamp, Compression::None, &mut out).expect("a batch");
        prop_assert_eq!(out.len(), HEAD_BYTES + sum);
    }

    #[test]
    fn parts_are_never_larger_than_their_sizes_say_where_time_goes_on(
        mut times in vec(0..2_600_000_000_i64, 1..8),
        (from, to) in any::<(prop::sample::Index, prop::sample::Index)>(),
    ) {
        let (from, to) = (from.index(times.len()), to.index(times.len()));
        let (from, to) = (from.min(to), from.max(to) + 1);
        times.sort_unstable();
        let slab = Events(times.into_iter().map(|t| (t, None, vec![1], Vec::new())).collect());
        let mut sizes = Vec::new();
        batch::sizes(&slab, |size| sizes.push(size));
        let stamp = Stamp { producer: 1, epoch: 0, sequence: 0 };
        let mut out = BytesMut::new();
        batch::encode(&slab, from..to, stamp, Compression::None, &mut out).expect("a batch");
        prop_assert!(out.len() <= HEAD_BYTES + sizes[from..to].iter().sum::<usize>());
    }

    #[test]
    fn one_flipped_bit_breaks_the_checksum(events in vec(event(), 1..3), bit in any::<prop::sample::Index>()) {
        let slab = Events(events);
        let stamp = Stamp { producer: 1, epoch: 0, sequence: 0 };
        let mut out = BytesMut::new();
        batch::encode(&slab, 0..slab.records(), stamp, Compression::None, &mut out).expect("a batch");
        // From the attributes on; what is before is not covered.
        let bit = bit.index((out.len() - 21) * 8);
        out[21 + bit / 8] ^= 1 << (bit % 8);
        let mut flipped: Bytes = out.freeze();
        prop_assert!(RecordBatchDecoder::decode(&mut flipped).is_err());
    }

    #[test]
    fn numbers_go_on_at_zero_after_the_greatest(
        start in i32::MAX - 20..=i32::MAX,
        sizes in vec(1_usize..9, 1..6),
    ) {
        let mut partition = Partition {
            producer: Some((1, 0)),
            next_sequence: start,
            ..Partition::default()
        };
        for records in &sizes {
            partition.waiting.push_back(Batch {
                id: 0,
                slab: 0,
                records: 0..*records,
                bytes_max: 0,
                deadline: producer_engine::Time::ZERO,
                sequence: None,
                nth: 0,
                on: None,
                perhaps_appended: false,
                is_told: false,
                why: None,
            });
        }
        // As `DefaultRecordBatch.incrementSequence` of Kafka does it.
        let mut expected = start;
        for records in sizes {
            let (stamp, _) = partition.next(producer_engine::ConnectionId(1)).expect("a batch");
            prop_assert_eq!(stamp.sequence, expected);
            let by = records as i32;
            expected = match expected > i32::MAX - by {
                true => by - (i32::MAX - expected) - 1,
                false => expected + by,
            };
        }
    }
}

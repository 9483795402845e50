//! Produce requests, which are written here, as that crate reads them.

use std::io;

use bytes::{BufMut as _, BytesMut};
use kafka_protocol::{
    messages::{ApiKey, ProduceRequest, RequestHeader},
    protocol::{Decodable as _, StrBytes, decode_request_header_from_buffer},
};
use producer_engine::protocol::{
    PRODUCE, PRODUCE_BY_ID,
    request::{Head, Produce},
};
use proptest::{collection::vec, prelude::*};
use uuid::Uuid;

/// Partitions of a topic: the bytes of each one's batch; none: it cannot be encoded.
type Topic = Vec<Option<Vec<u8>>>;

fn topics() -> impl Strategy<Value = Vec<Topic>> {
    let bytes = prop_oneof![
        vec(any::<u8>(), 0..200),
        (16_000_usize..17_000).prop_map(|n| vec![7; n])
    ];
    vec(vec(proptest::option::weighted(0.9, bytes), 1..4), 1..4)
}

proptest! {
    #[test]
    fn a_produce_request_is_read_as_it_was_meant(
        topics in topics(),
        version in PRODUCE.versions.0..=PRODUCE.versions.1,
        correlation in 0..i32::MAX,
        before in vec(any::<u8>(), 0..9),
    ) {
        let client_id = StrBytes::from_static_str("a client");
        let head = Head { correlation, version, client_id: &client_id };
        let mut out = BytesMut::from(&before[..]);
        let mut request = Produce::begin(&head, 1234, &mut out).expect("a head");
        let names: Vec<_> = (0..topics.len()).map(|n| StrBytes::from_string("t".repeat(n * 70 + 1))).collect();
        for (n, topic) in topics.iter().enumerate() {
            for (partition, bytes) in topic.iter().enumerate() {
                let id = Uuid::from_u128(n as u128 + 1);
                let written = request.batch((&names[n], id), partition as i32, 10, |out| {
                    out.put_slice(b"half of it");
                    out.truncate(out.len() - b"half of it".len() * usize::from(bytes.is_some()));
                    out.put_slice(bytes.as_ref().ok_or(io::ErrorKind::Other)?);
                    Ok(())
                });
                prop_assert_eq!(written.is_ok(), bytes.is_some());
            }
        }
        request.end();
        prop_assert_eq!(&out[..before.len()], &before[..]);
        let mut frame = out.freeze().slice(before.len()..);
        let length = u32::from_be_bytes(frame.split_to(4)[..].try_into().expect("4 bytes"));
        prop_assert_eq!(length as usize, frame.len());
        let header: RequestHeader = decode_request_header_from_buffer(&mut frame).expect("its head");
        prop_assert_eq!(header.request_api_key, ApiKey::Produce as i16);
        prop_assert_eq!((header.request_api_version, header.correlation_id), (version, correlation));
        let read = ProduceRequest::decode(&mut frame, version).expect("its body");
        prop_assert!(frame.is_empty());
        prop_assert!(read.transactional_id.is_none());
        prop_assert_eq!((read.acks, read.timeout_ms), (-1, 1234));
        prop_assert_eq!(read.topic_data.len(), topics.len());
        for (n, (read, topic)) in read.topic_data.iter().zip(&topics).enumerate() {
            match version >= PRODUCE_BY_ID {
                true => prop_assert_eq!(read.topic_id, Uuid::from_u128(n as u128 + 1)),
                false => prop_assert_eq!(&*read.name, &names[n]),
            }
            let batches: Vec<_> = topic.iter().enumerate().filter_map(|(p, bytes)| Some((p as i32, bytes.as_deref()?))).collect();
            let read: Vec<_> = read.partition_data.iter().map(|p| (p.index, p.records.as_deref().unwrap_or_default())).collect();
            prop_assert_eq!(read, batches);
        }
    }
}

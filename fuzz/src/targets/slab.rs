//! A message of a gateway's, as the kafka-producer reads it: every event of a slab becomes a record whose header
//! can be read, and the values are all of the slab's bytes.

use aguacero::record::Header;
use aguacero_proto::produce::{ToProducer, to_producer};
use kafka_producer::stages::{records, slab};
use prost::Message as _;

pub(super) fn run(message: &[u8]) {
    let Ok(ToProducer {
        kind: Some(to_producer::Kind::Frame(frame)),
    }) = ToProducer::decode(message)
    else {
        return;
    };
    for encoded in frame.slabs {
        let read = slab(encoded);
        let Some((records, slab)) = read.and_then(|slab| Some((records(&slab)?, slab))) else {
            continue;
        };
        assert_eq!(records.len(), slab.ends.len());
        let values: Vec<_> = records.iter().map(|(_, _, value)| &value[..]).collect();
        assert_eq!(values.concat(), slab.values);
        let keys = records.iter().filter_map(|(_, key, _)| key.as_deref());
        assert_eq!(keys.collect::<Vec<_>>().concat(), slab.keys);
        for (header, ..) in &records {
            let read = Header::read(header).expect("a header that can be read");
            let named = read.client_key.is_empty()
                || slab
                    .requests
                    .iter()
                    .any(|r| r.client_key == read.client_key)
                || is_in(&slab.names, read.client_key);
            assert!(named, "{read:?}");
            assert!(
                slab.streams.iter().any(|stream| stream == read.stream),
                "{read:?}"
            );
        }
    }
}

fn is_in(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

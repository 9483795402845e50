//! The way of a slab up to librdkafka, for `fuzz/`.

use aguacero_proto::produce::Slab;
use bytes::Bytes;

use slab_records::columns;

/// A record as it would be produced: header, key, value.
pub type Record = (Vec<u8>, Option<Vec<u8>>, Vec<u8>);

/// A slab as it is read; none if it cannot be.
#[must_use]
pub fn slab(bytes: Bytes) -> Option<Slab> {
    columns::read(bytes).ok()
}

/// The records of a slab; none if its columns do not agree.
#[must_use]
pub fn records(slab: &Slab) -> Option<Vec<Record>> {
    let record = |record: columns::Record<'_>| {
        let mut header = Vec::new();
        record.header(&mut header);
        let key = record.key.map(<[u8]>::to_vec);
        (header, key, record.value.to_vec())
    };
    columns::is_whole(slab).then(|| columns::records(slab).map(record).collect())
}

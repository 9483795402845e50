//! A slab as it is read: its columns agree, and each record can have its header.

use aguacero_proto::produce::{Request, Slab};
use aguacero_record::{
    id::EventId,
    record::{self, STREAM_BYTES_MAX},
};
use bytes::Bytes;
use prost::{DecodeError, Message as _};

/// Bytes of an id.
const ID_BYTES: usize = 16;

/// A record as the columns of its slab have it.
pub struct Record<'a> {
    /// Its place in the slab.
    pub index: u32,
    /// The event, as it was sent.
    pub value: &'a [u8],
    /// Its key, if it has one.
    pub key: Option<&'a [u8]>,
    /// The event's id.
    pub id: EventId,
    /// What the client called it, or empty.
    pub client_key: &'a [u8],
    /// Name of its stream.
    pub stream: &'a str,
    /// What it came with.
    pub request: &'a Request,
}

impl Record<'_> {
    /// Writes its header to `out`, which is cleared.
    pub fn header(&self, out: &mut Vec<u8>) {
        record::Header {
            id: self.id,
            stream: self.stream,
            client_key: self.client_key,
        }
        .write(out);
    }
}

/// Whether the columns of a slab describe the same events.
#[must_use]
pub fn is_whole(slab: &Slab) -> bool {
    let events = slab.ends.len();
    let values =
        slab.ends.is_sorted() && slab.ends.last().map(|&e| e as usize) == Some(slab.values.len());
    let texts = |bytes: usize, lens: &[u32]| {
        let sum: usize = lens.iter().map(|&n| n.saturating_sub(1) as usize).sum();
        bytes == sum && (lens.is_empty() || lens.len() == events)
    };
    let keys = texts(slab.keys.len(), &slab.key_lens);
    let names = texts(slab.names.len(), &slab.name_lens);
    let gaps = slab.gaps.is_empty() || slab.gaps.len() == events;
    let mut streams = slab.streams.iter();
    let streams = streams.all(|name| name.len() <= STREAM_BYTES_MAX);
    let mut requests = slab.requests.iter();
    let known = requests.all(|r| (r.stream as usize) < slab.streams.len());
    let counted: usize = slab.requests.iter().map(|r| r.events as usize).sum();
    let requests = known && counted == events;
    values && keys && names && gaps && streams && requests && ids(slab) * ID_BYTES == slab.ids.len()
}

/// How many events have an id of their own, in a slab whose other columns agree.
fn ids(slab: &Slab) -> usize {
    let mut first = 0;
    let of_requests = slab.requests.iter().map(|request| {
        let events = first..first + request.events as usize;
        first = events.end;
        match (request.client_key.is_empty(), slab.name_lens.get(events)) {
            (false, _) => request.events as usize,
            (true, names) => names.map_or(0, |n| n.iter().filter(|&&len| len > 0).count()),
        }
    });
    of_requests.sum()
}

/// The records of a slab whose columns agree.
pub fn records(slab: &Slab) -> impl Iterator<Item = Record<'_>> {
    let (mut keys, mut names) = (Texts(&slab.keys), Texts(&slab.names));
    let mut ids = slab.ids.as_chunks::<ID_BYTES>().0.iter();
    let (mut index, mut start) = (0, 0);
    let requests = slab.requests.iter();
    let mut next_id = EventId([0; ID_BYTES]);
    let places = requests.flat_map(|r| (0..r.events).map(move |nth| (r, nth == 0)));
    places.map(move |(request, is_first)| {
        if is_first {
            next_id = EventId::from_halves(request.base_high, request.base_low);
        }
        let at = index as usize;
        let end = slab.ends[at] as usize;
        let key = keys.next(slab.key_lens.get(at));
        let name = names.next(slab.name_lens.get(at));
        let counted = next_id.plus(slab.gaps.get(at).copied().unwrap_or(0).into());
        next_id = counted.plus(1);
        let is_named = name.is_some() || !request.client_key.is_empty();
        let id = is_named.then(|| ids.next()).flatten();
        let record = Record {
            index,
            value: &slab.values[start..end],
            key,
            id: id.map_or(counted, |id| EventId(*id)),
            client_key: name.unwrap_or(&request.client_key),
            stream: &slab.streams[request.stream as usize],
            request,
        };
        (index, start) = (index + 1, end);
        record
    })
}

/// Texts that lie one after another.
struct Texts<'a>(&'a [u8]);

impl<'a> Texts<'a> {
    /// The next one, if the event has one: `len` is one more than its bytes.
    fn next(&mut self, len: Option<&u32>) -> Option<&'a [u8]> {
        let (text, rest) = self.0.split_at_checked(len?.checked_sub(1)? as usize)?;
        self.0 = rest;
        Some(text)
    }
}

/// Reads a slab of either protocol. Its columns may not agree.
pub fn read(bytes: Bytes) -> Result<Slab, DecodeError> {
    let slab = Slab::decode(bytes)?;
    Ok(match slab.runs.is_empty() {
        true => slab,
        false => of_runs(slab),
    })
}

/// A slab of protocol 1 as one of today.
fn of_runs(mut slab: Slab) -> Slab {
    let counted: usize = slab.runs.iter().map(|r| r.count as usize).sum();
    if counted != slab.ends.len() || !slab.requests.is_empty() {
        slab.requests.clear(); // nobody takes it for whole
        return slab;
    }
    let mut ids = Vec::new();
    for run in std::mem::take(&mut slab.runs) {
        if !run.client_key.is_empty() {
            let base = EventId::from_halves(run.base_high, run.base_low);
            (0..run.count).for_each(|nth| ids.extend(base.plus(nth.into()).0));
        }
        slab.requests.push(Request {
            events: run.count,
            stream: run.stream,
            arrived_ms: run.arrived_ms,
            base_high: run.base_high,
            base_low: run.base_low,
            client_key: run.client_key,
            traceparent: run.traceparent,
            ..Request::default()
        });
    }
    slab.ids = ids.into();
    slab
}

#[cfg(test)]
mod tests {
    use aguacero_proto::produce::Run;

    use super::*;

    fn id(n: u64) -> EventId {
        EventId([0; ID_BYTES]).plus(n)
    }

    /// Three events of a request whose ids follow its base with a gap, the second with a name, and one of a request
    /// with a key.
    fn slab() -> Slab {
        Slab {
            values: Bytes::from_static(b"abcd"),
            ends: vec![1, 2, 3, 4],
            keys: Bytes::from_static(b"k"),
            key_lens: vec![0, 2, 1, 0],
            streams: vec!["s".into()],
            requests: vec![
                Request {
                    events: 3,
                    base_low: 100,
                    ..Request::default()
                },
                Request {
                    events: 1,
                    client_key: Bytes::from_static(b"key"),
                    ..Request::default()
                },
            ],
            gaps: vec![5, 0, 2, 0],
            ids: [id(1).0, id(2).0].concat().into(),
            names: Bytes::from_static(b"name"),
            name_lens: vec![0, 5, 0, 0],
            ..Slab::default()
        }
    }

    #[test]
    fn each_record_has_its_id_its_key_and_what_the_client_called_it() {
        let slab = read(slab().encode_to_vec().into()).unwrap();
        assert!(is_whole(&slab));
        let told: Vec<_> = records(&slab)
            .map(|r| (r.id, r.client_key, r.value, r.key))
            .collect();
        let all = [
            (id(105), &b""[..], &b"a"[..], None),
            (id(1), b"name", b"b", Some(&b"k"[..])),
            (id(109), b"", b"c", Some(b"")),
            (id(2), b"key", b"d", None),
        ];
        assert_eq!(told, all);
    }

    #[test]
    fn a_slab_whose_columns_do_not_agree_is_not_whole() {
        let wrong: [fn(&mut Slab); 9] = [
            |slab| slab.ids = Bytes::from_static(&[0; 16]),
            |slab| slab.ids = Bytes::from_static(&[0; 33]),
            |slab| slab.gaps = vec![0],
            |slab| slab.names = Bytes::from_static(b"nam"),
            |slab| slab.name_lens.push(0),
            |slab| slab.requests[0].events = 4,
            |slab| slab.requests[0].stream = 1,
            |slab| slab.requests.clear(),
            |slab| slab.requests[1].client_key = Bytes::new(),
        ];
        for (n, spoil) in wrong.into_iter().enumerate() {
            let mut slab = slab();
            spoil(&mut slab);
            assert!(!is_whole(&slab), "{n}");
        }
    }

    #[test]
    fn a_slab_of_the_protocol_before_is_read_as_its_gateway_meant_it() {
        let run = |count, base_low, client_key: &'static [u8]| Run {
            count,
            base_low,
            client_key: Bytes::from_static(client_key),
            arrived_ms: 7,
            ..Run::default()
        };
        let former = Slab {
            requests: Vec::new(),
            gaps: Vec::new(),
            ids: Bytes::new(),
            names: Bytes::new(),
            name_lens: Vec::new(),
            runs: vec![run(2, 10, b""), run(1, 50, b"x"), run(1, 60, b"x")],
            ..slab()
        };
        let slab = read(former.encode_to_vec().into()).unwrap();
        assert!(is_whole(&slab));
        let ids: Vec<_> = records(&slab)
            .map(|r| (r.id, r.client_key, r.request.arrived_ms))
            .collect();
        assert_eq!(
            ids,
            [
                (id(10), &b""[..], 7),
                (id(11), b"", 7),
                (id(50), b"x", 7),
                (id(60), b"x", 7)
            ]
        );
        let huge = Slab {
            runs: vec![run(u32::MAX, 0, b"x"), run(u32::MAX, 0, b"x")],
            ..former
        };
        assert!(!is_whole(&read(huge.encode_to_vec().into()).unwrap()));
    }
}

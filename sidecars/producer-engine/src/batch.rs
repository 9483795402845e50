//! Records as a record batch (format 2, KIP-98), straight from a slab.
//!
//! | bytes | |
//! |---|---|
//! | 8 | base offset, 0: the broker sets it |
//! | 4 | bytes of the rest |
//! | 4 | leader epoch, -1: the broker sets it |
//! | 1 | format, 2 |
//! | 4 | CRC-32C of the rest |
//! | 2 | attributes: the codec |
//! | 4 | number of the last record, from 0 |
//! | 8 + 8 | first and greatest timestamp |
//! | 8 + 2 + 4 | producer's id, its epoch, number of the first record |
//! | 4 | how many records |
//! | the rest | records, compressed as a whole |

use std::{io, ops::Range};

use bytes::{BufMut as _, BytesMut};

use crate::{Compression, Record, Slab};

/// Bytes of a batch before its records.
pub const HEAD_BYTES: usize = 61;
/// What the field of a batch's length does not count.
const BEFORE_LENGTH: usize = 12;
/// Where the checksum is, and what it is of.
const CRC_AT: usize = 17;
const CRC_OF: usize = 21;
const FORMAT: i8 = 2;

/// Who has written a batch, and where it is in the order of all that are of the same id and epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The producer's id.
    pub producer: i64,
    /// Its epoch.
    pub epoch: i16,
    /// The number of the batch's first record.
    pub sequence: i32,
}

/// Writes `records` (positions) of `slab` to `out` as one batch.
pub fn encode<S: Slab>(
    slab: &S,
    records: Range<usize>,
    stamp: Stamp,
    compression: Compression,
    out: &mut BytesMut,
) -> io::Result<()> {
    let start = out.len();
    out.put_bytes(0, HEAD_BYTES);
    let (first, greatest) = write_records(slab, &records, out);
    if let Some(compressed) = compression.compress(&out[start + HEAD_BYTES..])? {
        out.truncate(start + HEAD_BYTES);
        out.put_slice(&compressed);
    }
    let count = records.len() as i32;
    let length = (out.len() - start - BEFORE_LENGTH) as i32;
    let mut head = &mut out[start..start + HEAD_BYTES];
    head.put_i64(0);
    head.put_i32(length);
    head.put_i32(-1);
    head.put_i8(FORMAT);
    head.put_u32(0);
    head.put_i16(compression.attributes());
    head.put_i32(count - 1);
    head.put_i64(first);
    head.put_i64(greatest);
    head.put_i64(stamp.producer);
    head.put_i16(stamp.epoch);
    head.put_i32(stamp.sequence);
    head.put_i32(count);
    let crc = crc32c::crc32c(&out[start + CRC_OF..]);
    out[start + CRC_AT..start + CRC_OF].copy_from_slice(&crc.to_be_bytes());
    Ok(())
}

/// Writes records; the first and the greatest of their timestamps.
fn write_records<S: Slab>(slab: &S, records: &Range<usize>, out: &mut BytesMut) -> (i64, i64) {
    let (mut index, mut first, mut greatest) = (0, 0, i64::MIN);
    slab.each(|record| {
        if records.contains(&index) {
            let delta = (index - records.start) as i64;
            if delta == 0 {
                first = record.timestamp;
            }
            greatest = greatest.max(record.timestamp);
            let body = body_bytes(&record, record.timestamp.wrapping_sub(first), delta);
            out.reserve(body + 2 * VARINT_MAX);
            write_record(
                &record,
                body,
                record.timestamp.wrapping_sub(first),
                delta,
                out,
            );
        }
        index += 1;
    });
    (first, greatest)
}

/// Bytes of the records of `slab` in a batch without compression, each with its length, in order: `visit` gets them.
pub fn sizes<S: Slab>(slab: &S, mut visit: impl FnMut(usize)) {
    let (mut index, mut first) = (0, 0);
    slab.each(|record| {
        if index == 0 {
            first = record.timestamp;
        }
        // Of a part of the slab the deltas are smaller, the time's perhaps not: it may take one byte more.
        let delta = record.timestamp.wrapping_sub(first);
        let body = body_bytes(&record, delta, index);
        visit(body + varint_bytes(body as i64) + 1);
        index += 1;
    });
}

fn body_bytes(record: &Record<'_>, time_delta: i64, offset_delta: i64) -> usize {
    let text = |bytes: usize| varint_bytes(bytes as i64) + bytes;
    let key = record.key.map_or(varint_bytes(-1), |key| text(key.len()));
    let headers = record.headers.iter();
    let headers: usize = headers
        .map(|(name, value)| text(name.len()) + text(value.len()))
        .sum();
    let count = varint_bytes(record.headers.len() as i64);
    let deltas = varint_bytes(time_delta) + varint_bytes(offset_delta);
    1 + deltas + key + text(record.value.len()) + count + headers
}

fn write_record(
    record: &Record<'_>,
    body: usize,
    time_delta: i64,
    offset_delta: i64,
    out: &mut BytesMut,
) {
    let text = |out: &mut BytesMut, bytes: &[u8]| {
        put_varint(out, bytes.len() as i64);
        out.put_slice(bytes);
    };
    put_varint(out, body as i64);
    out.put_i8(0); // attributes: none are defined
    put_varint(out, time_delta);
    put_varint(out, offset_delta);
    match record.key {
        Some(key) => text(out, key),
        None => put_varint(out, -1),
    }
    text(out, record.value);
    put_varint(out, record.headers.len() as i64);
    for (name, value) in record.headers {
        text(out, name.as_bytes());
        text(out, value);
    }
}

/// The most bytes of one.
const VARINT_MAX: usize = 10;

/// Small numbers of either sign in few bytes: zigzag, then seven bits a byte, lowest first.
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn varint_bytes(number: i64) -> usize {
    let bits = u64::BITS - (zigzag(number) | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

fn put_varint(out: &mut BytesMut, number: i64) {
    put_unsigned_varint(out, zigzag(number));
}

/// Seven bits a byte, lowest first.
pub(crate) fn put_unsigned_varint(out: &mut BytesMut, mut rest: u64) {
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

//! The records inside a batch.
//!
//! ```text
//! length:varint | attributes:i8 timestamp_delta:varint offset_delta:varint key:bytes value:bytes
//!               | headers:varint ( name:bytes value:bytes )*
//! ```
//!
//! Lengths of keys, values and headers are varints, -1 for none. Records are the producer's: nothing in them is
//! believed before it was checked, and headers are not looked at unless asked for.

use bytes::Buf;

/// The records of a batch are not what its header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("record {0} of the batch cannot be read")]
pub struct MalformedRecord(i32);

/// A record of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Milliseconds after the batch's base timestamp.
    pub timestamp_delta: i64,
    /// How far after the batch's base offset it stands.
    pub offset_delta: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// A record without a value takes its key away, where a topic is compacted.
    pub value: Option<&'a [u8]>,
    headers: &'a [u8],
    /// Key, value and headers, as [`body`] makes them.
    pub body: &'a [u8],
    /// The whole record, with its length.
    pub bytes: &'a [u8],
}

/// A record's header: its name, and its value if it has one.
pub type Header<'a> = (&'a str, Option<&'a [u8]>);

impl<'a> Record<'a> {
    /// The headers, in order; None where they are not what the record says.
    pub fn headers(&self) -> Option<Vec<Header<'a>>> {
        let mut rest = self.headers;
        let count = usize::try_from(get_varint(&mut rest)?).ok()?;
        // Never sized from `count`, which is only the producer's word.
        let mut headers = Vec::new();
        for _ in 0..count {
            let name = get_bytes(&mut rest).ok()??;
            let value = get_bytes(&mut rest).ok()?;
            headers.push((std::str::from_utf8(name).ok()?, value));
        }
        Some(headers)
    }
}

/// What a record is without its place in a batch: key, value and headers, as they are in one.
pub fn body<'h>(
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: impl ExactSizeIterator<Item = Header<'h>> + Clone,
) -> Vec<u8> {
    let sized = |bytes: Option<&[u8]>| {
        let length = bytes.map_or(-1, |bytes| bytes.len() as i64);
        varint_bytes(length) + bytes.map_or(0, <[u8]>::len)
    };
    let count = headers.len() as i64;
    let named = headers.clone().map(|(name, value)| sized(Some(name.as_bytes())) + sized(value));
    let size = sized(key) + sized(value) + varint_bytes(count) + named.sum::<usize>();
    let mut body = Vec::with_capacity(size);
    put_bytes(&mut body, key);
    put_bytes(&mut body, value);
    put_varint(&mut body, count);
    for (name, value) in headers {
        put_bytes(&mut body, Some(name.as_bytes()));
        put_bytes(&mut body, value);
    }
    body
}

/// Appends a record with this [`body`], as [`Records`] reads it.
pub(crate) fn put_record(
    bytes: &mut Vec<u8>,
    timestamp_delta: i64,
    offset_delta: i64,
    body: &[u8],
) {
    let length = 1 + varint_bytes(timestamp_delta) + varint_bytes(offset_delta) + body.len();
    put_varint(bytes, length as i64);
    bytes.push(0);
    put_varint(bytes, timestamp_delta);
    put_varint(bytes, offset_delta);
    bytes.extend_from_slice(body);
}

fn put_bytes(bytes: &mut Vec<u8>, value: Option<&[u8]>) {
    put_varint(bytes, value.map_or(-1, |value| value.len() as i64));
    bytes.extend_from_slice(value.unwrap_or_default());
}

/// A zigzag varint.
fn put_varint(bytes: &mut Vec<u8>, value: i64) {
    let mut value = zigzag(value);
    while 0x80 <= value {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn varint_bytes(value: i64) -> usize {
    (64 - (zigzag(value) | 1).leading_zeros() as usize).div_ceil(7)
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Walks over the records of a batch; ends after the first that cannot be read.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
    index: i32,
    count: i32,
}

impl<'a> Records<'a> {
    /// `bytes` are the records, not compressed.
    pub fn new(bytes: &'a [u8], count: i32) -> Self {
        Self { rest: bytes, index: 0, count }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, MalformedRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.count <= self.index {
            return None;
        }
        let index = self.index;
        let record = read_record(&mut self.rest);
        self.index = if record.is_some() { index + 1 } else { self.count };
        Some(record.ok_or(MalformedRecord(index)))
    }
}

fn read_record<'a>(rest: &mut &'a [u8]) -> Option<Record<'a>> {
    let whole = *rest;
    let length = usize::try_from(get_varint(rest)?).ok()?;
    let mut body = rest.get(..length)?;
    rest.advance(length);
    body.try_get_i8().ok()?;
    let timestamp_delta = get_varint(&mut body)?;
    let offset_delta = get_varint(&mut body)?;
    let without_place = body;
    let key = get_bytes(&mut body).ok()?;
    let value = get_bytes(&mut body).ok()?;
    let bytes = &whole[..whole.len() - rest.len()];
    Some(Record {
        timestamp_delta,
        offset_delta,
        key,
        value,
        headers: body,
        body: without_place,
        bytes,
    })
}

/// Bytes after their length; none for a length of -1.
fn get_bytes<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Unreadable> {
    match get_varint(bytes).ok_or(Unreadable)? {
        -1 => Ok(None),
        length => {
            let length = usize::try_from(length).map_err(|_| Unreadable)?;
            let value = bytes.get(..length).ok_or(Unreadable)?;
            bytes.advance(length);
            Ok(Some(value))
        }
    }
}

struct Unreadable;

/// A zigzag varint of up to ten bytes.
fn get_varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for group in 0..10 {
        let byte = bytes.try_get_u8().ok()?;
        value |= u64::from(byte & 0x7f) << (7 * group);
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::HEADER_BYTES;
    use crate::test_batch::pairs;

    #[test]
    fn keys_and_tombstones_are_seen() {
        let bytes = pairs(&[(Some("k"), Some("v")), (Some("k"), None), (None, Some(""))]);
        let records: Vec<_> = Records::new(&bytes[HEADER_BYTES..], 3).map(Result::unwrap).collect();
        let seen: Vec<_> =
            records.iter().map(|r| (r.offset_delta, r.key, r.value.is_none())).collect();
        let key = Some(&b"k"[..]);
        assert_eq!(seen, [(0, key, false), (1, key, true), (2, None, false)]);
        assert_eq!(records.iter().flat_map(|r| r.bytes).count(), bytes.len() - HEADER_BYTES);
    }

    #[test]
    fn records_cut_anywhere_end_with_an_error() {
        let bytes = pairs(&[(Some("key"), Some("value")), (Some("k"), None)]);
        for end in HEADER_BYTES..bytes.len() {
            let results: Vec<_> = Records::new(&bytes[HEADER_BYTES..end], 2).collect();
            assert!(results.last().unwrap().is_err(), "{end}");
            assert!(results[..results.len() - 1].iter().all(Result::is_ok), "{end}");
        }
        assert!(Records::new(&[0xff; 20], i32::MAX).all(|record| record.is_err()));
    }
}

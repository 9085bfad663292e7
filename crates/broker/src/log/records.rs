//! The records inside a batch, for the few places that look at them.
//!
//! ```text
//! length:varint | attributes:i8 timestamp_delta:varint offset_delta:varint key:bytes value:bytes headers
//! ```
//!
//! Lengths of keys and values are varints, -1 for none. Records are the producer's: nothing in them is
//! believed before it was checked, and headers are not looked at.

use bytes::Buf;

/// The records of a batch are not what its header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("record {0} of the batch cannot be read")]
pub(crate) struct MalformedRecord(i32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i64,
    pub(crate) key: Option<&'a [u8]>,
    /// A record without a value takes its key away.
    pub(crate) is_tombstone: bool,
    /// The whole record, with its length.
    pub(crate) bytes: &'a [u8],
}

/// Walks over the records of a batch; ends after the first that cannot be read.
#[derive(Debug, Clone)]
pub(crate) struct Records<'a> {
    rest: &'a [u8],
    index: i32,
    count: i32,
}

impl<'a> Records<'a> {
    /// `bytes` are the records, not compressed.
    pub(crate) fn new(bytes: &'a [u8], count: i32) -> Self {
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
    let key = get_bytes(&mut body).ok()?;
    let is_tombstone = get_bytes(&mut body).ok()?.is_none();
    let bytes = &whole[..whole.len() - rest.len()];
    Some(Record { timestamp_delta, offset_delta, key, is_tombstone, bytes })
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
    use crate::log::batch::HEADER_BYTES;
    use crate::log::tests::Batch;

    #[test]
    fn keys_and_tombstones_are_seen() {
        let batch = Batch::pairs(&[(Some("k"), Some("v")), (Some("k"), None), (None, Some(""))]);
        let bytes = batch.bytes();
        let records: Vec<_> = Records::new(&bytes[HEADER_BYTES..], 3).map(Result::unwrap).collect();
        let seen: Vec<_> =
            records.iter().map(|r| (r.offset_delta, r.key, r.is_tombstone)).collect();
        let key = Some(&b"k"[..]);
        assert_eq!(seen, [(0, key, false), (1, key, true), (2, None, false)]);
        assert_eq!(records.iter().flat_map(|r| r.bytes).count(), bytes.len() - HEADER_BYTES);
    }

    #[test]
    fn records_cut_anywhere_end_with_an_error() {
        let bytes = Batch::pairs(&[(Some("key"), Some("value")), (Some("k"), None)]).bytes();
        for end in HEADER_BYTES..bytes.len() {
            let results: Vec<_> = Records::new(&bytes[HEADER_BYTES..end], 2).collect();
            assert!(results.last().unwrap().is_err(), "{end}");
            assert!(results[..results.len() - 1].iter().all(Result::is_ok), "{end}");
        }
        assert!(Records::new(&[0xff; 20], i32::MAX).all(|record| record.is_err()));
    }
}

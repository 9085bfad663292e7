//! The record batch, version 2: the unit that is produced, stored, and fetched.
//!
//! ```text
//!  0 base_offset:i64      8 batch_length:i32    12 partition_leader_epoch:i32   16 magic:i8
//! 17 crc:u32 of all that follows               21 attributes:i16               23 last_offset_delta:i32
//! 27 base_timestamp:i64  35 max_timestamp:i64  43 producer_id:i64              51 producer_epoch:i16
//! 53 base_sequence:i32   57 record_count:i32   61 records, maybe compressed
//! ```
//!
//! The CRC leaves out the first 17 bytes, so the broker writes the base offset without touching it.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::ErrorCode;
use crate::compression::{Compression, InflateError};
use crate::records::{MalformedRecord, Record, Records};

/// Bytes before the records.
pub const HEADER_BYTES: usize = 61;
/// Bytes that `batch_length` does not count.
const LENGTH_END: usize = 12;
const CRC_END: usize = 21;
/// The version of the format.
pub const MAGIC: u8 = 2;

const COMPRESSION_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// The epoch of every batch's leader: a single node is always the first and only leader.
pub const LEADER_EPOCH: i32 = 0;

/// A producer id that marks a batch as not idempotent.
pub const NO_PRODUCER: i64 = -1;

/// Why a batch is not one.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each says what it is")]
pub enum BatchError {
    #[error("the batch ends after {actual} bytes; it should have {expected}")]
    Truncated { expected: usize, actual: usize },
    #[error("{actual} bytes came as one batch of {expected}: one batch per partition is allowed")]
    TrailingBytes { expected: usize, actual: usize },
    #[error("the batch claims {0} bytes after its length, which is less than a header")]
    Length(i32),
    #[error("magic byte {0}: only record batches of version 2 are stored")]
    Magic(u8),
    #[error("the checksum is {actual:08x}; the batch says {expected:08x}")]
    Crc { expected: u32, actual: u32 },
    #[error("{count} records cannot end at offset delta {last_offset_delta}")]
    Count { count: i32, last_offset_delta: i32 },
    #[error("attributes {0:#06x}: {1}")]
    Attributes(i16, &'static str),
    #[error("record {index} has no key; a compacted topic keeps records by their keys")]
    NoKey { index: usize },
    #[error(transparent)]
    Record(#[from] MalformedRecord),
    #[error(transparent)]
    Inflate(#[from] InflateError),
}

impl BatchError {
    /// What its producer is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Length(_) | Self::Crc { .. } | Self::Magic(3..) => ErrorCode::CorruptMessage,
            Self::Magic(_)
            | Self::Truncated { .. }
            | Self::TrailingBytes { .. }
            | Self::Count { .. }
            | Self::Attributes(..)
            | Self::NoKey { .. }
            | Self::Record(_)
            | Self::Inflate(_) => ErrorCode::InvalidRecord,
        }
    }

    /// The record that the batch is refused for; the others are sound, and a client may send them again.
    pub fn record(&self) -> Option<usize> {
        match self {
            Self::NoKey { index } => Some(*index),
            _ => None,
        }
    }
}

/// What a batch says about itself, without its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of its first record.
    pub base_offset: i64,
    /// Bytes of the whole batch.
    pub size: usize,
    /// The epoch of the leader that appended it.
    pub leader_epoch: i32,
    /// Over all that follows it.
    pub crc: u32,
    /// Compression, kind of timestamp, and whether it belongs to a transaction.
    pub attributes: i16,
    /// How far its last record stands after its first.
    pub last_offset_delta: i32,
    /// The first record's, in milliseconds since the epoch.
    pub base_timestamp: i64,
    /// The latest of its records'.
    pub max_timestamp: i64,
    /// -1 where the producer is not idempotent.
    pub producer_id: i64,
    /// Of the producer with this id.
    pub producer_epoch: i16,
    /// The first record's place in what the producer sent.
    pub base_sequence: i32,
    /// How many records there are.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`, which may hold less than the whole batch or more.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let truncated = BatchError::Truncated { expected: HEADER_BYTES, actual: bytes.len() };
        let mut header = bytes.get(..HEADER_BYTES).ok_or(truncated)?;
        let base_offset = header.get_i64();
        let length = header.get_i32();
        let leader_epoch = header.get_i32();
        let magic = header.get_u8();
        if magic != MAGIC {
            return Err(BatchError::Magic(magic));
        }
        let size = usize::try_from(length).map_err(|_| BatchError::Length(length))? + LENGTH_END;
        if size < HEADER_BYTES {
            return Err(BatchError::Length(length));
        }
        Ok(Self {
            base_offset,
            size,
            leader_epoch,
            crc: header.get_u32(),
            attributes: header.get_i16(),
            last_offset_delta: header.get_i32(),
            base_timestamp: header.get_i64(),
            max_timestamp: header.get_i64(),
            producer_id: header.get_i64(),
            producer_epoch: header.get_i16(),
            base_sequence: header.get_i32(),
            record_count: header.get_i32(),
        })
    }

    /// Whether it belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether its records are not a producer's but tell where transactions end.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// The offset after the batch's last.
    pub fn next_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta) + 1
    }

    /// How its records are compressed; see [`Compression::of`].
    pub fn compression_code(&self) -> i16 {
        self.attributes & COMPRESSION_MASK
    }

    /// Whether its records are compressed.
    pub fn is_compressed(&self) -> bool {
        self.compression_code() != 0
    }

    /// The offset of one of the batch's records; None where it would not be in the batch.
    pub fn offset_of(&self, record: &Record<'_>) -> Option<i64> {
        let is_within = (0..=i64::from(self.last_offset_delta)).contains(&record.offset_delta);
        is_within.then(|| self.base_offset + record.offset_delta)
    }

    /// The timestamp of one of the batch's records; None where there is no such time.
    pub fn timestamp_of(&self, record: &Record<'_>) -> Option<i64> {
        self.base_timestamp.checked_add(record.timestamp_delta)
    }

    /// Compares the checksum with the bytes of the whole batch.
    pub fn verify(&self, batch: &[u8]) -> Result<(), BatchError> {
        let actual = crc32c::crc32c(&batch[CRC_END..]);
        if actual == self.crc {
            Ok(())
        } else {
            Err(BatchError::Crc { expected: self.crc, actual })
        }
    }
}

/// A batch that came from a producer and may be appended.
#[derive(Debug)]
pub struct NewBatch {
    /// What it says about itself.
    pub header: BatchHeader,
    bytes: BytesMut,
}

impl NewBatch {
    /// Checks all that can be checked without looking at single records.
    ///
    /// The bytes are taken over without a copy where nothing else of their frame is in use.
    pub fn check(bytes: Bytes) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(&bytes)?;
        let (expected, actual) = (header.size, bytes.len());
        if actual < expected {
            return Err(BatchError::Truncated { expected, actual });
        }
        if expected < actual {
            return Err(BatchError::TrailingBytes { expected, actual });
        }
        header.verify(&bytes)?;
        let attributes = header.attributes;
        let refusal = match attributes {
            _ if Compression::of(&header).is_none() => "unknown compression",
            a if a & LOG_APPEND_TIME != 0 => "only a broker may set the append time",
            a if a & TRANSACTIONAL != 0 => "this broker has no transactions",
            a if a & CONTROL != 0 => "only a broker may write control batches",
            _ => "",
        };
        if !refusal.is_empty() {
            return Err(BatchError::Attributes(attributes, refusal));
        }
        let (count, last_offset_delta) = (header.record_count, header.last_offset_delta);
        if count < 1 || last_offset_delta != count - 1 {
            return Err(BatchError::Count { count, last_offset_delta });
        }
        Ok(Self { header, bytes: bytes.into() })
    }

    /// Checks that every record has a key, looking at up to `bound` bytes of decompressed records.
    pub fn check_keys(&self, bound: usize) -> Result<(), BatchError> {
        let compression = Compression::of(&self.header).expect("unknown ones were refused");
        let records = compression.inflate(&self.bytes[HEADER_BYTES..], bound)?;
        for (index, record) in Records::new(&records, self.header.record_count).enumerate() {
            if record?.key.is_none() {
                return Err(BatchError::NoKey { index });
            }
        }
        Ok(())
    }

    /// Gives the batch its place in the log.
    pub fn assign(&mut self, base_offset: i64) {
        self.header.base_offset = base_offset;
        (&mut self.bytes[..8]).put_i64(base_offset);
        (&mut self.bytes[12..16]).put_i32(LEADER_EPOCH);
    }

    /// The whole of it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A batch with fewer records: the same offsets, sequences and producer, `records` in the place of what was
/// there. They are compressed as the batch says.
pub fn rewritten(batch: &[u8], records: &[u8], count: i32, max_timestamp: i64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + records.len());
    bytes.put_slice(&batch[..HEADER_BYTES]);
    bytes.put_slice(records);
    (&mut bytes[35..43]).put_i64(max_timestamp);
    (&mut bytes[57..61]).put_i32(count);
    seal(&mut bytes);
    bytes
}

/// Makes a batch's length and checksum right.
pub fn seal(batch: &mut [u8]) {
    let length = (batch.len() - LENGTH_END) as i32;
    (&mut batch[8..12]).put_i32(length);
    let crc = crc32c::crc32c(&batch[CRC_END..]);
    (&mut batch[17..21]).put_u32(crc);
}

/// The first record of an uncompressed batch that is not older than `timestamp`: its offset and timestamp.
///
/// None where the records cannot be read: they are the producer's, and nobody has checked them.
pub fn first_record_since(batch: &[u8], timestamp: i64) -> Option<(i64, i64)> {
    let header = BatchHeader::parse(batch).ok()?;
    for record in Records::new(batch.get(HEADER_BYTES..header.size)?, header.record_count) {
        let record = record.ok()?;
        let record_timestamp = header.timestamp_of(&record)?;
        if timestamp <= record_timestamp {
            return Some((header.offset_of(&record)?, record_timestamp));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_batch::of;

    fn check(edit: impl FnOnce(&mut Vec<u8>)) -> Result<NewBatch, BatchError> {
        let mut bytes = of(&["a", "b", "c"], 0);
        edit(&mut bytes);
        NewBatch::check(bytes.into())
    }

    #[test]
    fn a_whole_batch_is_accepted_and_assigned() {
        let mut batch = check(|_| ()).unwrap();
        batch.assign(42);
        let stored = BatchHeader::parse(batch.bytes()).unwrap();
        assert_eq!((stored.base_offset, stored.next_offset()), (42, 45));
        stored.verify(batch.bytes()).unwrap();
    }

    #[test]
    fn every_flipped_byte_the_checksum_covers_is_noticed() {
        for position in CRC_END..of(&["a", "b", "c"], 0).len() {
            let error = check(|bytes| bytes[position] ^= 0x40).unwrap_err();
            assert!(matches!(error, BatchError::Crc { .. }), "{position}: {error}");
        }
    }

    #[test]
    fn what_is_not_one_batch_is_refused() {
        assert!(matches!(check(|b| b.truncate(60)), Err(BatchError::Truncated { .. })));
        assert!(matches!(check(|b| b.truncate(b.len() - 1)), Err(BatchError::Truncated { .. })));
        assert!(matches!(check(|b| b.push(0)), Err(BatchError::TrailingBytes { .. })));
        assert!(matches!(check(|b| b[16] = 1), Err(BatchError::Magic(1))));
        assert!(matches!(check(|b| b[8] = 0xff), Err(BatchError::Length(_))));
        assert!(matches!(check(|b| b[8..12].fill(0)), Err(BatchError::Length(0))));
    }

    #[test]
    fn attributes_and_counts_a_producer_may_not_send_are_refused() {
        for attributes in [LOG_APPEND_TIME, TRANSACTIONAL, CONTROL, 5] {
            let edited = check(|bytes| {
                (&mut bytes[21..23]).put_i16(attributes);
                seal(bytes);
            });
            assert!(matches!(edited, Err(BatchError::Attributes(..))), "{attributes:#x}");
        }
        for count in [0, -1, 2, i32::MAX] {
            let edited = check(|bytes| {
                (&mut bytes[57..61]).put_i32(count);
                seal(bytes);
            });
            assert!(matches!(edited, Err(BatchError::Count { .. })), "{count}");
        }
    }

    #[test]
    fn a_record_is_found_by_its_time() {
        let mut batch = NewBatch::check(of(&["a", "b", "c"], 1000).into()).unwrap();
        batch.assign(10);
        let bytes = batch.bytes();
        assert_eq!(first_record_since(bytes, 0), Some((10, 1000)));
        assert_eq!(first_record_since(bytes, 1002), Some((12, 1002)));
        assert_eq!(first_record_since(bytes, 1003), None);
    }
}

//! Making batches, as producers do.

use bytes::{BufMut, Bytes};

use crate::batch::{HEADER_BYTES, MAGIC, NO_PRODUCER, seal};
use crate::compression::Compression;
use crate::records::put_record;

/// Who sends a batch, and the place of its first record in what they send to the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sequence {
    /// As a broker gave it; -1 for a producer that is not idempotent.
    pub producer_id: i64,
    /// Rises when a producer with this id starts anew.
    pub producer_epoch: i16,
    /// From 0, and after `i32::MAX` from 0 again.
    pub base_sequence: i32,
}

impl Sequence {
    /// Of a producer that is not idempotent.
    pub const NONE: Self = Self { producer_id: NO_PRODUCER, producer_epoch: -1, base_sequence: -1 };

    /// The place after `records` more.
    #[must_use]
    pub const fn after(self, records: i32) -> Self {
        let next = (self.base_sequence as i64 + records as i64) % (i32::MAX as i64 + 1);
        Self { base_sequence: next as i32, ..self }
    }
}

impl Sequence {
    fn put(self, mut header: &mut [u8]) {
        header.put_i64(self.producer_id);
        header.put_i16(self.producer_epoch);
        header.put_i32(self.base_sequence);
    }
}

/// A batch in the making.
#[derive(Debug, Default)]
pub struct BatchWriter {
    /// The records, behind room for the header.
    bytes: Vec<u8>,
    base_timestamp: i64,
    max_timestamp: i64,
    count: i32,
}

impl BatchWriter {
    /// A batch without records.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many records it has.
    pub fn count(&self) -> i32 {
        self.count
    }

    /// Its size so far, header included and not compressed.
    pub fn size(&self) -> usize {
        self.bytes.len().max(HEADER_BYTES)
    }

    /// Appends a record with this [`body`](crate::records::body). `timestamp` is in milliseconds since the epoch.
    pub fn push(&mut self, timestamp: i64, body: &[u8]) {
        if self.count == 0 {
            self.bytes.resize(HEADER_BYTES, 0);
            (self.base_timestamp, self.max_timestamp) = (timestamp, timestamp);
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let delta = timestamp.wrapping_sub(self.base_timestamp);
        put_record(&mut self.bytes, delta, i64::from(self.count), body);
        self.count += 1;
    }

    /// The batch.
    ///
    /// # Errors
    ///
    /// Where its records can't be compressed.
    ///
    /// # Panics
    ///
    /// Without a record.
    pub fn finish(self, sequence: Sequence, compression: Compression) -> std::io::Result<Bytes> {
        assert!(0 < self.count, "a batch has records");
        let mut bytes = self.bytes;
        if compression != Compression::None {
            let records = compression.deflate(bytes.split_off(HEADER_BYTES))?;
            bytes.extend_from_slice(&records);
        }
        let mut header = &mut bytes[..HEADER_BYTES];
        header.put_i64(0);
        header.put_i32(0);
        header.put_i32(-1);
        header.put_u8(MAGIC);
        header.put_u32(0);
        header.put_i16(compression.code());
        header.put_i32(self.count - 1);
        header.put_i64(self.base_timestamp);
        header.put_i64(self.max_timestamp);
        sequence.put(header);
        (&mut bytes[57..61]).put_i32(self.count);
        seal(&mut bytes);
        Ok(bytes.into())
    }
}

/// A batch as it was, in another place of a sequence.
pub fn resequenced(batch: &[u8], sequence: Sequence) -> Bytes {
    let mut bytes = batch.to_vec();
    sequence.put(&mut bytes[43..57]);
    seal(&mut bytes);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchHeader, NewBatch};
    use crate::records::{Records, body};

    #[test]
    fn what_was_written_is_read() {
        let headers = [("a", Some(&b"1"[..])), ("b", None), ("a", Some(b""))];
        for compression in Compression::ALL {
            let mut writer = BatchWriter::new();
            writer.push(1_000, &body(Some(b"k"), Some(&[7; 300]), headers.into_iter()));
            writer.push(990, &body(None, None, [].into_iter()));
            assert_eq!(writer.count(), 2);
            let sequence = Sequence { producer_id: 5, producer_epoch: 1, base_sequence: 9 };
            let bytes = writer.finish(sequence, compression).unwrap();
            NewBatch::check(bytes.clone()).unwrap();
            let header = BatchHeader::parse(&bytes).unwrap();
            assert_eq!((header.producer_id, header.producer_epoch), (5, 1));
            assert_eq!((header.base_sequence, header.record_count), (9, 2));
            assert_eq!((header.base_timestamp, header.max_timestamp), (1_000, 1_000));
            let inflated = compression.inflate(&bytes[HEADER_BYTES..], 1 << 20).unwrap();
            let records: Vec<_> = Records::new(&inflated, 2).map(Result::unwrap).collect();
            assert_eq!(records[0].headers().unwrap(), headers);
            assert_eq!((records[0].key, records[0].value), (Some(&b"k"[..]), Some(&[7; 300][..])));
            assert_eq!((records[1].key, records[1].value), (None, None));
            assert_eq!(header.timestamp_of(&records[1]), Some(990));
            assert_eq!(records[1].offset_delta, 1);
            let moved = resequenced(&bytes, sequence.after(2));
            NewBatch::check(moved.clone()).unwrap();
            let moved_header = BatchHeader::parse(&moved).unwrap();
            assert_eq!(
                BatchHeader { base_sequence: 11, crc: moved_header.crc, ..header },
                moved_header
            );
        }
    }

    #[test]
    fn a_sequence_starts_again_after_the_largest_number() {
        let sequence = Sequence { producer_id: 1, producer_epoch: 0, base_sequence: i32::MAX - 1 };
        assert_eq!(sequence.after(1).base_sequence, i32::MAX);
        assert_eq!(sequence.after(2).base_sequence, 0);
        assert_eq!(sequence.after(5).base_sequence, 3);
    }
}

//! The sparse index of a segment: where in the file to start looking for an offset or a time.
//!
//! One entry per [`INTERVAL_BYTES`] of log: a lookup reads at most that much more than it needs, and a full
//! segment's index takes some tens of kilobytes.

use bytes::{Buf, BufMut};

use protocol::batch::BatchHeader;

/// Log bytes between two entries.
pub(crate) const INTERVAL_BYTES: u32 = 32 * 1024;

/// Says that the batch at `position` begins with `offset`, and how new the segment is before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    offset: i64,
    max_timestamp_before: i64,
    position: u32,
}

const ENTRY_BYTES: usize = 20;

/// Entries in ascending order of offset, position and time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SparseIndex {
    entries: Vec<Entry>,
}

impl SparseIndex {
    /// Takes note of a batch that was written at `position`.
    pub(crate) fn observe(
        &mut self,
        batch: &BatchHeader,
        position: u32,
        max_timestamp_before: i64,
    ) {
        let due = self.entries.last().map_or(0, |last| last.position + INTERVAL_BYTES);
        if due <= position {
            self.entries.push(Entry { offset: batch.base_offset, max_timestamp_before, position });
        }
    }

    /// A position at or before the batch that holds `offset`.
    pub(crate) fn position_of(&self, offset: i64) -> u32 {
        self.before(|entry| entry.offset <= offset)
    }

    /// A position at or before the first batch that holds a record not older than `timestamp`.
    pub(crate) fn position_since(&self, timestamp: i64) -> u32 {
        self.before(|entry| entry.max_timestamp_before < timestamp)
    }

    fn before(&self, holds: impl Fn(&Entry) -> bool) -> u32 {
        let after = self.entries.partition_point(holds);
        after.checked_sub(1).map_or(0, |last| self.entries[last].position)
    }

    pub(crate) fn encode(&self, buffer: &mut Vec<u8>) {
        buffer.put_u32(self.entries.len() as u32);
        for entry in &self.entries {
            buffer.put_i64(entry.offset);
            buffer.put_i64(entry.max_timestamp_before);
            buffer.put_u32(entry.position);
        }
    }

    /// None where the bytes are not an index.
    pub(crate) fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let count = bytes.try_get_u32().ok()? as usize;
        if bytes.len() < count.checked_mul(ENTRY_BYTES)? {
            return None;
        }
        let mut entry = || Entry {
            offset: bytes.get_i64(),
            max_timestamp_before: bytes.get_i64(),
            position: bytes.get_u32(),
        };
        Some(Self { entries: (0..count).map(|_| entry()).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::tests::Batch;

    /// Ten batches of 20 kB at offsets 0, 10, 20, …, each ten milliseconds newer than the last.
    fn index() -> SparseIndex {
        let mut index = SparseIndex::default();
        for batch in 0..10 {
            let bytes = Batch::of(&["x"]).based(batch * 10).bytes();
            let before = if batch == 0 { i64::MIN } else { batch * 10 - 1 };
            index.observe(&BatchHeader::parse(&bytes).unwrap(), batch as u32 * 20_000, before);
        }
        index
    }

    #[test]
    fn a_lookup_lands_at_or_before_the_batch_and_within_the_interval() {
        let index = index();
        for offset in 0..100 {
            let position = index.position_of(offset);
            let exact = (offset / 10) as u32 * 20_000;
            assert!(
                position <= exact && exact - position <= INTERVAL_BYTES,
                "{offset}: {position}"
            );
            assert!(index.position_since(offset) <= exact, "{offset}");
        }
        assert_eq!(SparseIndex::default().position_of(9), 0);
    }

    #[test]
    fn it_reads_back_as_written_and_nothing_else_does() {
        let mut bytes = Vec::new();
        index().encode(&mut bytes);
        assert_eq!(SparseIndex::decode(&mut &bytes[..]), Some(index()));
        assert_eq!(SparseIndex::decode(&mut &bytes[..bytes.len() - 1]), None);
        assert_eq!(SparseIndex::decode(&mut &[0xff; 8][..]), None);
    }
}

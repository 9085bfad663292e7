//! The log of one partition: record batches as producers sent them, in segment files, in offset order.
//!
//! ```text
//! <partition>/00000000000000000000.log     batches; only base offset and leader epoch differ from what was sent
//! <partition>/00000000000000000000.seal    written once the segment is full and durable: index, producers, CRC
//! <partition>/00000000000000041800-1.log   a segment that compaction has made from others, and its seal
//! <partition>/start                         the first offset that counts, where it is not a segment's first
//! <partition>/compacted                     the offset before which the log is compacted
//! <partition>/00000000000000052100.log     the active segment: appended to, checked at every start
//! ```
//!
//! Guarantees: an offset is assigned once; what the high watermark covers is on disk; a start after a crash
//! drops the batches that were torn at the end, none of which the high watermark had reached, and nothing
//! else. Left out: records are not decoded on the way in, so a batch with a valid CRC and nonsense inside is
//! stored as it came; only where a topic is compacted are their keys looked for.

pub(crate) mod compaction;
pub(crate) mod flusher;
pub(crate) mod index;
pub(crate) mod partition;
pub(crate) mod read;
pub(crate) mod recovery;
pub(crate) mod retention;
pub(crate) mod segment;
pub(crate) mod store;

#[cfg(test)]
pub(crate) mod tests;

//! What a partition knows of its idempotent producers: enough to tell a retry from a new batch.
//!
//! An idempotent producer numbers its records per partition. A batch that continues the numbering is new; one
//! of the last [`REMEMBERED_BATCHES`] is a retry, acknowledged with its first offset and not stored again;
//! anything else is a gap. All decisions are pure: the log calls [`Producers::check`] before it writes a batch
//! and [`Producers::record`] after, and rebuilds the same state from its batches after a crash.

use std::collections::{HashMap, VecDeque};

use bytes::{Buf, BufMut};

use protocol::batch::{BatchHeader, NO_PRODUCER};

/// As many batches as a producer may have in flight while it is idempotent (`max.in.flight` ≤ 5).
const REMEMBERED_BATCHES: usize = 5;

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Append,
    /// The batch is stored already, from this offset to before that one.
    Duplicate {
        base_offset: i64,
        next_offset: i64,
    },
}

/// Why a batch is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SequenceError {
    #[error("sequence {actual} from producer {producer_id}; {expected} was expected")]
    OutOfOrder { producer_id: i64, expected: i32, actual: i32 },
    #[error(
        "sequence {actual} from producer {producer_id} was stored too long ago to know its offset"
    )]
    DuplicateForgotten { producer_id: i64, actual: i32 },
    #[error("epoch {actual} from producer {producer_id}, which has moved on to {current}")]
    OldEpoch { producer_id: i64, current: i16, actual: i16 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Remembered {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Producer {
    epoch: i16,
    /// Ascending; never empty.
    batches: VecDeque<Remembered>,
}

/// The producers of one partition, by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Producers {
    by_id: HashMap<i64, Producer>,
}

impl Producers {
    /// Decides about a batch from what came before it. A producer nobody knows may start anywhere: what it
    /// wrote before may have been deleted with its segments.
    pub(crate) fn check(&self, batch: &BatchHeader) -> Result<Verdict, SequenceError> {
        let producer_id = batch.producer_id;
        let Some(producer) = self.by_id.get(&producer_id) else { return Ok(Verdict::Append) };
        let (first, last) = sequences(batch);
        if batch.producer_epoch < producer.epoch {
            let (current, actual) = (producer.epoch, batch.producer_epoch);
            return Err(SequenceError::OldEpoch { producer_id, current, actual });
        }
        if producer.epoch < batch.producer_epoch {
            return match first {
                0 => Ok(Verdict::Append),
                actual => Err(SequenceError::OutOfOrder { producer_id, expected: 0, actual }),
            };
        }
        let retried = |b: &&Remembered| (b.first_sequence, b.last_sequence) == (first, last);
        if let Some(stored) = producer.batches.iter().find(retried) {
            let base_offset = stored.base_offset;
            let next_offset = base_offset + i64::from(batch.last_offset_delta) + 1;
            return Ok(Verdict::Duplicate { base_offset, next_offset });
        }
        let newest = producer.batches.back().expect("a known producer has a batch");
        let expected = following(newest.last_sequence, 1);
        if first == expected {
            return Ok(Verdict::Append);
        }
        if is_before(last, expected) {
            return Err(SequenceError::DuplicateForgotten { producer_id, actual: first });
        }
        Err(SequenceError::OutOfOrder { producer_id, expected, actual: first })
    }

    /// Remembers a batch that is in the log. At most `capacity` producers are kept: the one whose last batch
    /// is the oldest makes room.
    pub(crate) fn record(&mut self, batch: &BatchHeader, capacity: usize) {
        if batch.producer_id == NO_PRODUCER {
            return;
        }
        if capacity <= self.by_id.len() && !self.by_id.contains_key(&batch.producer_id) {
            self.forget_oldest();
        }
        let (first_sequence, last_sequence) = sequences(batch);
        let remembered =
            Remembered { first_sequence, last_sequence, base_offset: batch.base_offset };
        let producer = self.by_id.entry(batch.producer_id).or_insert_with(|| Producer {
            epoch: batch.producer_epoch,
            batches: VecDeque::with_capacity(REMEMBERED_BATCHES),
        });
        if producer.epoch != batch.producer_epoch {
            producer.epoch = batch.producer_epoch;
            producer.batches.clear();
        }
        if producer.batches.len() == REMEMBERED_BATCHES {
            producer.batches.pop_front();
        }
        producer.batches.push_back(remembered);
    }

    fn forget_oldest(&mut self) {
        let newest = |producer: &Producer| producer.batches.back().map(|batch| batch.base_offset);
        let oldest = self.by_id.iter().min_by_key(|(_, producer)| newest(producer));
        if let Some(id) = oldest.map(|(id, _)| *id) {
            self.by_id.remove(&id);
        }
    }

    pub(crate) fn encode(&self, buffer: &mut Vec<u8>) {
        buffer.put_u32(self.by_id.len() as u32);
        for (id, producer) in &self.by_id {
            buffer.put_i64(*id);
            buffer.put_i16(producer.epoch);
            buffer.put_u8(producer.batches.len() as u8);
            for batch in &producer.batches {
                buffer.put_i32(batch.first_sequence);
                buffer.put_i32(batch.last_sequence);
                buffer.put_i64(batch.base_offset);
            }
        }
    }

    /// None where the bytes are not what [`Producers::encode`] writes.
    pub(crate) fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let mut by_id = HashMap::new();
        for _ in 0..bytes.try_get_u32().ok()? {
            let id = bytes.try_get_i64().ok()?;
            let epoch = bytes.try_get_i16().ok()?;
            let mut batches = VecDeque::with_capacity(REMEMBERED_BATCHES);
            for _ in 0..bytes.try_get_u8().ok()? {
                batches.push_back(Remembered {
                    first_sequence: bytes.try_get_i32().ok()?,
                    last_sequence: bytes.try_get_i32().ok()?,
                    base_offset: bytes.try_get_i64().ok()?,
                });
            }
            if batches.is_empty() {
                return None;
            }
            by_id.insert(id, Producer { epoch, batches });
        }
        Some(Self { by_id })
    }
}

fn sequences(batch: &BatchHeader) -> (i32, i32) {
    (batch.base_sequence, following(batch.base_sequence, batch.last_offset_delta))
}

/// Sequences go from zero to `i32::MAX` and around.
fn following(sequence: i32, steps: i32) -> i32 {
    sequence.wrapping_add(steps) & i32::MAX
}

/// Sequences wrap around, so "before" is the nearer half of the circle.
fn is_before(sequence: i32, expected: i32) -> bool {
    let distance = expected.wrapping_sub(sequence) & i32::MAX;
    0 < distance && distance < i32::MAX / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::tests::Batch;

    const PRODUCER: i64 = 7;

    /// A batch of two records.
    fn batch(epoch: i16, sequence: i32, base_offset: i64) -> BatchHeader {
        let batch = Batch::of(&["a", "b"]).from(PRODUCER, epoch, sequence).based(base_offset);
        BatchHeader::parse(&batch.bytes()).unwrap()
    }

    fn after(batches: &[BatchHeader]) -> Producers {
        let mut producers = Producers::default();
        for batch in batches {
            producers.record(batch, 10);
        }
        producers
    }

    fn check(before: &[BatchHeader], next: BatchHeader, expected: Result<Verdict, SequenceError>) {
        assert_eq!(after(before).check(&next), expected, "{next:?}");
    }

    fn out_of_order(expected: i32, actual: i32) -> Result<Verdict, SequenceError> {
        Err(SequenceError::OutOfOrder { producer_id: PRODUCER, expected, actual })
    }

    #[test]
    fn numbering_that_continues_is_appended() {
        check(&[], batch(0, 0, 0), Ok(Verdict::Append));
        check(&[], batch(0, 40, 0), Ok(Verdict::Append));
        check(&[batch(0, 0, 0)], batch(0, 2, 0), Ok(Verdict::Append));
        check(&[batch(0, i32::MAX - 1, 0)], batch(0, 0, 0), Ok(Verdict::Append));
    }

    #[test]
    fn a_retry_gets_its_first_offset() {
        let stored: Vec<_> = (0..5).map(|n| batch(0, n * 2, i64::from(n) * 100)).collect();
        for retry in &stored {
            let (base_offset, next_offset) = (retry.base_offset, retry.base_offset + 2);
            check(&stored, *retry, Ok(Verdict::Duplicate { base_offset, next_offset }));
        }
    }

    #[test]
    fn a_retry_from_beyond_memory_is_known_as_one() {
        let stored: Vec<_> = (0..6).map(|n| batch(0, n * 2, 0)).collect();
        let forgotten = SequenceError::DuplicateForgotten { producer_id: PRODUCER, actual: 0 };
        check(&stored, batch(0, 0, 0), Err(forgotten));
    }

    #[test]
    fn gaps_and_overlaps_are_refused() {
        check(&[batch(0, 0, 0)], batch(0, 4, 0), out_of_order(2, 4));
        check(&[batch(0, i32::MAX - 1, 0)], batch(0, 1, 0), out_of_order(0, 1));
    }

    #[test]
    fn a_new_epoch_starts_at_zero_and_ends_the_old_one() {
        check(&[batch(0, 0, 0)], batch(1, 0, 0), Ok(Verdict::Append));
        check(&[batch(0, 0, 0)], batch(1, 2, 0), out_of_order(0, 2));
        let old = SequenceError::OldEpoch { producer_id: PRODUCER, current: 1, actual: 0 };
        check(&[batch(0, 0, 0), batch(1, 0, 2)], batch(0, 2, 0), Err(old));
    }

    #[test]
    fn the_producer_idle_for_longest_makes_room() {
        let mut producers = Producers::default();
        for id in [1, 2, 1, 3] {
            let mut header = batch(0, 0, producers.by_id.len() as i64);
            header.producer_id = id;
            header.base_offset = id * 10;
            producers.record(&header, 2);
        }
        let mut known: Vec<_> = producers.by_id.keys().copied().collect();
        known.sort_unstable();
        assert_eq!(known, [2, 3]);
    }

    #[test]
    fn the_state_reads_back_as_written() {
        let producers = after(&[batch(0, 0, 0), batch(0, 2, 2), batch(1, 0, 4)]);
        let mut bytes = Vec::new();
        producers.encode(&mut bytes);
        assert_eq!(Producers::decode(&mut &bytes[..]), Some(producers));
        assert_eq!(Producers::decode(&mut &bytes[..bytes.len() - 1]), None);
    }
}

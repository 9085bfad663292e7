//! Which offset may be committed while records finish out of order.
//!
//! Pure: [`Ledger`] is told what was handed out and what is done, and answers with the next offset to commit.

use std::collections::{HashMap, VecDeque};

/// A stay of a partition with this consumer. A partition that leaves and comes back starts a new one, so that
/// a record handed out before can't move the offsets of what is handed out after.
pub(crate) type Epoch = u64;

/// The outstanding records of every assigned partition.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    partitions: HashMap<(String, i32), Outstanding>,
    epochs: Epoch,
}

#[derive(Debug)]
struct Outstanding {
    epoch: Epoch,
    /// Handed-out offsets in order, and whether each is done. The front is never done.
    offsets: VecDeque<(i64, bool)>,
}

impl Ledger {
    /// Notes that a record was handed out. Offsets of a partition come in ascending order, not always
    /// adjacent: compaction and aborted transactions leave gaps.
    pub(crate) fn handed_out(&mut self, topic: &str, partition: i32, offset: i64) -> Epoch {
        let epochs = &mut self.epochs;
        let outstanding =
            self.partitions.entry((topic.to_owned(), partition)).or_insert_with(|| {
                *epochs += 1;
                Outstanding { epoch: *epochs, offsets: VecDeque::new() }
            });
        // A consumer that was seeked back hands records out again; what it handed out before is stale.
        if outstanding.offsets.back().is_some_and(|&(last, _)| offset <= last) {
            *epochs += 1;
            *outstanding = Outstanding { epoch: *epochs, offsets: VecDeque::new() };
        }
        outstanding.offsets.push_back((offset, false));
        outstanding.epoch
    }

    /// Notes that a record is done. Returns the next offset to commit, if it moved.
    pub(crate) fn done(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        epoch: Epoch,
    ) -> Option<i64> {
        let outstanding = self
            .partitions
            .get_mut(&(topic.to_owned(), partition))
            .filter(|outstanding| outstanding.epoch == epoch)?;
        let offsets = &mut outstanding.offsets;
        let at = offsets.binary_search_by_key(&offset, |&(offset, _)| offset).ok()?;
        offsets[at].1 = true;
        let mut next = None;
        while let Some(&(offset, true)) = offsets.front() {
            offsets.pop_front();
            next = Some(offset + 1);
        }
        next
    }

    /// Forgets a partition that left.
    pub(crate) fn revoked(&mut self, topic: &str, partition: i32) {
        self.partitions.remove(&(topic.to_owned(), partition));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_moves_past_what_is_done_without_a_gap() {
        let mut ledger = Ledger::default();
        let epoch = ledger.handed_out("t", 0, 5);
        for offset in [6, 9, 10] {
            assert_eq!(ledger.handed_out("t", 0, offset), epoch);
        }
        assert_eq!(ledger.done("t", 0, 9, epoch), None);
        assert_eq!(ledger.done("t", 0, 5, epoch), Some(6));
        assert_eq!(ledger.done("t", 0, 6, epoch), Some(10));
        assert_eq!(ledger.done("t", 0, 6, epoch), None);
        assert_eq!(ledger.done("t", 0, 10, epoch), Some(11));
    }

    #[test]
    fn partitions_do_not_wait_for_each_other() {
        let mut ledger = Ledger::default();
        let slow = ledger.handed_out("t", 0, 0);
        let quick = ledger.handed_out("t", 1, 0);
        assert_eq!(ledger.done("t", 1, 0, quick), Some(1));
        assert_eq!(ledger.done("t", 0, 0, slow), Some(1));
    }

    #[test]
    fn a_record_from_before_a_rebalance_moves_nothing() {
        let mut ledger = Ledger::default();
        let before = ledger.handed_out("t", 0, 0);
        ledger.revoked("t", 0);
        assert_eq!(ledger.done("t", 0, 0, before), None);
        let after = ledger.handed_out("t", 0, 0);
        assert_ne!(before, after);
        assert_eq!(ledger.done("t", 0, 0, before), None);
        assert_eq!(ledger.done("t", 0, 0, after), Some(1));
    }

    #[test]
    fn a_record_handed_out_again_after_a_seek_is_waited_for() {
        let mut ledger = Ledger::default();
        let before = ledger.handed_out("t", 0, 4);
        let after = ledger.handed_out("t", 0, 4);
        assert_eq!(ledger.done("t", 0, 4, before), None);
        assert_eq!(ledger.done("t", 0, 4, after), Some(5));
    }
}

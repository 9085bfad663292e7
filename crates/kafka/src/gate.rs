//! When records may go to librdkafka.
//!
//! Its idempotent producer has no more than five messages of a partition under way; while one waits behind those,
//! its thread asks the clock and the socket in a loop, without a pause, until an answer comes. So records wait
//! here instead, and go together once all before them are confirmed: into one request, most of the time.
//!
//! Pure: [`Gate`] is told what comes and what is confirmed, and answers with what may go.

use std::collections::VecDeque;

/// Messages under way to one partition at most, librdkafka's `RD_KAFKA_IDEMP_MAX_INFLIGHT`.
const MAX_UNDER_WAY: usize = 5;
/// What goes together must fit one request: `batch.size` is 1,000,000 bytes, with some for each record's headers.
const MAX_GROUP_BYTES: usize = 700_000;
/// Less than `batch.num.messages`.
const MAX_GROUP: usize = 4096;

/// The records of one topic that have not been confirmed.
#[derive(Debug)]
pub(crate) struct Gate<T> {
    under_way: usize,
    waiting: VecDeque<(T, usize)>,
}

impl<T> Default for Gate<T> {
    fn default() -> Self {
        Self { under_way: 0, waiting: VecDeque::new() }
    }
}

impl<T> Gate<T> {
    /// A record has come, of so many bytes.
    pub(crate) fn push(&mut self, item: T, bytes: usize) {
        self.waiting.push_back((item, bytes));
    }

    /// One that was let go is confirmed, or has failed.
    pub(crate) fn done(&mut self) {
        self.under_way -= 1;
    }

    /// What may go now, in order. It is under way then.
    pub(crate) fn pass(&mut self) -> Vec<T> {
        let room = match self.under_way {
            0 => MAX_GROUP,
            under_way => MAX_UNDER_WAY.saturating_sub(under_way),
        };
        if self.under_way != 0 && room < self.waiting.len() {
            return Vec::new();
        }
        let mut group = Vec::new();
        let mut all_bytes = 0;
        while group.len() < room
            && let Some(&(_, bytes)) = self.waiting.front()
            && (group.is_empty() || all_bytes + bytes <= MAX_GROUP_BYTES)
        {
            all_bytes += bytes;
            group.extend(self.waiting.pop_front().map(|(item, _)| item));
        }
        self.under_way += group.len();
        group
    }

    /// Takes out all that has not gone.
    pub(crate) fn clear(&mut self) -> impl Iterator<Item = T> {
        std::mem::take(&mut self.waiting).into_iter().map(|(item, _)| item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(records: usize) -> Gate<usize> {
        let mut gate = Gate::default();
        for record in 0..records {
            gate.push(record, 100);
        }
        gate
    }

    #[test]
    fn a_few_go_one_by_one_and_the_others_together_after_them() {
        let mut gate = gate(1);
        assert_eq!(gate.pass(), [0]);
        for record in 1..5 {
            gate.push(record, 100);
            assert_eq!(gate.pass(), [record]);
        }
        for record in 5..9 {
            gate.push(record, 100);
            assert!(gate.pass().is_empty(), "five are under way");
        }
        for _ in 0..4 {
            gate.done();
        }
        assert_eq!(gate.pass(), [5, 6, 7, 8], "with one more that makes five");
    }

    #[test]
    fn many_go_when_all_before_them_are_there() {
        let mut gate = gate(10);
        assert_eq!(gate.pass().len(), 10);
        gate.push(10, 100);
        for under_way in (5..10).rev() {
            gate.done();
            assert!(gate.pass().is_empty(), "{under_way} are under way");
        }
        gate.done();
        assert_eq!((gate.pass(), gate.under_way), (vec![10], 5));
    }

    #[test]
    fn a_group_fits_one_request_and_a_record_that_alone_does_not_goes_alone() {
        let mut gate = Gate::default();
        for record in 0..4 {
            gate.push(record, if record == 0 { 5_000_000 } else { 300_000 });
        }
        assert_eq!(gate.pass(), [0]);
        gate.done();
        assert_eq!(gate.pass(), [1, 2]);
        assert_eq!(gate.clear().collect::<Vec<_>>(), [3]);
    }
}

//! When each call that waits is due, and which of those that are is next. Nothing waits or is carried out here.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

/// A call that waits: what has to be known of it without its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Counts the calls, and names the file.
    pub(super) sequence: u64,
    pub(super) function: Arc<str>,
    /// Bytes of its file.
    pub(super) bytes: u64,
    /// How often it was carried out.
    pub(super) attempts: u32,
}

/// The calls that wait, by function.
#[derive(Debug)]
pub(super) struct Schedule {
    functions: BTreeMap<Arc<str>, Calls>,
    per_function: usize,
}

#[derive(Debug, Default)]
struct Calls {
    due: BTreeMap<(Instant, u64), Entry>,
    running: usize,
}

impl Schedule {
    /// Of each function, so many calls are carried out at once.
    pub(super) fn new(per_function: usize) -> Self {
        Self { functions: BTreeMap::new(), per_function }
    }

    /// A call waits until then.
    pub(super) fn add(&mut self, at: Instant, entry: Entry) {
        let calls = self.functions.entry(Arc::clone(&entry.function)).or_default();
        calls.due.insert((at, entry.sequence), entry);
    }

    /// The call that has been due longest, of a function that has room for one; it is being carried out from now on.
    pub(super) fn next(&mut self, now: Instant) -> Option<Entry> {
        let per_function = self.per_function;
        let with_room = self.functions.values_mut().filter(|calls| calls.running < per_function);
        let next = with_room.filter(|calls| calls.first().is_some_and(|at| at <= now));
        let calls = next.min_by_key(|calls| calls.due.first_key_value().map(|(key, _)| *key))?;
        calls.running += 1;
        calls.due.pop_first().map(|(_, entry)| entry)
    }

    /// When there will be a next one, unless one comes or ends before.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        let with_room = self.functions.values().filter(|calls| calls.running < self.per_function);
        with_room.filter_map(Calls::first).min()
    }

    /// A call of that function is no longer being carried out.
    pub(super) fn ended(&mut self, function: &str) {
        if let Some(calls) = self.functions.get_mut(function) {
            calls.running -= 1;
            if calls.running == 0 && calls.due.is_empty() {
                self.functions.remove(function);
            }
        }
    }
}

impl Calls {
    fn first(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn entry(sequence: u64, function: &str) -> Entry {
        Entry { sequence, function: function.into(), bytes: 0, attempts: 0 }
    }

    fn next(schedule: &mut Schedule, now: Instant) -> Option<u64> {
        schedule.next(now).map(|entry| entry.sequence)
    }

    #[test]
    fn what_is_due_longest_is_next() {
        let (mut schedule, now) = (Schedule::new(10), Instant::now());
        schedule.add(now + Duration::from_secs(2), entry(1, "a"));
        schedule.add(now, entry(2, "b"));
        schedule.add(now, entry(3, "a"));
        assert_eq!(schedule.wake_at(), Some(now));
        assert_eq!([next(&mut schedule, now), next(&mut schedule, now)], [Some(2), Some(3)]);
        assert_eq!(next(&mut schedule, now), None);
        assert_eq!(schedule.wake_at(), Some(now + Duration::from_secs(2)));
        assert_eq!(next(&mut schedule, now + Duration::from_secs(2)), Some(1));
        assert_eq!(schedule.wake_at(), None);
    }

    #[test]
    fn one_function_does_not_take_all_the_room() {
        let (mut schedule, now) = (Schedule::new(2), Instant::now());
        for sequence in 1..=3 {
            schedule.add(now, entry(sequence, "slow"));
        }
        schedule.add(now, entry(4, "quick"));
        let order: Vec<_> = (0..4).map(|_| next(&mut schedule, now)).collect();
        assert_eq!(order, [Some(1), Some(2), Some(4), None]);
        assert_eq!(schedule.wake_at(), None);
        schedule.ended("slow");
        assert_eq!(schedule.wake_at(), Some(now));
        assert_eq!(next(&mut schedule, now), Some(3));
        schedule.ended("quick");
        assert!(!schedule.functions.contains_key("quick"));
    }
}

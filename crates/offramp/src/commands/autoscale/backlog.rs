//! What arrives, what is done, and what surely waits, from offsets alone.
//!
//! A committed offset says what was done when it was committed, which many clients do every five seconds: until the
//! next commit, all that was done since looks as if it waited. Who takes that for a backlog adds instances, sees each of
//! them do less, and adds more. So [`Counts::waiting`] has only the records that have been there for as long as a group
//! takes to commit: `Σ max(0, end(t - commit) - committed(t))`. A backlog is seen later by that much; arrivals are
//! counted at once, and it is they that make more instances of it.

use std::collections::VecDeque;
use std::time::Duration;

use kafka::admin::Standing;

/// What offsets tell at one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    /// The sum of end offsets.
    pub(super) arrivals: u64,
    /// The sum of committed offsets.
    pub(super) done: u64,
    /// Records that are not committed.
    pub(super) lag: u64,
    /// Those of them that have been there for longer than the group takes to commit.
    pub(super) waiting: u64,
    /// Partitions of the topic.
    pub(super) partitions: u32,
}

/// The end offsets of the last looks.
#[derive(Debug)]
pub(super) struct Backlog {
    commit: Duration,
    ends: VecDeque<(Duration, Vec<i64>)>,
}

impl Backlog {
    /// Nothing has been seen of a group that commits this often.
    pub(super) fn new(commit: Duration) -> Self {
        Self { commit, ends: VecDeque::new() }
    }

    /// Takes a look at a time that does not go back. Of a group without a committed offset, all that is there waits.
    pub(super) fn see(&mut self, standings: &[Standing], now: Duration) -> Counts {
        let is_old = |(at, _): &&(Duration, Vec<i64>)| *at + self.commit <= now;
        // The last look that is old enough stays, and those since.
        while self.ends.get(1).as_ref().is_some_and(is_old) {
            self.ends.pop_front();
        }
        let old = self.ends.front().filter(is_old).map(|(_, ends)| ends);
        let mut counts = Counts {
            arrivals: 0,
            done: 0,
            lag: 0,
            waiting: 0,
            partitions: u32::try_from(standings.len()).unwrap_or(u32::MAX),
        };
        for (at, standing) in standings.iter().enumerate() {
            let (end, position) = (standing.extent.end, standing.position());
            counts.arrivals += count(end);
            counts.done += count(standing.committed.unwrap_or(standing.extent.start));
            counts.lag += count(end - position);
            // A partition that has been added or emptied since has nothing that is old.
            let old = old.and_then(|ends| ends.get(at)).map_or(position, |old| *old.min(&end));
            counts.waiting += count(old - position);
        }
        let ends = standings.iter().map(|standing| standing.extent.end).collect();
        self.ends.push_back((now, ends));
        counts
    }
}

fn count(records: i64) -> u64 {
    u64::try_from(records).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use kafka::admin::Extent;

    use super::*;

    fn standing(partition: i32, committed: impl Into<Option<i64>>, end: i64) -> Standing {
        Standing { extent: Extent { partition, start: 10, end }, committed: committed.into() }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_may_have_been_done_since_the_last_commit_does_not_wait() {
        let mut backlog = Backlog::new(seconds(5));
        // 100 a second arrive and are done at once; commits come every 5 s.
        for second in 0..60 {
            let (end, committed) = (100 * (second + 1), 100 * (second / 5 * 5));
            let counts = backlog.see(&[standing(0, committed, end)], seconds(second as u64));
            assert_eq!(counts.waiting, 0, "second {second}");
            assert_eq!(counts.lag, (end - committed.max(10)) as u64);
        }
        assert!(backlog.ends.len() <= 7, "{}", backlog.ends.len());
    }

    #[test]
    fn what_is_older_than_a_commit_waits() {
        let mut backlog = Backlog::new(seconds(5));
        for second in 0..5 {
            assert_eq!(backlog.see(&[standing(0, 20, 120)], seconds(second)).waiting, 0);
        }
        assert_eq!(backlog.see(&[standing(0, 20, 150)], seconds(5)).waiting, 100);
        assert_eq!(backlog.see(&[standing(0, 110, 150)], seconds(6)).waiting, 10);
    }

    #[test]
    fn without_a_committed_offset_all_that_is_there_lags() {
        let mut backlog = Backlog::new(seconds(1));
        let counts = backlog.see(&[standing(0, None, 30), standing(1, 5, 11)], seconds(0));
        assert_eq!((counts.arrivals, counts.done, counts.lag), (41, 15, 21));
        // Made anew, with another partition: what is there now is not newer than what was.
        let anew = [standing(0, None, 12), standing(1, None, 10), standing(2, None, 99)];
        assert_eq!(backlog.see(&anew, seconds(3)).waiting, 2);
    }
}

//! Which segments have been kept long enough.
//!
//! Only whole segments go, oldest first, and never the one that is appended to. A segment's age counts from
//! its newest record or its last write, whichever is later: devices with a wrong clock, or none, do not have
//! their records deleted as soon as they arrive.

use std::time::Duration;

/// What retention needs to know of a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept {
    pub(crate) bytes: u64,
    /// When it was last needed, in milliseconds since the epoch.
    pub(crate) newest_ms: i64,
}

/// How long and how much to keep; by default for ever and everything.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Retention {
    pub(crate) time: Option<Duration>,
    pub(crate) bytes: Option<u64>,
}

impl Retention {
    /// How many of the full segments go. `all_bytes` counts them and the active one.
    pub(crate) fn expired(
        &self,
        full: impl Iterator<Item = Kept>,
        mut all_bytes: u64,
        now_ms: i64,
    ) -> usize {
        let mut count = 0;
        for segment in full {
            let is_old = self.is_old(segment.newest_ms, now_ms);
            // What is left has to be at least what is promised.
            let is_too_much = self.bytes.is_some_and(|bound| bound + segment.bytes <= all_bytes);
            if !is_old && !is_too_much {
                break;
            }
            all_bytes -= segment.bytes;
            count += 1;
        }
        count
    }

    pub(crate) fn is_old(&self, newest_ms: i64, now_ms: i64) -> bool {
        self.time.is_some_and(|time| is_older(newest_ms, time, now_ms))
    }
}

/// Whether what happened at `since_ms` was at least `age` ago.
pub(crate) fn is_older(since_ms: i64, age: Duration, now_ms: i64) -> bool {
    let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    since_ms.saturating_add(age_ms) <= now_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Full segments of 100 bytes, at 0, 1, 2, … seconds, and an active one of 50 bytes.
    fn check(time_s: Option<u64>, bytes: Option<u64>, full: usize, now_s: i64, expected: usize) {
        let retention = Retention { time: time_s.map(Duration::from_secs), bytes };
        let segments = (0..full).map(|n| Kept { bytes: 100, newest_ms: n as i64 * 1000 });
        let expired = retention.expired(segments, full as u64 * 100 + 50, now_s * 1000);
        assert_eq!(expired, expected, "{retention:?}");
    }

    #[test]
    fn nothing_goes_without_a_bound() {
        check(None, None, 100, 1_000_000, 0);
    }

    #[test]
    fn a_segment_goes_when_its_newest_record_is_old_enough() {
        check(Some(10), None, 5, 9, 0);
        check(Some(10), None, 5, 10, 1);
        check(Some(10), None, 5, 12, 3);
        check(Some(10), None, 5, 1000, 5);
        check(Some(0), None, 5, 1000, 5);
    }

    #[test]
    fn what_is_left_is_never_less_than_the_bytes_promised() {
        check(None, Some(1000), 5, 0, 0);
        check(None, Some(550), 5, 0, 0);
        check(None, Some(450), 5, 0, 1);
        check(None, Some(300), 5, 0, 2);
        check(None, Some(0), 5, 0, 5);
    }

    #[test]
    fn either_bound_is_enough() {
        check(Some(10), Some(1000), 5, 12, 3);
        check(Some(1000), Some(450), 5, 12, 1);
    }
}

//! Whether to wait for more records before those that have come are handled.
//!
//! Pure. A record costs its own work and, handled alone, about ten wake-ups of threads, which are most of its cost.
//! Where records come often enough that others follow within the linger, waiting for them shares those; where they
//! do not, it would only make an answer late.

use std::time::Duration;

use tokio::time::Instant;

/// As many at once share their wake-ups well enough.
const ENOUGH: usize = 32;
/// How much of the newest pause between two records goes into what is expected of the next.
const NEWEST: f64 = 0.2;

/// Judges by the times at which records have come.
#[derive(Debug)]
pub(crate) struct Gather {
    linger: Duration,
    /// Expected pause between two records, in seconds.
    pause: f64,
    last: Instant,
}

impl Gather {
    /// Waits for at most `linger`; zero never waits.
    pub(crate) fn new(linger: Duration, now: Instant) -> Self {
        Self { linger, pause: f64::INFINITY, last: now }
    }

    /// So many records have come. Returns until when to wait for more.
    pub(crate) fn came(&mut self, records: usize, now: Instant) -> Option<Instant> {
        let passed = now.saturating_duration_since(self.last).as_secs_f64();
        let newest = passed / records.max(1) as f64;
        self.last = now;
        self.pause = if self.pause.is_finite() {
            self.pause + NEWEST * (newest - self.pause)
        } else {
            newest
        };
        (records < ENOUGH && self.pause < self.linger.as_secs_f64()).then(|| now + self.linger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_millis(2);

    /// After many records with this pause between them: is there a wait, when so many have come?
    fn waits(linger: Duration, pause: Duration, records: usize) -> bool {
        let mut now = Instant::now();
        let mut gather = Gather::new(linger, now);
        for _ in 0..100 {
            now += pause;
            gather.came(1, now);
        }
        gather.came(records, now + pause * records as u32)
            == Some(now + pause * records as u32 + linger)
    }

    #[test]
    fn there_is_a_wait_where_others_follow_within_it() {
        assert!(waits(LINGER, Duration::from_millis(1), 1));
        assert!(!waits(LINGER, Duration::from_millis(10), 1), "nobody would come");
        assert!(!waits(LINGER, Duration::from_micros(10), ENOUGH), "enough have come");
        assert!(!waits(Duration::ZERO, Duration::from_micros(10), 1));
    }

    #[test]
    fn the_first_record_does_not_wait() {
        let now = Instant::now();
        assert_eq!(Gather::new(LINGER, now).came(1, now + Duration::from_secs(1)), None);
    }
}

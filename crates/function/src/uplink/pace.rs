//! How fast a buffer is emptied.
//!
//! Pure. The rate is that by which the records that wait become fewer: what arrives behind them meanwhile may
//! be sent on top, so that a buffer is empty in the end however low the rate is.

use std::time::Duration;

use tokio::time::Instant;

/// Lets records go at a rate.
#[derive(Debug)]
pub(super) struct Pace {
    /// Records a second; `None` lets all go.
    rate: Option<u32>,
    /// Records that may go now.
    allowed: f64,
    at: Instant,
    arrived: u64,
}

/// What may go at once after a pause, in time at the rate.
const BURST: Duration = Duration::from_millis(50);

impl Pace {
    /// A pace from now on, where `arrived` records have arrived so far.
    pub(super) fn new(rate: Option<u32>, now: Instant, arrived: u64) -> Self {
        Self { rate, allowed: 0.0, at: now, arrived }
    }

    /// How many records may go now, where `arrived` have arrived so far.
    pub(super) fn allowed(&mut self, now: Instant, arrived: u64) -> usize {
        let Some(rate) = self.rate.map(f64::from) else { return usize::MAX };
        let burst = (rate * BURST.as_secs_f64()).max(1.0);
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.allowed = (self.allowed + rate * passed).min(burst.max(self.allowed));
        self.allowed += (arrived - self.arrived) as f64;
        (self.at, self.arrived) = (now, arrived);
        self.allowed as usize
    }

    /// So many have gone.
    pub(super) fn gone(&mut self, records: usize) {
        self.allowed -= records as f64;
    }

    /// How long until the next one may go, if nothing arrives.
    pub(super) fn wait(&self) -> Duration {
        let missing = (1.0 - self.allowed).max(0.0);
        self.rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(missing / f64::from(rate)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lets_the_rate_go_and_what_has_arrived() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(100), start, 40);
        let mut gone = 0;
        for tick in 1..=100 {
            let now = start + Duration::from_millis(10 * tick);
            let allowed = pace.allowed(now, 40 + tick / 2);
            pace.gone(allowed);
            gone += allowed;
        }
        assert_eq!(gone, 150);
    }

    #[test]
    fn a_pause_does_not_save_up_more_than_a_burst() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(100), start, 0);
        assert_eq!(pace.allowed(start + Duration::from_secs(60), 0), 5);
        pace.gone(5);
        assert_eq!(pace.wait(), Duration::from_millis(10));
    }

    #[test]
    fn without_a_rate_all_may_go() {
        let start = Instant::now();
        let mut pace = Pace::new(None, start, 0);
        assert_eq!(pace.allowed(start, 0), usize::MAX);
        assert_eq!(pace.wait(), Duration::ZERO);
    }
}

//! What a container counts of the calls to it, as of-watchdog does.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Upper bounds of the durations' histogram, in seconds; one more bucket has what is above.
pub const BUCKETS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 10.0];

/// Calls of one method that ended with one status.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Observed {
    /// How many.
    pub count: u64,
    /// How long they took together, in seconds.
    pub seconds: f64,
    /// How many took at most each of [`BUCKETS`], and more than the one before; the last took longer than all.
    pub buckets: [u64; BUCKETS.len() + 1],
}

/// What has been counted at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Counts {
    /// Calls under way.
    pub in_flight: usize,
    /// Calls that ended, by method and status.
    pub ended: BTreeMap<(String, u16), Observed>,
}

/// Counts.
#[derive(Debug, Default)]
pub(super) struct Counters {
    in_flight: AtomicUsize,
    ended: Mutex<BTreeMap<(String, u16), Observed>>,
}

/// A call that is under way for as long as it is kept.
#[derive(Debug)]
pub(super) struct UnderWay<'a>(&'a Counters);

impl Counters {
    /// A call begins; also how many are under way with it.
    pub(super) fn begin(&self) -> (UnderWay<'_>, usize) {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        (UnderWay(self), before + 1)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn ended(&self, method: &str, status: u16, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BUCKETS.iter().position(|&bound| seconds <= bound).unwrap_or(BUCKETS.len());
        let mut ended = self.ended.lock().expect("no holder panics");
        let observed = match ended.iter_mut().find(|((m, s), _)| m == method && *s == status) {
            Some((_, observed)) => observed,
            None => ended.entry((method.to_owned(), status)).or_default(),
        };
        observed.count += 1;
        observed.seconds += seconds;
        observed.buckets[bucket] += 1;
    }

    pub(super) fn counts(&self) -> Counts {
        let ended = self.ended.lock().expect("no holder panics").clone();
        Counts { in_flight: self.in_flight(), ended }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_method_and_status() {
        let counters = Counters::default();
        let (under_way, now) = counters.begin();
        assert_eq!((now, counters.counts().in_flight), (1, 1));
        drop(under_way);
        counters.ended("POST", 200, Duration::from_micros(300));
        counters.ended("POST", 200, Duration::from_secs(60));
        counters.ended("GET", 405, Duration::ZERO);
        let counts = counters.counts();
        assert_eq!(counts.in_flight, 0);
        let posted = counts.ended[&("POST".to_owned(), 200)];
        assert_eq!((posted.count, posted.buckets[2], posted.buckets[BUCKETS.len()]), (2, 1, 1));
        assert!((posted.seconds - 60.0003).abs() < 1e-9);
        assert_eq!(counts.ended.len(), 2);
    }
}

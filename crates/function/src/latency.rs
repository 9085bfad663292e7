//! How long things took, counted in buckets that many threads may count into.
//!
//! A bucket is an eighth of a power of two wide, so that a percentile is at most 12.5 % above the true one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets of each power of two.
const PARTS: usize = 8;
/// Up to 2³² microseconds, more than an hour.
const BUCKETS: usize = 33 * PARTS;

/// Counts of times, live.
#[derive(Debug)]
pub struct Latencies([AtomicU64; BUCKETS]);

/// The counts at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram(Vec<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; BUCKETS])
    }
}

impl Latencies {
    /// Counts a time.
    pub fn add(&self, took_us: u64) {
        self.0[bucket(took_us)].fetch_add(1, Ordering::Relaxed);
    }

    /// The counts as they stand.
    pub fn counts(&self) -> Histogram {
        Histogram(self.0.iter().map(|count| count.load(Ordering::Relaxed)).collect())
    }
}

impl Histogram {
    /// What was counted after an earlier moment.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let each = self.0.iter().zip(&earlier.0);
        Self(each.map(|(now, then)| now.saturating_sub(*then)).collect())
    }

    /// The time that this share of them did not exceed; `None` if there are none.
    pub fn percentile(&self, percent: f64) -> Option<Duration> {
        let all: u64 = self.0.iter().sum();
        let rank = ((all as f64 * percent / 100.0).ceil() as u64).clamp(1, all.max(1));
        let mut seen = 0;
        let at = self.0.iter().position(|count| {
            seen += count;
            rank <= seen
        })?;
        Some(Duration::from_micros(end(at)))
    }
}

/// The bucket of a time in microseconds: of those below 8 each has its own.
fn bucket(us: u64) -> usize {
    if us < PARTS as u64 {
        return us as usize;
    }
    let power = us.ilog2() as usize;
    // The three bits after the first.
    let part = (us >> (power - 3)) as usize & (PARTS - 1);
    ((power - 2) * PARTS + part).min(BUCKETS - 1)
}

/// The longest time in a bucket.
fn end(bucket: usize) -> u64 {
    if bucket < PARTS {
        return bucket as u64;
    }
    let (power, part) = (bucket / PARTS + 2, bucket % PARTS);
    (((PARTS + part + 1) as u64) << (power - 3)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_in_a_bucket_that_ends_little_after_it() {
        for us in (0..5000).chain((12..40).flat_map(|power| [(1 << power) - 1, 1 << power])) {
            let end = end(bucket(us));
            if us < 1 << 32 {
                assert!(us <= end && end as f64 <= us as f64 * 1.125, "{us} is in one to {end}");
            }
        }
    }

    #[test]
    fn percentiles_are_of_what_was_counted_since() {
        let latencies = Latencies::default();
        assert_eq!(latencies.counts().percentile(50.0), None);
        latencies.add(1_000_000);
        let earlier = latencies.counts();
        (1..=100).for_each(|us| latencies.add(us));
        let since = latencies.counts().since(&earlier);
        assert_eq!(since.percentile(5.0), Some(Duration::from_micros(5)));
        let median = since.percentile(50.0).unwrap().as_micros();
        assert!((50..=56).contains(&median), "{median}");
        assert!(since.percentile(100.0).unwrap() < Duration::from_micros(113));
    }
}

//! Waits between attempts: exponential with full jitter.
//!
//! Full jitter (a wait drawn evenly from zero to the exponential bound) spreads the callers of a function
//! that comes back; equal waits would bring them all at once, again and again.

use std::time::Duration;

use pipeline::Retry;

/// The longest wait after failure number `failures` (from 1): doubles from `backoff_min`, up to `backoff_max`.
pub fn bound(retry: &Retry, failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    retry.backoff_min.saturating_mul(1 << doublings).min(retry.backoff_max)
}

/// A wait after failure number `failures`; `draw` is a number in [0, 1).
pub fn wait(retry: &Retry, failures: u32, draw: f64) -> Duration {
    bound(retry, failures).mul_f64(draw)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(min_ms: u64, max_ms: u64) -> Retry {
        Retry {
            attempts: 5,
            backoff_min: Duration::from_millis(min_ms),
            backoff_max: Duration::from_millis(max_ms),
        }
    }

    #[test]
    fn bounds_double_up_to_the_largest() {
        let bounds: Vec<u128> =
            (1..=6).map(|failures| bound(&retry(100, 1000), failures).as_millis()).collect();
        assert_eq!(bounds, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(bound(&retry(100, 1000), u32::MAX), Duration::from_secs(1));
    }

    #[test]
    fn a_wait_lies_between_zero_and_its_bound() {
        for failures in 1..40 {
            for draw in [0.0, 0.3, 0.999] {
                let wait = wait(&retry(7, 9000), failures, draw);
                assert!(wait <= bound(&retry(7, 9000), failures));
            }
        }
        assert_eq!(wait(&retry(100, 1000), 1, 0.5), Duration::from_millis(50));
    }
}

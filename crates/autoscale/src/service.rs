//! What a call takes, and how much that varies.

use std::time::Duration;

use crate::load::ServiceTimes;

/// Calls that the averages remember.
const MEMORY_CALLS: f64 = 200.0;
/// How long they remember calls that are rare, in seconds.
const MEMORY: f64 = 60.0;

/// Averages of what calls take.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Service {
    seen: Option<ServiceTimes>,
    at: Duration,
    weight: f64,
    mean: f64,
    square: f64,
}

impl Service {
    /// Takes calls to last as long as expected, and to vary as exponential times do, until some were measured.
    pub(crate) fn new(expected: Duration) -> Self {
        let mean = expected.as_secs_f64();
        Self { seen: None, at: Duration::ZERO, weight: 0.0, mean, square: 2.0 * mean * mean }
    }

    /// Takes the counters at a time. Those that have gone back have begun anew.
    pub(crate) fn see(&mut self, served: ServiceTimes, now: Duration) {
        let last = self.seen.replace(served).unwrap_or_default();
        let (seconds, squares) =
            (served.seconds - last.seconds, served.seconds_squared - last.seconds_squared);
        let calls = served.calls.saturating_sub(last.calls) as f64;
        if calls <= 0.0 || !(seconds > 0.0 && seconds.is_finite() && squares.is_finite()) {
            return;
        }
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = now;
        self.weight += calls;
        // The plain mean of the first calls, an exponential average of many.
        let forget = 1.0 - (-calls / MEMORY_CALLS - passed / MEMORY).exp();
        let share = forget.max(calls / self.weight);
        self.mean += share * (seconds / calls - self.mean);
        self.square += share * (squares.max(0.0) / calls - self.square);
    }

    /// Mean seconds of a call.
    pub(crate) fn mean(&self) -> f64 {
        self.mean
    }

    /// The variance over the square of the mean.
    pub(crate) fn variation(&self) -> f64 {
        (self.square / (self.mean * self.mean).max(1e-18) - 1.0).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measured_call_replaces_what_was_expected() {
        let mut service = Service::new(Duration::from_millis(100));
        assert!((service.variation() - 1.0).abs() < 1e-9);
        let mut served = ServiceTimes::default();
        served.add(Duration::from_millis(300));
        service.see(served, Duration::from_secs(1));
        assert!((service.mean() - 0.3).abs() < 1e-9 && service.variation() < 1e-9);
    }

    #[test]
    fn a_change_is_followed_within_some_hundred_calls_and_a_restart_does_no_harm() {
        let mut service = Service::new(Duration::from_millis(100));
        let mut served = ServiceTimes::default();
        for at in 0..1200 {
            served.add(Duration::from_millis(if at < 600 { 100 } else { 200 }));
            service.see(served, Duration::from_millis(100 * at));
        }
        assert!((0.19..0.2).contains(&service.mean()), "{}", service.mean());
        service.see(ServiceTimes::default(), Duration::from_secs(1000));
        assert!((0.19..0.2).contains(&service.mean()));
        let unknown = ServiceTimes::of_unknown_spread(4, 2.0);
        let mut service = Service::new(Duration::from_millis(100));
        service.see(unknown, Duration::from_secs(1));
        assert!((service.mean() - 0.5).abs() < 1e-9 && (service.variation() - 1.0).abs() < 1e-9);
    }
}

//! What is counted of a function.

use std::time::Duration;

/// What a function has to do and with what, at one moment. Counters count from any start, and may start again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Records or calls that have arrived so far: the sum of a topic's end offsets, or calls to a gateway.
    pub arrivals: u64,
    /// Records or calls that are waiting or in flight: a consumer group's lag.
    pub lag: u64,
    /// Calls that have ended so far, and what they took.
    pub served: ServiceTimes,
    /// Records that have been forwarded to the next tier so far; 0 where there is none.
    pub forwarded: u64,
    /// Instances, ready or starting.
    pub instances: u32,
    /// Instances that take calls.
    pub ready: u32,
    /// Calls that an instance carries at once, at least 1.
    pub concurrency: u32,
    /// How long an instance takes from being asked for to its first call.
    pub cold_start: Duration,
}

/// How many calls have ended, and the sums of the seconds that they took and of the squares of these.
///
/// What a call takes is counted from when an instance begins with it; waiting is not part of it. Where an instance takes
/// several records at once, each counts with its part of the time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ServiceTimes {
    /// Calls.
    pub calls: u64,
    /// Their seconds.
    pub seconds: f64,
    /// The squares of their seconds.
    pub seconds_squared: f64,
}

impl ServiceTimes {
    /// Counts a call.
    pub fn add(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.calls += 1;
        self.seconds += seconds;
        self.seconds_squared += seconds * seconds;
    }

    /// Calls of which only the sum of seconds is known, as of a histogram's `_sum` and `_count`. They are taken to vary
    /// as exponential times do, which is on the safe side for inference.
    pub fn of_unknown_spread(calls: u64, seconds: f64) -> Self {
        let squared = if calls == 0 { 0.0 } else { 2.0 * seconds * seconds / calls as f64 };
        Self { calls, seconds, seconds_squared: squared }
    }
}

impl Load {
    /// What waits for an instance: what the ready ones cannot carry.
    pub(crate) fn waiting(&self) -> u64 {
        self.lag.saturating_sub(u64::from(self.ready) * u64::from(self.concurrency.max(1)))
    }
}

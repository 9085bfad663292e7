//! How many calls a function had, by what came of them, and how long they took. Counting is a few additions; nothing
//! is locked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::StatusCode;

use crate::pool::CallError;

/// Statuses that are counted by themselves: from 100 on.
const FIRST_CODE: u16 = 100;
const CODES: usize = 500;

/// The calls of a function.
#[derive(Debug)]
pub struct Counts {
    by_code: Box<[AtomicU64; CODES]>,
    nanoseconds: AtomicU64,
}

/// The calls of a function at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Counted {
    /// Calls by their status, those that there were.
    pub by_code: Vec<(u16, u64)>,
    /// All calls.
    pub calls: u64,
    /// What they took, waiting for an instance with it, in seconds.
    pub seconds: f64,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            by_code: Box::new([const { AtomicU64::new(0) }; CODES]),
            nanoseconds: AtomicU64::new(0),
        }
    }
}

impl Counts {
    /// Counts a call.
    pub fn note(&self, status: StatusCode, took: Duration) {
        // A status past the last one is no status of HTTP's.
        let at = usize::from(status.as_u16().saturating_sub(FIRST_CODE)).min(CODES - 1);
        self.by_code[at].fetch_add(1, Ordering::Relaxed);
        self.nanoseconds.fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
    }

    /// All calls so far.
    pub fn calls(&self) -> u64 {
        self.by_code.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// What was counted so far.
    pub fn read(&self) -> Counted {
        let counts = (FIRST_CODE..).zip(self.by_code.iter());
        let counts = counts.map(|(code, count)| (code, count.load(Ordering::Relaxed)));
        let by_code: Vec<(u16, u64)> = counts.filter(|(_, count)| 0 < *count).collect();
        Counted {
            calls: by_code.iter().map(|(_, count)| count).sum(),
            by_code,
            seconds: Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)).as_secs_f64(),
        }
    }
}

impl CallError {
    /// The status that tells a caller of it.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Overloaded { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::NoInstance { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Late { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Broken { .. } => StatusCode::BAD_GATEWAY,
            Self::Closed { .. } => StatusCode::NOT_FOUND,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_status() {
        let counts = Counts::default();
        for (status, millis) in [(200, 250), (404, 250), (200, 500), (999, 1000)] {
            counts.note(StatusCode::from_u16(status).unwrap(), Duration::from_millis(millis));
        }
        let by_code = vec![(200, 2), (404, 1), (599, 1)];
        assert_eq!(counts.read(), Counted { by_code, calls: 4, seconds: 2.0 });
        assert_eq!(counts.calls(), 4);
    }
}

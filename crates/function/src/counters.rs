//! Counts of what a connector did with its records.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::failure::Fate;
use crate::latency::{Histogram, Latencies};

/// Counts since the start; each record is in exactly one of the first four once it is done.
#[derive(Debug, Default)]
pub struct Counters {
    answered: AtomicU64,
    forwarded: AtomicU64,
    split: AtomicU64,
    dead_lettered: AtomicU64,
    consumed: AtomicU64,
    retried: AtomicU64,
    latencies: Latencies,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Records whose samples all left at this tier's exit.
    pub answered: u64,
    /// Records whose samples all went to the next tier.
    pub forwarded: u64,
    /// Records whose samples parted.
    pub split: u64,
    /// Records that went to the dead-letter topic.
    pub dead_lettered: u64,
    /// Records taken from the log.
    pub consumed: u64,
    /// Calls that were made again.
    pub retried: u64,
}

impl Counters {
    pub(crate) fn consumed(&self) {
        self.consumed.fetch_add(1, Ordering::Relaxed);
    }

    /// A record has met its fate, so long after it was received.
    pub(crate) fn met(&self, fate: Fate, took_us: u64) {
        self.latencies.add(took_us);
        let count = match fate {
            Fate::Answered => &self.answered,
            Fate::Forwarded => &self.forwarded,
            Fate::Split => &self.split,
            Fate::DeadLettered => &self.dead_lettered,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn again(&self) {
        self.retried.fetch_add(1, Ordering::Relaxed);
    }

    /// How long records took, from when they were received to when they met their fates.
    pub fn latencies(&self) -> Histogram {
        self.latencies.counts()
    }

    /// The counts as they stand.
    pub fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            answered: read(&self.answered),
            forwarded: read(&self.forwarded),
            split: read(&self.split),
            dead_lettered: read(&self.dead_lettered),
            consumed: read(&self.consumed),
            retried: read(&self.retried),
        }
    }
}

impl Counts {
    /// Records that are taken from the log and have not met their fate.
    pub fn in_flight(&self) -> u64 {
        let done = self.answered + self.forwarded + self.split + self.dead_lettered;
        self.consumed.saturating_sub(done)
    }
}

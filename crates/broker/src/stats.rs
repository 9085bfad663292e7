//! What the broker counts, for its embedder's metrics.
//!
//! Names end in `_total` where a number only grows while the broker runs; the others are as of the moment.

use std::sync::atomic::{AtomicU64, Ordering};

/// A snapshot of a broker's counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections that are open.
    pub connections: u64,
    /// Connections that were accepted.
    pub connections_total: u64,
    /// Connections that were closed at once, because there were too many.
    pub connections_refused_total: u64,
    /// Requests that were read, of any kind.
    pub requests_total: u64,
    /// Topics.
    pub topics: u64,
    /// Partitions of all topics.
    pub partitions: u64,
    /// Bytes of all logs.
    pub log_bytes: u64,
    /// Consumer groups that somebody is in.
    pub groups: u64,
    /// Records that were appended, retries included.
    pub records_in_total: u64,
    /// Bytes of the batches that were appended, retries included.
    pub bytes_in_total: u64,
    /// Batches that were refused.
    pub batches_refused_total: u64,
    /// Bytes of the batches that were fetched.
    pub bytes_out_total: u64,
    /// Times that a log was made durable.
    pub syncs_total: u64,
    /// Times that a log could not be made durable.
    pub syncs_failed_total: u64,
    /// Time that making logs durable took, in microseconds.
    pub sync_microseconds_total: u64,
    /// Bytes of requests and responses in memory, as far as they count against their bound.
    pub request_bytes: u64,
}

/// What there is of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionStats {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The first offset that is there.
    pub start_offset: i64,
    /// The high watermark.
    pub end_offset: i64,
    /// Bytes of the log.
    pub bytes: u64,
    /// False after an error on the disk, until the log is open again.
    pub is_writable: bool,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is counted as it happens.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: Counter,
    pub(crate) connections_ended: Counter,
    pub(crate) connections_refused: Counter,
    pub(crate) requests: Counter,
    pub(crate) records_in: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) batches_refused: Counter,
    pub(crate) bytes_out: Counter,
}

/// What the thread that syncs counts.
#[derive(Debug, Default)]
pub(crate) struct SyncCounters {
    pub(crate) syncs: Counter,
    pub(crate) failures: Counter,
    pub(crate) microseconds: Counter,
}

//! What a node tells of itself to `offramp ps` and `offramp top`, as JSON.

use serde::{Deserialize, Serialize};

/// A node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    /// The pipeline's name.
    pub(crate) pipeline: String,
    /// The process.
    pub(crate) pid: u32,
    /// How long it has run.
    pub(crate) uptime_s: f64,
    /// Resident memory of the process, without its children.
    pub(crate) memory_bytes: u64,
    /// Processor time of the process since its start.
    pub(crate) cpu_seconds: f64,
    /// Its tiers.
    pub(crate) tiers: Vec<TierStatus>,
    /// Its functions.
    pub(crate) functions: Vec<FunctionStatus>,
}

/// A tier. Counts are since the start, rates and times of the last seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TierStatus {
    pub(crate) name: String,
    /// Version of its sub-model.
    pub(crate) model: String,
    pub(crate) instances: usize,
    pub(crate) consumed: u64,
    pub(crate) answered: u64,
    pub(crate) forwarded: u64,
    pub(crate) split: u64,
    pub(crate) dead_lettered: u64,
    pub(crate) retried: u64,
    pub(crate) in_flight: u64,
    /// Records of its topic that are not done; `None` while its broker does not say.
    pub(crate) lag: Option<u64>,
    /// Records that wait for the next tier; `None` where it is on the same broker.
    pub(crate) buffered: Option<u64>,
    /// Records that met their fate, a second.
    pub(crate) rate: f64,
    /// Share of them that was answered; `None` without any.
    pub(crate) answered_share: Option<f64>,
    pub(crate) latency_ms_p50: Option<f64>,
    pub(crate) latency_ms_p99: Option<f64>,
}

/// A function. Counts are since the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FunctionStatus {
    pub(crate) name: String,
    pub(crate) image: String,
    /// Instances that there are to be.
    pub(crate) wanted: u32,
    /// Instances that take calls.
    pub(crate) ready: u32,
    pub(crate) in_flight: u64,
    pub(crate) waiting: u64,
    pub(crate) arrived: u64,
    pub(crate) answered: u64,
    pub(crate) failed: u64,
    /// Calls that came, a second.
    pub(crate) rate: f64,
    /// How long a call takes.
    pub(crate) call_ms: Option<f64>,
    /// How long an instance takes to start.
    pub(crate) start_ms: Option<f64>,
    /// Instances that ended by themselves, or were not healthy, or did not start.
    pub(crate) broken_instances: u64,
    /// Why the last of them.
    pub(crate) last_failure: Option<String>,
    pub(crate) instances: Vec<InstanceStatus>,
}

/// An instance of a function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct InstanceStatus {
    pub(crate) number: u64,
    pub(crate) phase: String,
    pub(crate) in_flight: u32,
    /// `None` where it is part of the node's own process.
    pub(crate) pid: Option<u32>,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) cpu_seconds: Option<f64>,
}

/// A decision on how many instances there are to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scaled {
    /// Milliseconds since the epoch.
    pub(crate) at_ms: i64,
    /// The tier or function.
    pub(crate) name: String,
    pub(crate) from: u32,
    pub(crate) to: u32,
    /// Why.
    pub(crate) reason: String,
}

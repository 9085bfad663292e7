//! `offramp.toml`: one file describes what runs.
//!
//! [`Pipeline::parse`] turns the text into one validated [`Pipeline`], or into every problem of the text at
//! once, each naming the key, its value and what was expected. There is one struct for a pipeline: what the
//! file leaves out is filled in while reading, so no caller meets an `Option` that only a default would fill.
//!
//! Whether models exist, fit together and brokers answer is not decided here: that takes I/O.

pub mod deploy;
pub mod functions;
mod read;
#[cfg(test)]
mod tests;
mod uplink;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

pub use tables::{Invalid, Problem};
pub use uplink::{Buffer, OnLoss, Uplink, WhenFull};
use wire::{Encoding, EngineKind, ExitCriterion};

/// A pipeline: its tiers from the devices upwards, and the embedded broker if a tier asks for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    /// Prefix of every default topic name.
    pub name: String,
    /// The embedded broker; there if and only if some address is `embedded`.
    pub broker: Option<EmbeddedBroker>,
    /// At least one tier; the last one always answers.
    pub tiers: Vec<Tier>,
    /// The edge runtime, if the file has functions or a gateway.
    pub runtime: Option<functions::Runtime>,
    /// What a deployment of all tiers shares.
    pub deploy: deploy::Deploy,
}

/// Where the embedded broker keeps its log and listens.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddedBroker {
    /// Directory of the log.
    pub dir: PathBuf,
    /// Address to listen on.
    pub listen: SocketAddr,
}

/// One tier.
#[derive(Debug, Clone, PartialEq)]
pub struct Tier {
    /// Name, unique in the pipeline.
    pub name: String,
    /// The sub-model's artefact.
    pub model: PathBuf,
    /// What computes it.
    pub engine: EngineKind,
    /// What replaces the artefact's own exit.
    pub exit: ExitSettings,
    /// Where records arrive.
    pub input: Topic,
    /// How samples of arriving records are written, unless they say otherwise.
    pub encoding: Encoding,
    /// Shape of a sample as it arrives, if it is not the sub-model's own.
    pub shape: Option<Vec<usize>>,
    /// How features are written for the next tier.
    pub features: Encoding,
    /// Where answers go.
    pub output: Topic,
    /// Where records go that can never succeed.
    pub dead_letter: Topic,
    /// Records that are being handled at once, at most.
    pub in_flight: usize,
    /// How long to wait, after a few records have come, before asking for more: those that come meanwhile come
    /// together, and cost less.
    pub linger: Duration,
    /// Samples that one run of the engine takes, at most.
    pub max_batch: usize,
    /// How many instances of the sub-model run.
    pub scale: Scale,
    /// How a failing call is tried again.
    pub retry: Retry,
    /// Which records wait for which.
    pub order: Order,
    /// What happens while the next tier's broker is away; `None` where it is this tier's own, or where this
    /// tier is the last.
    pub uplink: Option<Uplink>,
    /// Functions that a record goes through before its inference, in order.
    pub before: Vec<functions::Step>,
    /// Functions that an answer goes through before it is written, in order.
    pub after: Vec<functions::Step>,
    /// Where a platform runs it, and what it may take there.
    pub deploy: deploy::TierDeploy,
}

/// What replaces the exit that an artefact carries: what is set, and only that.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ExitSettings {
    /// How the confidence is computed. A threshold comes with it, unless the artefact's is for the same one.
    pub criterion: Option<ExitCriterion>,
    /// The least confidence with which a sample leaves, in [0, 1]. Replaces the artefact's thresholds of all classes.
    pub threshold: Option<f64>,
    /// Divides the logits before the softmax; more than 0.
    pub temperature: Option<f32>,
    /// The least confidence by the label of the predicted class, in [0, 1]; those of labels that are not here stay.
    pub class_thresholds: BTreeMap<String, f64>,
}

impl ExitSettings {
    /// Another threshold, and all else as the artefact has it.
    pub fn threshold(threshold: f64) -> Self {
        Self { threshold: Some(threshold), ..Self::default() }
    }
}

/// Which records are handled one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Order {
    /// Those with the same key.
    #[default]
    Key,
    /// Those of the same partition.
    Partition,
    /// None: each is done when it is done.
    None,
}

impl Order {
    /// Every order, in the order in which help texts and errors list them.
    pub const ALL: [Self; 3] = [Self::Key, Self::Partition, Self::None];

    /// The name in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Partition => "partition",
            Self::None => "none",
        }
    }
}

impl FromStr for Order {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|order| order.name() == name).ok_or(())
    }
}

/// A topic on a broker.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Topic {
    /// The broker.
    pub servers: Servers,
    /// Topic name.
    pub name: String,
}

/// Which broker.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Servers {
    /// The embedded broker of the process that runs the pipeline.
    Embedded,
    /// `bootstrap.servers`: `host:port`, separated by commas.
    Bootstrap(String),
}

/// Bounds on the instances of a tier's sub-model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// Instances that stay while nothing arrives.
    pub min: usize,
    /// Instances at most.
    pub max: usize,
}

/// Back-off between attempts: exponential with full jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts before a record becomes a dead letter.
    pub attempts: u32,
    /// Longest wait after the first attempt.
    pub backoff_min: Duration,
    /// Longest wait after any attempt.
    pub backoff_max: Duration,
}

impl Default for Retry {
    /// Six attempts are the paper's connector's; its waits were zero, which spent them within milliseconds.
    fn default() -> Self {
        Self {
            attempts: 6,
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
        }
    }
}

/// Where the embedded broker listens unless told otherwise: Kafka's own port, on this machine only.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:9092";
/// Where the embedded broker keeps its log unless told otherwise, relative to the pipeline file.
pub const DEFAULT_LOG_DIR: &str = ".offramp/log";
/// Covers 25 ms of downstream latency at 10,000 records/s; at 3 kB a record, under 1 MB of memory.
pub const DEFAULT_IN_FLIGHT: usize = 256;
/// None waits: an answer early is worth more than the CPU time that a few milliseconds save.
pub const DEFAULT_LINGER: Duration = Duration::ZERO;
/// Beyond 64 samples a dense sub-model gains little per sample and the first waits for the last.
pub const DEFAULT_MAX_BATCH: usize = 64;
/// One instance: a small board has a core to spare for it.
pub const DEFAULT_SCALE: Scale = Scale { min: 1, max: 1 };

impl Pipeline {
    /// Reads a pipeline from the text of `offramp.toml`. Relative paths in it are relative to `base`,
    /// the folder of the file.
    pub fn parse(text: &str, base: &std::path::Path) -> Result<Self, Invalid> {
        read::pipeline(text, base)
    }

    /// The tier that `tier` forwards to, if it is not the last.
    pub fn next_of(&self, tier: &Tier) -> Option<&Tier> {
        let at = self.tiers.iter().position(|other| other.name == tier.name)?;
        self.tiers.get(at + 1)
    }
}

//! What only a deployment to a platform has to know: where each tier goes, and what it may take there.
//!
//! A key that is `None` is as the platform has it, and platforms differ.

use std::str::FromStr;
use std::time::Duration;

use crate::Scale;

/// How long a call to a deployed function may take, unless told otherwise: what most platforms have themselves.
pub const DEFAULT_CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The `[deploy]` table: what all tiers share.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Deploy {
    /// The image that runs, with the sub-models in it.
    pub image: Option<String>,
    /// The image that [`Deploy::image`] is built from.
    pub base_image: Option<String>,
    /// Namespace of the tiers that have none of their own.
    pub namespace: Option<String>,
    /// What writes answers and features.
    pub funnels: Funnels,
}

/// What writes a function's results to Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Funnels {
    /// The inference function itself.
    #[default]
    Direct,
    /// A funnel function for each destination, as the paper has them.
    Functions,
}

impl Funnels {
    /// Both, in the order in which errors list them.
    pub const ALL: [Self; 2] = [Self::Direct, Self::Functions];

    /// The name in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Functions => "functions",
        }
    }
}

impl FromStr for Funnels {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|funnels| funnels.name() == name).ok_or(())
    }
}

/// The `[tier.deploy]` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierDeploy {
    /// Context of the cluster, as `kubectl config get-contexts` lists them.
    pub context: Option<String>,
    /// The platform's gateway or API host, as whoever deploys reaches it.
    pub gateway: Option<String>,
    /// The same, as functions reach it from inside.
    pub internal_gateway: Option<String>,
    /// Namespace of this tier's functions.
    pub namespace: Option<String>,
    /// An image of this tier's own.
    pub image: Option<String>,
    /// Where the function fetches its sub-model, with the file's checksum; `None` has it in the image.
    pub model: Option<String>,
    /// Nodes that it may run on.
    pub architecture: Option<Architecture>,
    /// What each replica is promised.
    pub requests: Resources,
    /// What each replica may take.
    pub limits: Resources,
    /// Replicas; `None` is the tier's `scale`, of which each replica then has one.
    pub replicas: Option<Scale>,
    /// Partitions of the input topic, if they are known: more replicas than these would idle.
    pub partitions: Option<u32>,
    /// How long a call may take.
    pub timeout: Duration,
}

impl Default for TierDeploy {
    fn default() -> Self {
        Self {
            context: None,
            gateway: None,
            internal_gateway: None,
            namespace: None,
            image: None,
            model: None,
            architecture: None,
            requests: Resources::default(),
            limits: Resources::default(),
            replicas: None,
            partitions: None,
            timeout: DEFAULT_CALL_TIMEOUT,
        }
    }
}

/// Memory and processor time of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resources {
    /// Memory, in MiB.
    pub memory_mib: Option<u64>,
    /// Processor time, in thousandths of a core.
    pub cpu_millis: Option<u64>,
}

/// Architectures that the image is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// `x86_64`.
    Amd64,
    /// `aarch64`.
    Arm64,
}

impl Architecture {
    /// Both, in the order in which errors list them.
    pub const ALL: [Self; 2] = [Self::Amd64, Self::Arm64];

    /// The name in configuration, and in the label `kubernetes.io/arch`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
}

impl FromStr for Architecture {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|architecture| architecture.name() == name).ok_or(())
    }
}

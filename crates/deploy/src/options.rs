//! What to render: for which platform, and in which of its variants.

use std::fmt;
use std::str::FromStr;

/// A platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Platform {
    /// OpenFaaS, on Kubernetes or faasd.
    OpenFaas,
    /// Fission.
    Fission,
    /// Apache OpenWhisk.
    OpenWhisk,
    /// Knative Serving and Eventing.
    Knative,
    /// Nuclio.
    Nuclio,
    /// Kubernetes by itself, with KEDA.
    Kubernetes,
    /// Docker Compose.
    Compose,
    /// systemd, on a machine.
    Systemd,
}

impl Platform {
    /// Every platform, in the order in which help texts and errors list them.
    pub const ALL: [Self; 8] = [
        Self::OpenFaas,
        Self::Fission,
        Self::OpenWhisk,
        Self::Knative,
        Self::Nuclio,
        Self::Kubernetes,
        Self::Compose,
        Self::Systemd,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenFaas => "openfaas",
            Self::Fission => "fission",
            Self::OpenWhisk => "openwhisk",
            Self::Knative => "knative",
            Self::Nuclio => "nuclio",
            Self::Kubernetes => "kubernetes",
            Self::Compose => "compose",
            Self::Systemd => "systemd",
        }
    }

    /// Whether a tier's connector, inference and funnels are functions of their own; a whole tier is one process where
    /// they are not.
    pub const fn has_functions(self) -> bool {
        !matches!(self, Self::Kubernetes | Self::Compose | Self::Systemd)
    }

    /// Whether it runs somewhere else than on the machine that renders, so that this machine's own addresses mean
    /// nothing there.
    pub const fn is_cluster(self) -> bool {
        !matches!(self, Self::Compose | Self::Systemd)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Platform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        by_name(text, &Self::ALL, Self::name)
    }
}

/// Who takes records to the functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Trigger {
    /// Our connector: nothing of a record is lost, and its offset moves only after its fate is met.
    #[default]
    Connector,
    /// The platform's own.
    Platform,
}

impl Trigger {
    /// Both, in the order in which help texts and errors list them.
    pub const ALL: [Self; 2] = [Self::Connector, Self::Platform];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connector => "connector",
            Self::Platform => "platform",
        }
    }
}

impl FromStr for Trigger {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        by_name(text, &Self::ALL, Self::name)
    }
}

/// How Fission runs a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Executor {
    /// As a container of its own.
    #[default]
    Container,
    /// In an environment's warm pod, from a package with the sub-model.
    Environment,
}

impl Executor {
    /// Both, in the order in which help texts and errors list them.
    pub const ALL: [Self; 2] = [Self::Container, Self::Environment];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Environment => "environment",
        }
    }
}

impl FromStr for Executor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        by_name(text, &Self::ALL, Self::name)
    }
}

/// What to render.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// For whom.
    pub platform: Platform,
    /// Who takes records to the functions, where there are functions.
    pub trigger: Trigger,
    /// How Fission runs them.
    pub executor: Executor,
}

impl Options {
    /// The defaults of a platform.
    pub fn of(platform: Platform) -> Self {
        Self { platform, trigger: Trigger::default(), executor: Executor::default() }
    }
}

fn by_name<T: Copy>(text: &str, all: &[T], name: impl Fn(T) -> &'static str) -> Result<T, String> {
    let names = || all.iter().map(|one| name(*one)).collect::<Vec<_>>().join(", ");
    let found = all.iter().copied().find(|one| name(*one) == text);
    found.ok_or_else(|| format!("expected one of {}", names()))
}

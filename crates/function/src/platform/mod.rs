//! Each FaaS platform's container contract, so that one image is at home on all of them.
//!
//! [`detect`] finds out where a process runs; [`Container`] answers as a container of that platform does, and gives what
//! are calls to its function. What a call itself looks like is the same everywhere ([`crate::http`]).
//!
//! | platform | port | its routes | calls |
//! |---|---|---|---|
//! | `plain` | `$PORT`, else 8080 of this machine | `GET /_/health`, `/_/ready`, `/-/live`, `/-/ready` | any path |
//! | `openfaas` | `$port`, else 8080; metrics 8081 | `GET /_/health`, `/_/ready` | any path |
//! | `fission` | 8888 | `GET /healthz`, `POST /specialize`, `/v2/specialize` | any other path |
//! | `openwhisk` | 8080 | `POST /init` | `POST /run` |
//! | `knative` | `$PORT`, else 8080 | `GET /-/live`, `/-/ready`, `OPTIONS` | any path |
//! | `nuclio` | 8080; probes 8082 | `GET /__internal/health`; `GET /live`, `/ready` | any path |
//! | `tinyfaas` | 8000 | `GET /health` | `POST /fn` |
//!
//! The contracts are those of faas-netes' probes and of-watchdog, Fission's `pkg/fetcher` and `pkg/svcinfo`, OpenWhisk's
//! `docs/actions-new.md`, Knative's runtime contract and data plane specifications, Nuclio's `pkg/platform/kube`, and
//! tinyFaaS' `pkg/docker`.

mod container;
mod counts;
pub mod detect;
mod fission;
mod limits;
mod openwhisk;
mod package;
mod secrets;
pub(crate) mod trigger;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

pub use container::{Container, Given, Probes, Start};
pub use counts::{BUCKETS, Counts, Observed};
pub use detect::{Conflicting, Detected, Evidence};
pub use secrets::{NoSecret, resolve};

/// Environment variables by name.
pub type Variables = BTreeMap<String, String>;

/// While it drains, a container goes on for this long where nothing takes it out of service before it is told to stop.
const DRAIN: Duration = Duration::from_secs(5);

/// A platform, by whose contract a container answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Platform {
    /// None: a process, a container, a Kubernetes pod.
    #[default]
    Plain,
    /// `OpenFaaS`, faasd among them, and what answers as it does.
    OpenFaas,
    /// Fission, as an environment or with its container executor.
    Fission,
    /// Apache `OpenWhisk`.
    OpenWhisk,
    /// Knative Serving and Eventing.
    Knative,
    /// Nuclio, in the place of its processor.
    Nuclio,
    /// tinyFaaS.
    TinyFaas,
}

impl Platform {
    /// Every platform, in the order in which help texts and errors list them.
    pub const ALL: [Self; 7] = [
        Self::Plain,
        Self::OpenFaas,
        Self::Fission,
        Self::OpenWhisk,
        Self::Knative,
        Self::Nuclio,
        Self::TinyFaas,
    ];

    /// The name in options and variables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::OpenFaas => "openfaas",
            Self::Fission => "fission",
            Self::OpenWhisk => "openwhisk",
            Self::Knative => "knative",
            Self::Nuclio => "nuclio",
            Self::TinyFaas => "tinyfaas",
        }
    }

    /// Where its calls arrive, as the variables say.
    ///
    /// # Errors
    ///
    /// A variable is no port; the message names it.
    pub fn address(self, variables: &Variables) -> Result<SocketAddr, limits::BadVariable> {
        let everywhere = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let told = |name| limits::port(variables, name);
        Ok(match self {
            Self::Plain => {
                told("PORT")?.map_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)), everywhere)
            }
            Self::Knative => everywhere(told("PORT")?.unwrap_or(8080)),
            Self::OpenFaas => everywhere(told("port")?.unwrap_or(8080)),
            Self::Fission => everywhere(8888),
            Self::OpenWhisk | Self::Nuclio => everywhere(8080),
            Self::TinyFaas => everywhere(8000),
        })
    }

    /// Where its probes arrive, beside calls.
    pub fn probes_address(self) -> Option<SocketAddr> {
        (self == Self::Nuclio).then(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8082)))
    }

    /// Where it looks for metrics.
    pub fn metrics_address(self) -> Option<SocketAddr> {
        (self == Self::OpenFaas).then(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8081)))
    }

    /// How long to go on once told to stop, while probes, and on `OpenWhisk` activations, are told that this container
    /// is about to end. Knative and Fission wait before they tell.
    ///
    /// # Errors
    ///
    /// A variable is no time; the message names it.
    pub fn drain(self, variables: &Variables) -> Result<Duration, limits::BadVariable> {
        match self {
            Self::OpenFaas => {
                Ok(limits::duration(variables, "healthcheck_interval")?.unwrap_or(DRAIN))
            }
            Self::Nuclio | Self::OpenWhisk => Ok(DRAIN),
            _ => Ok(Duration::ZERO),
        }
    }

    /// A file that it looks for where it asks nothing over HTTP: there while this container takes calls.
    pub fn lock_file(self) -> Option<&'static Path> {
        (self == Self::OpenFaas).then(|| Path::new("/tmp/.lock"))
    }

    /// Whether it freezes containers that nobody calls, so that none can work by itself.
    pub fn freezes(self) -> bool {
        self == Self::OpenWhisk
    }

    /// Whether its containers start without a function, and are told later which they are.
    pub fn initialises(self) -> bool {
        matches!(self, Self::Fission | Self::OpenWhisk)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A platform that is not known.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a platform; expected {names}", names = names())]
pub struct UnknownPlatform(String);

fn names() -> String {
    let names: Vec<&str> = Platform::ALL.into_iter().map(Platform::name).collect();
    let (last, first) = names.split_last().expect("there are some");
    format!("{} or {last}", first.join(", "))
}

impl FromStr for Platform {
    type Err = UnknownPlatform;

    fn from_str(name: &str) -> Result<Self, UnknownPlatform> {
        let found = Self::ALL.into_iter().find(|platform| platform.name() == name);
        found.ok_or_else(|| UnknownPlatform(name.to_owned()))
    }
}

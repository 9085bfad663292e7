//! Looks at CPU time, memory and instances now and then, from a thread of its own: a look must not wait for the devices,
//! and they not for it.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use bench::run::{Instances, Usage};
use bench::usage::{Subject, Watched};
use serde::Deserialize;
use tokio::time::Instant;

use super::WatchArgs;
use super::system::{Processes, System};
use crate::commands::gateway::GatewayArgs;
use crate::commands::ps::STATUS_PATH;
use crate::node::status::Status;

/// What is to be looked at.
pub(super) struct Watch {
    given: Vec<Watched>,
    own: Processes,
    gateway: Option<GatewayArgs>,
    every: Duration,
}

/// The looks that are under way.
pub(super) struct Watching {
    stop: Sender<()>,
    thread: JoinHandle<Seen>,
}

type Seen = (Vec<Usage>, Vec<Instances>);

/// What a gateway of this kind says of a function.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    name: String,
    #[serde(default)]
    available_replicas: u32,
}

impl Watch {
    /// Checks that everything that was named is there.
    pub(super) fn open(args: &WatchArgs, system: &System) -> anyhow::Result<Self> {
        let given: Vec<Watched> = args.pids.iter().chain(&args.cgroups).cloned().collect();
        for watched in &given {
            watched.look(0.0).with_context(|| match &watched.subject {
                Subject::Process(pid) => format!("there is no process {pid}, as `--pid` says"),
                Subject::ControlGroup(dir) => {
                    format!("`{}` of `--cgroup` is no control group", dir.display())
                }
            })?;
        }
        let gateway = args.gateway.clone().or_else(|| system.gateway()).map(GatewayArgs::at);
        if let Some(gateway) = &gateway {
            instances(gateway, 0.0).context("the gateway whose instances are to be counted")?;
        }
        let every = Duration::from_millis(args.sample_ms);
        Ok(Self { given, own: system.processes(), gateway, every })
    }

    /// Looks, now and at equal times from `start` on, until it is to end.
    pub(super) fn start(self, start: Instant) -> Watching {
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || {
            let (mut usage, mut counts) = (Vec::new(), Vec::new());
            let mut nth = 1;
            let mut look = |gateway: Option<&GatewayArgs>| {
                let at_s = (start.elapsed().as_secs_f64() * 1e3).round() / 1e3;
                // What is down for a while is seen again when it is back.
                let looks = self.given.iter().cloned().chain(self.own.watched());
                usage.extend(looks.filter_map(|watched| watched.look(at_s).ok()));
                let found = gateway.and_then(|gateway| instances(gateway, at_s).ok());
                counts.extend(found.into_iter().flatten());
            };
            let wait = |nth: u32| {
                let next = start + self.every * nth;
                stopped.recv_timeout(next.saturating_duration_since(Instant::now()))
            };
            look(self.gateway.as_ref());
            while wait(nth) == Err(RecvTimeoutError::Timeout) {
                look(self.gateway.as_ref());
                nth += 1;
            }
            // A last look, so that what was taken is whole.
            look(None);
            (usage, counts)
        });
        Watching { stop, thread }
    }
}

impl Watching {
    pub(super) async fn end(self) -> anyhow::Result<Seen> {
        drop(self.stop);
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await?;
        joined.map_err(|_| anyhow::anyhow!("the thread that looks at it panicked"))
    }
}

/// The instances of every tier and function of a gateway: ours tells of both, others of functions.
fn instances(gateway: &GatewayArgs, at_s: f64) -> anyhow::Result<Vec<Instances>> {
    if let Ok(status) = gateway.get::<Status>(STATUS_PATH) {
        let tiers = status.tiers.into_iter().map(|tier| (tier.name, tier.instances as f64));
        let functions = status.functions.into_iter();
        let functions = functions.map(|function| (function.name, f64::from(function.ready)));
        let all = tiers.chain(functions);
        return Ok(all.map(|(name, instances)| Instances { at_s, name, instances }).collect());
    }
    let found: Vec<Found> = gateway.get("/system/functions")?;
    let instances = |found: Found| Instances {
        at_s,
        name: found.name,
        instances: f64::from(found.available_replicas),
    };
    Ok(found.into_iter().map(instances).collect())
}

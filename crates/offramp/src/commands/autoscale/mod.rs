//! `offramp autoscale`: the autoscaler for functions that something else runs.
//!
//! Each interval it looks at a topic's end offsets, at what a consumer group has committed and at how many instances
//! there are, decides as tiers of `offramp up` do (`autoscale`), and asks a gateway or a Kubernetes API server for
//! another number if need be. Targets that feed each other are decided together: a tier is made ready for what the one
//! below will forward. All it knows is in offsets ([`backlog`], [`service`]), and where it knows nothing it does
//! nothing ([`scaled`]).
//!
//! It keeps no state: started anew, it averages anew. Two of them on one target would contend.
//!
//! Left out: brokers with TLS or SASL, as everywhere here; transactions, whose markers look like a record that is never
//! done, so that there is always an instance; finding out how long instances take to start (`--cold-start-ms`).

mod backlog;
mod bounds;
mod file;
mod http;
mod link;
mod platform;
mod record;
mod scaled;
mod service;
mod target;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use autoscale::Chain;
use clap::ValueEnum;
use futures_util::future::join_all;
use tokio::time::MissedTickBehavior;

use self::scaled::{Look, Mode, Scaled};
use self::target::{Given, Target};
use crate::commands::topic::BrokerArgs;
use crate::outcome::OrConfig as _;
use crate::signals::stop_on_signal;

/// Scale functions that something else runs, by what waits in their topics: behind a gateway, or as a Kubernetes
/// Deployment.
///
/// The arrival rate is that of the topic's end offsets, the backlog what the consumer group has not committed, and what
/// a record takes is measured while there is a backlog. More instances are asked for when those there are will be busy
/// or records wait too long, and fewer when fewer have been enough for a while. Where the broker or the platform does
/// not answer, everything stays as it is.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    broker: BrokerArgs,
    /// File with several targets, as `[[target]]` tables with the keys `topic`, `group`, `deployment`, …, one for each
    /// option of a target, and `bootstrap_servers`. With `feeds_next = true` what a target forwards comes to the next
    /// one, which is made ready for it at once; `forward_share` is the share until it has been measured.
    #[arg(long, value_name = "FILE", conflicts_with = "Given")]
    targets: Option<PathBuf>,
    /// How often to look, in milliseconds.
    #[arg(long, default_value_t = 1000, value_name = "MS", value_parser = clap::value_parser!(u64).range(100..=60_000))]
    interval_ms: u64,
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Print each decision that changes something to stdout.
    #[arg(short, long, value_enum)]
    output: Option<RecordFormat>,
    #[command(flatten)]
    given: Given,
}

/// How decisions are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RecordFormat {
    /// A JSON object a line.
    Json,
}

pub(crate) async fn run(args: Box<Args>) -> anyhow::Result<()> {
    let interval = Duration::from_millis(args.interval_ms);
    let mode = if args.dry_run { Mode::DryRun } else { Mode::Act };
    let output = args.output;
    let mut chains = Vec::new();
    for targets in split_into_chains(targets(*args)?) {
        chains.push(Linked::new(targets).or_config()?);
    }
    let mut stop = stop_on_signal()?;
    let started = Instant::now();
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.said() => return Ok(()),
        }
        let rounds = chains.iter_mut().map(|chain| chain.round(started, mode, output));
        tokio::select! {
            rounds = join_all(rounds) => rounds.into_iter().collect::<anyhow::Result<()>>()?,
            () = stop.said() => return Ok(()),
        }
    }
}

/// The targets of the file or the one that flags describe.
fn targets(args: Args) -> anyhow::Result<Vec<Target>> {
    let servers = &args.broker.bootstrap_servers;
    let Some(path) = args.targets else {
        let target = args.given.target(servers).map_err(|problems| {
            let lines = problems
                .iter()
                .map(|problem| format!("--{} {}", problem.key.replace('_', "-"), problem.text));
            anyhow!("{}", lines.collect::<Vec<_>>().join("; "))
        });
        return Ok(vec![target.or_config()?]);
    };
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("file of targets `{}`", path.display()))
        .or_config()?;
    let base = path.parent().unwrap_or(Path::new(""));
    file::parse(&text, base, servers)
        .map_err(|invalid| anyhow!("{}: {invalid}", path.display()))
        .or_config()
}

/// Targets of which each but the last feeds the next.
fn split_into_chains(targets: Vec<Target>) -> Vec<Vec<Target>> {
    let mut chains: Vec<Vec<Target>> = Vec::new();
    let mut goes_on = false;
    for target in targets {
        let feeds_next = target.feeds_next;
        match chains.last_mut().filter(|_| goes_on) {
            Some(chain) => chain.push(target),
            None => chains.push(vec![target]),
        }
        goes_on = feeds_next;
    }
    chains
}

/// Targets that are decided together.
#[derive(Debug)]
struct Linked {
    targets: Vec<Scaled>,
    chain: Chain,
}

impl Linked {
    fn new(targets: Vec<Target>) -> anyhow::Result<Self> {
        let policies: Vec<_> = targets.iter().map(|target| target.policy).collect();
        targets.iter().for_each(announce);
        let targets = targets.into_iter().map(Scaled::new).collect::<Result<_, _>>()?;
        Ok(Self { targets, chain: Chain::new(&policies)? })
    }

    /// Looks at all targets, decides, and carries it out.
    async fn round(
        &mut self,
        started: Instant,
        mode: Mode,
        output: Option<RecordFormat>,
    ) -> anyhow::Result<()> {
        let now = started.elapsed();
        let looks: Vec<Look> =
            join_all(self.targets.iter_mut().map(|target| target.look(now))).await;
        // Looks end later than they begin, most of all where something does not answer in time.
        let now = started.elapsed();
        let loads = self.targets.iter_mut().enumerate().map(|(at, target)| {
            let next = looks.get(at + 1).and_then(|look| look.counts);
            target.load(looks[at], next, now)
        });
        let decisions = self.chain.decide_known(&loads.collect::<Vec<_>>(), now);
        for ((target, decision), look) in self.targets.iter_mut().zip(decisions).zip(looks) {
            let (Some(decision), Some(counts)) = (decision, look.counts) else { continue };
            let record = target.act(&decision, counts.partitions, mode, now).await;
            if let (Some(record), Some(RecordFormat::Json)) = (record, output) {
                record.print()?;
            }
        }
        Ok(())
    }
}

/// Says what holds for a target.
fn announce(target: &Target) {
    let Target { name, servers, topic, group, policy, concurrency, cold_start, .. } = target;
    tracing::info!(
        target = name,
        brokers = servers,
        topic,
        group,
        min_scale = policy.min_scale,
        max_scale = policy.max_scale,
        wait_ms = policy.wait.as_millis() as u64,
        service_ms = policy.expected_service.as_secs_f64() * 1000.0,
        concurrency,
        cold_start_ms = cold_start.as_millis() as u64,
        commit_ms = target.commit.as_millis() as u64,
        "scaling"
    );
    if policy.min_scale == 0 && *cold_start * 2 > policy.wait {
        tracing::info!(
            target = name,
            "one instance is kept: starting one takes more than half of the wait that is allowed, which `wait_ms` says"
        );
    }
}

#[cfg(test)]
mod tests;

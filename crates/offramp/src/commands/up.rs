//! `offramp up`: tiers on this machine, in one process.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, anyhow};
use broker::Broker;
use function::Stop;
use function::http::Local;
use pipeline::{Pipeline, Scale, Servers};
use runtime::Functions;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::commands::pipeline_file;
use crate::metrics::Metrics;
use crate::node::{self, Control, Node, Overseer, Reload};
use crate::signals::stopping;
use crate::thread::Thread;
use crate::tiers::{self, Running, Tiers};

/// Run tiers on this machine: connector, inference and funnel of each in one process, the embedded broker where a tier
/// asks for it, and the functions and the gateway of the pipeline file.
///
/// SIGHUP, as `offramp reload`, has it read the file again.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The pipeline file.
    #[arg(default_value = pipeline_file::DEFAULT_FILE)]
    file: PathBuf,
    /// Run only this tier; may be given several times.
    #[arg(long = "tier", value_name = "NAME")]
    tiers: Vec<String>,
    /// Address to serve Prometheus metrics on, at `/metrics`.
    #[arg(long, env = "OFFRAMP_METRICS", value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
}

/// Says on standard output what has started, and how long after the process.
struct Announcer {
    started: Instant,
}

impl Announcer {
    fn say(&self, part: &str, what: &str) -> std::io::Result<()> {
        let ms = self.started.elapsed().as_millis();
        writeln!(std::io::stdout().lock(), "{part:<10}{what:<60} {ms:>6} ms")
    }
}

/// All that runs.
struct Up {
    file: PathBuf,
    pipeline: Pipeline,
    selected: Vec<usize>,
    tiers: Tiers,
    node: Option<Node>,
    overseer: Option<Overseer>,
}

pub(crate) async fn run(args: Args, started: Instant) -> anyhow::Result<()> {
    let say = Announcer { started };
    let pipeline = pipeline_file::read(&args.file)?;
    let sub_models = pipeline_file::load_sub_models(&pipeline)?;
    let selected = pipeline_file::select(&pipeline, &args.tiers)?;
    let (stopper, stop) = stopping()?;
    let thread = Thread::start().context("a thread for the broker and a tier")?;
    let broker = match &pipeline.broker {
        Some(broker) if tiers::use_embedded(&pipeline, &selected) => {
            Some(tiers::start_broker(broker, &thread).await?)
        }
        _ => None,
    };
    let embedded = broker.as_ref().map_or("", Broker::advertised).to_owned();
    if let Some(broker) = &broker {
        say.say("broker", &broker.local_addr().to_string())?;
    }
    let servers = match &pipeline.tiers[selected[0]].input.servers {
        Servers::Embedded => &embedded,
        Servers::Bootstrap(servers) => servers,
    };
    let node =
        pipeline.runtime.as_ref().map(|runtime| Node::start(runtime, servers)).transpose()?;
    let functions = node.as_ref().map(|node| node.functions().clone());
    for function in functions.iter().flat_map(Functions::all) {
        say.say("function", &format!("{} ({})", function.spec.name, function.spec.image))?;
    }
    let local = local(functions.as_ref());
    let advertised = embedded.clone();
    let tiers =
        Tiers::start(&pipeline, &selected, &sub_models, advertised, &local, &stop, &thread).await?;
    tiers.ready().await;
    for &at in &selected {
        let tier = &pipeline.tiers[at];
        say.say("tier", &format!("{}: {} -> {}", tier.name, tier.input.name, tier.output.name))?;
    }
    let scales = scales(&pipeline, &selected);
    let is_watched = node.is_some() || scales.iter().any(|scale| scale.min < scale.max);
    let overseer = is_watched
        .then(|| Overseer::new(&pipeline.name, tiers.running(), &scales, functions.clone()))
        .transpose()?;
    let overseeing = overseer.clone().map(|overseer| tokio::spawn(overseer.run(stop.clone())));
    let (reloads, asked) = mpsc::channel(1);
    let serving = match (&node, &overseer) {
        (Some(node), Some(overseer)) => {
            let control = Control { overseer: overseer.clone(), reloads, stopper };
            serve(node, control, &stop, &say).await?
        }
        _ => None,
    };
    tracing::info!(ready_ms = started.elapsed().as_millis() as u64, "ready");
    next_steps(&pipeline, servers, serving.is_some())?;
    let metrics = match args.metrics {
        Some(address) => {
            let mut metrics = Metrics::default();
            metrics.tiers(tiers.running());
            if let Some(broker) = &broker {
                metrics.broker(broker.monitor());
            }
            if let Some(functions) = functions {
                metrics.functions(functions);
            }
            Some(metrics.serve(address).await?)
        }
        None => None,
    };
    let running = tiers.running().to_vec();
    let up = Up { file: args.file, pipeline, selected, tiers, node, overseer };
    let (ended, node) = up.supervise(asked).await;
    log_counts(&running);
    drop(metrics);
    for task in [serving, overseeing].into_iter().flatten() {
        task.await.context("a part of the node panicked")?;
    }
    if let Some(node) = node {
        node.close().await;
    }
    if let Some(broker) = broker {
        broker.shutdown().await?;
    }
    ended
}

/// The functions of this process as tiers call them.
fn local(functions: Option<&Functions>) -> impl Fn(&str) -> Arc<dyn Local> + use<> {
    let functions = functions.cloned();
    move |name| match &functions {
        Some(functions) => node::local(functions, name),
        None => tiers::no_functions(name),
    }
}

fn scales(pipeline: &Pipeline, selected: &[usize]) -> Vec<Scale> {
    selected.iter().map(|&at| pipeline.tiers[at].scale).collect()
}

/// Starts the gateway, if there is to be one.
async fn serve(
    node: &Node,
    control: Control,
    stop: &Stop,
    say: &Announcer,
) -> anyhow::Result<Option<JoinHandle<()>>> {
    let Some(gateway) = node.gateway(control).await? else { return Ok(None) };
    say.say("gateway", &format!("http://{}", gateway.address()))?;
    tracing::info!(listening = %gateway.address(), "gateway ready");
    let mut stop = stop.clone();
    Ok(Some(tokio::spawn(gateway.serve(async move { stop.said().await }))))
}

/// Says what somebody may do who sees this for the first time.
fn next_steps(pipeline: &Pipeline, servers: &str, has_gateway: bool) -> anyhow::Result<()> {
    let first = &pipeline.tiers[0].input.name;
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nready; send records to {first} at {servers}, and see what becomes of them:")?;
    writeln!(out, "  offramp tail -b {servers}")?;
    if has_gateway {
        writeln!(out, "  offramp top                    what each tier and function does, live")?;
    }
    writeln!(out)?;
    Ok(())
}

impl Up {
    /// Waits until the tiers have ended; meanwhile reads the file again when asked to.
    async fn supervise(
        mut self,
        mut asked: mpsc::Receiver<Reload>,
    ) -> (anyhow::Result<()>, Option<Node>) {
        let mut hang_up = match signal(SignalKind::hangup()) {
            Ok(hang_up) => hang_up,
            Err(error) => return (Err(error.into()), self.node),
        };
        loop {
            let tell = tokio::select! {
                ended = self.tiers.ended() => return (ended, self.node),
                _ = hang_up.recv() => None,
                Some(tell) = asked.recv() => Some(tell),
            };
            let reloaded = self.reload().await.map_err(|error| format!("{error:#}"));
            match &reloaded {
                Ok(lines) => lines.iter().for_each(|line| tracing::info!("reloaded: {line}")),
                Err(reason) => tracing::error!("not reloaded: {reason}"),
            }
            if let Some(tell) = tell {
                // Whoever asked may have gone.
                let _ = tell.send(reloaded);
            }
        }
    }

    async fn reload(&mut self) -> anyhow::Result<Vec<String>> {
        let (pipeline, sub_models) = read(&self.file).await?;
        let mut lines = Vec::new();
        match (&mut self.node, &pipeline.runtime) {
            (Some(node), Some(runtime)) => lines.extend(node.reload(runtime)?),
            (None, None) => {}
            _ => lines.push("[gateway] and [[function]]: the first or last takes a restart".into()),
        }
        let local = local(self.node.as_ref().map(Node::functions));
        lines.extend(self.tiers.reload(&pipeline, &sub_models, &local).await?);
        if let Some(overseer) = &self.overseer {
            overseer.rescale(&scales(&pipeline, &self.selected))?;
        }
        if pipeline.broker != self.pipeline.broker {
            lines.push("[broker]: what has changed there takes a restart".to_owned());
        }
        Ok(lines)
    }
}

/// Reads the file and its sub-models, away from what serves records.
async fn read(file: &Path) -> anyhow::Result<(Pipeline, Vec<model::SubModel>)> {
    let file = file.to_owned();
    let reading = tokio::task::spawn_blocking(move || {
        let pipeline = pipeline_file::read(&file)?;
        let sub_models = pipeline_file::load_sub_models(&pipeline)?;
        Ok((pipeline, sub_models))
    });
    reading.await.map_err(|error| anyhow!("reading the file panicked: {error}"))?
}

fn log_counts(tiers: &[Running]) {
    for Running { tier, counters, uplink, .. } in tiers {
        let counts = counters.counts();
        tracing::info!(
            tier,
            consumed = counts.consumed,
            answered = counts.answered,
            forwarded = counts.forwarded,
            split = counts.split,
            dead_lettered = counts.dead_lettered,
            retried = counts.retried,
            in_flight = counts.in_flight(),
            "tier stopped"
        );
        if let Some(uplink) = uplink {
            let status = uplink.status();
            tracing::info!(
                tier,
                waiting = status.waiting_records,
                held = status.held,
                taken_up = status.taken_up,
                dropped = status.dropped,
                answered_here = status.answered_here,
                "uplink left"
            );
        }
    }
}

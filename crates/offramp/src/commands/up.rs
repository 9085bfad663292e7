//! `offramp up`: tiers on this machine, in one process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

use crate::commands::pipeline_file;
use pipeline::Servers;

use crate::metrics::Metrics;
use crate::node::{self, Node};
use crate::signals::stop_on_signal;
use crate::tiers::{self, Running, Tiers};

/// Run tiers on this machine: connector, inference and funnel of each in one process, and the embedded broker
/// where a tier asks for it.
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

pub(crate) async fn run(args: Args, started: Instant) -> anyhow::Result<()> {
    let pipeline = pipeline_file::read(&args.file)?;
    let sub_models = pipeline_file::load_sub_models(&pipeline)?;
    let selected = pipeline_file::select(&pipeline, &args.tiers)?;
    let stop = stop_on_signal()?;
    let broker = match &pipeline.broker {
        Some(broker) if tiers::use_embedded(&pipeline, &selected) => {
            Some(tiers::start_broker(broker).await?)
        }
        _ => None,
    };
    let embedded = broker.as_ref().map(|broker| broker.advertised().to_owned());
    let embedded = embedded.unwrap_or_default();
    let node = match &pipeline.runtime {
        Some(runtime) => {
            let first = &pipeline.tiers[selected[0]].input.servers;
            let servers = match first {
                Servers::Embedded => &embedded,
                Servers::Bootstrap(servers) => servers,
            };
            Some(Node::start(runtime, servers)?)
        }
        None => None,
    };
    let functions = node.as_ref().map(Node::functions);
    let local = |name: &str| match functions {
        Some(functions) => node::local(functions, name),
        None => tiers::no_functions(name),
    };
    let mut running =
        Tiers::start(&pipeline, &selected, &sub_models, embedded.clone(), &local, &stop).await?;
    running.ready().await;
    tracing::info!(ready_ms = started.elapsed().as_millis() as u64, "ready");
    let metrics = match args.metrics {
        Some(address) => {
            let mut metrics = Metrics::default();
            metrics.tiers(running.running());
            if let Some(broker) = &broker {
                metrics.broker(broker.monitor());
            }
            Some(metrics.serve(address).await?)
        }
        None => None,
    };
    let tiers = running.running().to_vec();
    let ended = running.ended().await;
    log_counts(&tiers);
    drop(metrics);
    if let Some(node) = node {
        node.close().await;
    }
    if let Some(broker) = broker {
        broker.shutdown().await?;
    }
    ended
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

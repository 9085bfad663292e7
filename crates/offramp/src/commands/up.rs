//! `offramp up`: tiers on this machine, in one process.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use function::counters::Counters;
use pipeline::Pipeline;

use crate::commands::pipeline_file;
use crate::signals::stop_on_signal;
use crate::tiers::{self, Tiers};

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
}

pub(crate) async fn run(args: Args, started: Instant) -> anyhow::Result<()> {
    let pipeline = pipeline_file::read(&args.file)?;
    let sub_models = pipeline_file::load_sub_models(&pipeline)?;
    let selected = pipeline_file::select(&pipeline, &args.tiers)?;
    let stop = stop_on_signal()?;
    let broker = match &pipeline.broker {
        Some(broker) => Some(tiers::start_broker(broker).await?),
        None => None,
    };
    let embedded = broker.as_ref().map(|broker| broker.advertised().to_owned());
    let running =
        Tiers::start(&pipeline, &selected, &sub_models, embedded.unwrap_or_default(), &stop)
            .await?;
    running.ready().await;
    tracing::info!(ready_ms = started.elapsed().as_millis() as u64, "ready");
    let counters = running.counters().to_vec();
    let ended = running.ended().await;
    log_counts(&pipeline, &selected, &counters);
    if let Some(broker) = broker {
        broker.shutdown().await?;
    }
    ended
}

fn log_counts(pipeline: &Pipeline, selected: &[usize], counters: &[Arc<Counters>]) {
    for (&at, counters) in selected.iter().zip(counters) {
        let counts = counters.counts();
        tracing::info!(
            tier = pipeline.tiers[at].name,
            consumed = counts.consumed,
            answered = counts.answered,
            forwarded = counts.forwarded,
            split = counts.split,
            dead_lettered = counts.dead_lettered,
            retried = counts.retried,
            in_flight = counts.in_flight(),
            "tier stopped"
        );
    }
}

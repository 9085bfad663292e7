//! Everything on this machine: broker, three tiers, devices, and a summary of what became of each record.

mod download;
mod images;
pub(crate) mod pipeline;
pub(crate) mod progress;
mod summary;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::pipeline::{EmbeddedBroker, Pipeline, Topic};
use anyhow::Context as _;
use bench::collector::Patience;
use bench::payload::to_json;
use bench::{Collector, End, Headers, Join, Load, Outlet, Place, Schedule, devices};
use function::tier::Brokers;
use model::SubModel;
use model::dataset::Dataset;

use crate::commands::demo::{Args, OutputFormat};
use crate::commands::pipeline_file;
use crate::outcome::OrConfig as _;
use crate::thread::Thread;
use crate::tiers::{Tiers, no_functions, start_broker};

/// Nothing new for this long after the last record was to be sent, and the rest counts as lost. Longer than a
/// consumer group's session, so that a member that was killed is not taken for a loss.
const SILENCE: Duration = Duration::from_secs(20);

/// Runs the demo.
pub(crate) async fn run(args: Args, started: Instant) -> anyhow::Result<()> {
    let images =
        images::load(args.data.as_deref(), args.seed, args.images.unwrap_or(args.records))?
            .first(args.images);
    let (pipeline, sub_models) = pipeline_of(&args)?;
    check_images(&images.dataset, &sub_models).or_config()?;
    // Outlives the broker: its folder goes when the demo ends.
    let log = tempfile::tempdir().context("a temporary folder for the broker's log")?;
    let thread = Thread::start().context("a thread for the broker and a tier")?;
    let broker = match &pipeline.broker {
        Some(broker) if args.pipeline.is_some() => Some(start_broker(broker, &thread).await?),
        Some(broker) => {
            let broker = EmbeddedBroker { dir: log.path().to_owned(), listen: broker.listen };
            Some(start_broker(&broker, &thread).await?)
        }
        None => None,
    };
    let embedded = broker.as_ref().map(|broker| broker.advertised().to_owned()).unwrap_or_default();
    let brokers = Brokers::new(embedded.clone());
    let (stopper, stop) = function::stop::channel();
    let all: Vec<usize> = (0..pipeline.tiers.len()).collect();
    let mut running =
        Tiers::start(&pipeline, &all, &sub_models, embedded, &no_functions, &stop, &thread).await?;
    let collector = Collector::start(outlets(&pipeline, &brokers)).await?;
    running.ready().await;
    let quiet = args.output == OutputFormat::Json;
    progress::opening(&pipeline, &images, &brokers, started, quiet);

    let shape = &images.dataset.shape;
    let shown = images.dataset.len().min(args.records as usize);
    let payloads = (0..shown).map(|image| to_json(images.dataset.sample(image), shape)).collect();
    let load = Load {
        records: args.records,
        schedule: Schedule::even(args.rate),
        devices: args.devices,
        keys: 0,
        payloads: Arc::new(payloads),
        labels: images.dataset.labels.clone(),
        join: Join::Id,
        headers: Headers::Ids,
    };
    let input = &pipeline.tiers[0].input;
    let producer = kafka::Producer::new(brokers.servers(&input.servers))?;
    let (sent, sending) = devices::start(producer, &input.name, load);
    let bar = progress::Bar::new(args.records, quiet);
    let patience = Patience { silence: SILENCE, late: Duration::MAX, settle: Duration::ZERO };
    let collected = collector.collect(&sent, patience, |now| bar.show(now, &sent)).await;
    bar.finish();
    // Whoever is still sending waits for a broker that is away, and is not waited for.
    sending.abort();
    stopper.stop();
    running.ended().await?;
    let summary = summary::Summary::new(&pipeline, &images, &collected, &sent, started);
    if let Some(broker) = broker {
        broker.shutdown().await?;
    }
    summary.print(args.output)?;
    summary.verdict()
}

/// Where the records of a pipeline end.
pub(crate) fn outlets(pipeline: &Pipeline, brokers: &Brokers) -> Vec<Outlet> {
    let outlet = |topic: &Topic, end| Outlet {
        place: Place {
            servers: brokers.servers(&topic.servers).to_owned(),
            topic: topic.name.clone(),
        },
        end,
    };
    let tiers = pipeline.tiers.iter().enumerate();
    tiers
        .flat_map(|(at, tier)| {
            [outlet(&tier.output, End::Answered(at)), outlet(&tier.dead_letter, End::DeadLettered)]
        })
        .collect()
}

fn pipeline_of(args: &Args) -> anyhow::Result<(Pipeline, Vec<SubModel>)> {
    let Some(path) = &args.pipeline else {
        return Ok((pipeline::demo(), pipeline::sub_models()?));
    };
    let pipeline = pipeline_file::read(path)?;
    let sub_models = pipeline_file::load_sub_models(&pipeline)?;
    Ok((pipeline, sub_models))
}

fn check_images(dataset: &Dataset, sub_models: &[SubModel]) -> anyhow::Result<()> {
    let first = sub_models.first().context("the pipeline has no tier")?;
    anyhow::ensure!(
        first.accepts(&dataset.shape),
        "the images are {:?}, expected {:?} as the first sub-model takes",
        dataset.shape,
        first.input_shape()
    );
    Ok(())
}

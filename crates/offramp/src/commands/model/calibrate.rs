//! `offramp model calibrate`: thresholds for what a cascade is to reach.

mod report;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use clap::ValueEnum;
use model::calibrate::{
    Calibration, Costs, Goal, Objective, Recording, Settings, calibrate, service_times,
};
use model::dataset::Dataset;
use model::evaluate::Stage;
use model::{Artefact, ExitCriterion};

use self::report::Report;
use super::cascade::{CascadeArgs, DataArgs, Part, per_way, progress_bar, write_figures};
use super::figures;
use crate::commands::demo::OutputFormat;
use crate::commands::exit_options;
use crate::outcome::OrConfig as _;

/// The bits of a megabit of a link's bandwidth.
const MEGABIT: f64 = 1e6;

/// Find the thresholds of a cascade for a goal, and write them into its sub-models.
///
/// The images must be labelled, and none of them may have been trained on. Exactly one goal:
///
/// --accuracy-loss 0.01 --confidence 0.95 gives the cheapest thresholds of which this can be promised: with a
/// probability of 95 %, the accuracy is at most one percentage point below that of the last exit on everything that
/// will come from the same source. A third of the images finds thresholds, the others test them (Learn-then-Test,
/// Angelopoulos et al., 2021).
///
/// --offload 0.05 gives the most accurate thresholds with which at most 5 % of the images leave the first tier;
/// 0.05,0.02 with which at most 2 % leave the second too.
///
/// --latency-ms 20 gives the most accurate thresholds with which an answer takes 20 ms at most, in the mean: each
/// tier's service time, and for each image that goes up the hop and its bytes over the bandwidth.
///
/// The last two hold for the images at hand, without a promise.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("goal").required(true).args(["accuracy_loss", "offload", "latency_ms"]))]
pub(crate) struct Args {
    #[command(flatten)]
    cascade: CascadeArgs,
    #[command(flatten)]
    data: DataArgs,
    /// Goal: how much less accurate than the last exit, at most; 0.01 is one percentage point.
    #[arg(long, value_name = "SHARE", value_parser = inner_share, help_heading = "Goal")]
    accuracy_loss: Option<f64>,
    /// With which confidence the accuracy loss is promised.
    #[arg(long, default_value_t = 0.95, value_parser = inner_share, requires = "accuracy_loss",
          help_heading = "Goal")]
    confidence: f64,
    /// Goal: the share of images that leaves the first tier at most, then the second, and so on.
    #[arg(long, value_name = "SHARE", value_delimiter = ',', value_parser = exit_options::threshold,
          help_heading = "Goal")]
    offload: Vec<f64>,
    /// Goal: the mean time to an answer in milliseconds, at most.
    #[arg(long, value_name = "MS", value_parser = milliseconds, help_heading = "Goal")]
    latency_ms: Option<Duration>,
    /// How the confidence is computed: max-softmax, margin or entropy; default: as the first model says.
    #[arg(long)]
    criterion: Option<ExitCriterion>,
    /// Give each predicted class a threshold of its own.
    #[arg(long)]
    per_class: bool,
    /// What divides the logits before the softmax: `fit` to the images, `keep` what the models say, or a number.
    #[arg(long, default_value = "fit", value_parser = temperature, value_name = "fit|keep|NUMBER")]
    temperature: Temperature,
    /// What the goal leaves free is spent as little as possible of.
    #[arg(long, value_enum, default_value_t)]
    minimise: Minimise,
    /// Milliseconds that each tier takes for an image, separated by commas; default: measured on this machine.
    #[arg(long, value_delimiter = ',', value_name = "MS", value_parser = milliseconds, help_heading = "Costs")]
    service_ms: Vec<Duration>,
    /// Milliseconds of each way up beside its bytes: serialisation, broker, link; one for each tier but the last, or
    /// one for all.
    #[arg(long, value_delimiter = ',', default_value = "0", value_name = "MS", value_parser = milliseconds,
          help_heading = "Costs")]
    hop_ms: Vec<Duration>,
    /// Megabits a second of each way up; one for each tier but the last, or one for all; default: no limit.
    #[arg(long, value_delimiter = ',', value_name = "MBIT", value_parser = megabits, help_heading = "Costs")]
    bandwidth_mbit: Vec<f64>,
    /// Parts the images into those that find thresholds and those that test them.
    #[arg(long, default_value_t = 1)]
    split_seed: u64,
    /// Folder for the calibrated sub-models; default: the files themselves are replaced.
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Write no sub-models.
    #[arg(long, conflicts_with = "output")]
    dry_run: bool,
    /// Draw accuracy against the share that leaves the first tier, as .svg or .png; may be given more than once.
    #[arg(long, value_name = "FILE")]
    figure: Vec<PathBuf>,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

/// What divides the logits.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Temperature {
    Fit,
    Keep,
    Number(f32),
}

/// What is spent as little of as possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Minimise {
    /// Ways up: the shares of images that reach each tier above the first, added up.
    #[default]
    Hops,
    /// Bytes of features sent up.
    Bytes,
    /// The mean time to an answer.
    Latency,
}

fn inner_share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err("expected a number between 0 and 1".to_owned()),
    }
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(ms) if (0.0..=1e9).contains(&ms) => Ok(Duration::from_secs_f64(ms / 1e3)),
        _ => Err("expected a number of milliseconds from 0 to 1000000000".to_owned()),
    }
}

fn megabits(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(megabits) if megabits > 0.0 => Ok(megabits),
        _ => Err("expected a number of megabits a second, more than 0".to_owned()),
    }
}

fn temperature(text: &str) -> Result<Temperature, String> {
    match text {
        "fit" => Ok(Temperature::Fit),
        "keep" => Ok(Temperature::Keep),
        number => exit_options::temperature(number)
            .map(Temperature::Number)
            .map_err(|_| "expected fit, keep or a number more than 0".to_owned()),
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let dataset = args.data.load(Part::Train).or_config()?;
    let stages = args.cascade.stages().or_config()?;
    ensure!(
        stages.len() > 1,
        "there is one model, expected two or more: the last one always answers"
    );
    let bar = progress_bar(&dataset);
    let encodings: Vec<_> = stages.iter().map(|stage| stage.features).collect();
    let recording =
        Recording::new(&stages, &dataset, &encodings, |done| bar.set_position(done as u64))
            .or_config()?;
    bar.finish_and_clear();
    let settings = settings(args, &stages, &dataset, &recording).or_config()?;
    let calibration = calibrate(&recording, &settings)?;
    let goal = described(&settings.goal);
    let written = if args.dry_run { Vec::new() } else { write(args, &calibration, &goal)? };
    write_figures(&figures::frontier(&calibration, &goal), &args.figure)?;
    let tiers = recording.exits.iter().map(|exit| exit.tier.clone()).collect();
    Report::new(&calibration, &settings, goal, tiers, &written).print(args.format)
}

fn settings(
    args: &Args,
    stages: &[Stage],
    dataset: &Dataset,
    recording: &Recording,
) -> anyhow::Result<Settings> {
    let own = stages[0].sub_model.metadata().exit.as_ref().map(|exit| exit.criterion);
    let ways = stages.len() - 1;
    ensure!(
        args.offload.len() <= ways,
        "--offload has {} shares, expected {ways} at most: one for each tier but the last",
        args.offload.len()
    );
    let goal = match (args.accuracy_loss, args.latency_ms) {
        (Some(most), _) => Goal::AccuracyLoss { most, confidence: args.confidence },
        (None, Some(most)) => Goal::Latency { most },
        (None, None) => Goal::Offload { most: args.offload.clone() },
    };
    let temperatures = stages.iter().map(|stage| match args.temperature {
        Temperature::Fit => None,
        Temperature::Keep => Some(stage.sub_model.temperature()),
        Temperature::Number(temperature) => Some(temperature),
    });
    Ok(Settings {
        goal,
        criterion: args.criterion.or(own).unwrap_or_default(),
        temperatures: temperatures.collect(),
        per_class: args.per_class,
        objective: match args.minimise {
            Minimise::Hops => Objective::Hops,
            Minimise::Bytes => Objective::Bytes,
            Minimise::Latency => Objective::Time,
        },
        costs: costs(args, stages, dataset, recording)?,
        seed: args.split_seed,
    })
}

fn costs(
    args: &Args,
    stages: &[Stage],
    dataset: &Dataset,
    recording: &Recording,
) -> anyhow::Result<Costs> {
    let ways = stages.len() - 1;
    let service = if args.service_ms.is_empty() {
        service_times(stages, dataset)?
    } else {
        ensure!(
            args.service_ms.len() == stages.len(),
            "--service-ms has {} numbers, expected {}: one for each tier",
            args.service_ms.len(),
            stages.len()
        );
        args.service_ms.clone()
    };
    let bandwidth = if args.bandwidth_mbit.is_empty() {
        vec![f64::INFINITY; ways]
    } else {
        per_way("--bandwidth-mbit", &args.bandwidth_mbit, ways)?
    };
    Ok(Costs {
        service,
        hop: per_way("--hop-ms", &args.hop_ms, ways)?,
        bandwidth: bandwidth.into_iter().map(|megabits| megabits * MEGABIT / 8.0).collect(),
        features_bytes: recording.exits[..ways].iter().map(|exit| exit.features_bytes).collect(),
    })
}

/// A goal in words.
fn described(goal: &Goal) -> String {
    match goal {
        Goal::AccuracyLoss { most, confidence } => {
            format!("accuracy loss <= {most} with confidence {confidence}")
        }
        Goal::Offload { most } => {
            let most: Vec<String> = most.iter().map(ToString::to_string).collect();
            format!("offload <= {}", most.join(", "))
        }
        Goal::Latency { most } => format!("mean latency <= {} ms", most.as_secs_f64() * 1e3),
    }
}

/// Writes the sub-models: none of them before all are known to load.
fn write(args: &Args, calibration: &Calibration, goal: &str) -> anyhow::Result<Vec<PathBuf>> {
    if let Some(directory) = &args.output {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("folder `{}`", directory.display()))?;
    }
    let mut artefacts: Vec<(PathBuf, Artefact)> = Vec::new();
    for (at, path) in args.cascade.models.iter().enumerate() {
        let artefact = calibrated(args, path, calibration, at, goal)?;
        let path = target(path, args.output.as_deref())?;
        ensure!(
            artefacts.iter().all(|(other, _)| *other != path),
            "two sub-models would be written to `{}`, expected files of different names",
            path.display()
        );
        artefacts.push((path, artefact));
    }
    for (path, artefact) in &artefacts {
        artefact.write(path)?;
    }
    Ok(artefacts.into_iter().map(|(path, _)| path).collect())
}

fn calibrated(
    args: &Args,
    path: &Path,
    calibration: &Calibration,
    at: usize,
    goal: &str,
) -> anyhow::Result<Artefact> {
    let artefact = Artefact::load(path)?;
    let (tier, chosen) = (&calibration.tiers[at], &calibration.chosen);
    let mut metadata = artefact.sub_model().metadata().clone();
    metadata.temperature = tier.temperature;
    metadata.exit.clone_from(&tier.exit);
    metadata.histogram.clone_from(&tier.histogram);
    metadata.calibration = [
        ("goal", goal.to_owned()),
        ("data", args.data.description(Part::Train)),
        ("samples", calibration.samples.to_string()),
        ("accuracy", format!("{:.4}", chosen.accuracy)),
        ("answered", format!("{:.4}", chosen.answered()[at])),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    if let Some(promise) = calibration.promise {
        let tested = format!("{} of {} harmed", promise.harmed, promise.tested);
        metadata.calibration.insert("tested".to_owned(), tested);
    }
    Ok(artefact.with_calibration(&metadata)?)
}

/// Where a calibrated sub-model goes.
fn target(path: &Path, directory: Option<&Path>) -> anyhow::Result<PathBuf> {
    let Some(directory) = directory else { return Ok(path.to_owned()) };
    let name = path.file_name().ok_or_else(|| anyhow!("`{}` is no file's path", path.display()))?;
    Ok(directory.join(name))
}

//! `offramp model evaluate`: how good is a cascade of sub-models?

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use anyhow::anyhow;
use indicatif::{ProgressBar, ProgressStyle};
use model::SubModel;
use model::dataset::idx::{self, Split};
use model::dataset::{Dataset, drawn};
use model::evaluate::{Evaluation, Stage, evaluate};
use serde::Serialize;

use crate::commands::demo::{OutputFormat, print_json};
use crate::outcome::OrConfig as _;

/// Evaluate a cascade of sub-models: accuracy of each exit on all images, and of what each tier would answer.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The sub-models, from the first tier to the last.
    #[arg(required = true)]
    models: Vec<PathBuf>,
    /// Folder with test images in MNIST's format (IDX, gzipped or not).
    #[arg(long, env = "OFFRAMP_DATA", value_name = "DIR", required_unless_present = "drawn")]
    data: Option<PathBuf>,
    /// Evaluate on this many digits drawn by the program instead.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000), conflicts_with = "data")]
    drawn: Option<u64>,
    /// Seed of the drawn digits.
    #[arg(long, default_value_t = 1, requires = "drawn")]
    seed: u64,
    /// Use only the first N images.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Thresholds of all tiers but the last, separated by commas; default: those in the models.
    #[arg(long, value_delimiter = ',', value_name = "THRESHOLD")]
    thresholds: Vec<f64>,
    /// How to print the result.
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let dataset = dataset(args).or_config()?;
    let stages = stages(args).or_config()?;
    let bar = if std::io::stderr().is_terminal() {
        ProgressBar::new(dataset.len() as u64)
    } else {
        ProgressBar::hidden()
    };
    let style = ProgressStyle::with_template(" [{bar:30}] {pos}/{len} images")
        .expect("the template is legal");
    bar.set_style(style.progress_chars("=> "));
    let evaluation =
        evaluate(&stages, &dataset, |done| bar.set_position(done as u64)).or_config()?;
    bar.finish_and_clear();
    print(&Report::new(&evaluation, &stages), args.output)
}

fn dataset(args: &Args) -> anyhow::Result<Dataset> {
    let dataset = match (&args.data, args.drawn) {
        (_, Some(count)) => drawn::draw(count as usize, args.seed),
        (Some(dir), None) => idx::read(dir, Split::Test)?,
        (None, None) => return Err(anyhow!("no images: expected --data DIR or --drawn N")),
    };
    Ok(match args.limit {
        Some(limit) => dataset.take(limit),
        None => dataset,
    })
}

fn stages(args: &Args) -> anyhow::Result<Vec<Stage>> {
    let mut stages: Vec<Stage> = args
        .models
        .iter()
        .map(|path| Ok(Stage::new(SubModel::load(path)?)))
        .collect::<anyhow::Result<_>>()?;
    if args.thresholds.is_empty() {
        return Ok(stages);
    }
    let wanted = stages.len() - 1;
    anyhow::ensure!(
        args.thresholds.len() == wanted,
        "--thresholds has {} numbers, expected {wanted}: one for each tier but the last",
        args.thresholds.len()
    );
    for (stage, &threshold) in stages.iter_mut().zip(&args.thresholds) {
        anyhow::ensure!(
            (0.0..=1.0).contains(&threshold),
            "--thresholds holds {threshold}, expected numbers from 0 to 1"
        );
        let exit = function::tier::exit_of(&stage.sub_model, None, Some(threshold));
        stage.exit = Some(exit);
    }
    Ok(stages)
}

/// The evaluation; its field names are the JSON's.
#[derive(Debug, Serialize)]
struct Report {
    images: usize,
    accuracy: f64,
    tiers: Vec<TierReport>,
}

#[derive(Debug, Serialize)]
struct TierReport {
    tier: String,
    threshold: Option<f64>,
    /// Of this exit on all images.
    exit_accuracy: f64,
    answered: usize,
    share: f64,
    /// Of the images that this tier answers.
    answered_accuracy: Option<f64>,
}

impl Report {
    fn new(evaluation: &Evaluation, stages: &[Stage]) -> Self {
        let last = stages.len() - 1;
        let tiers =
            evaluation.tiers.iter().zip(stages).enumerate().map(|(at, (tier, stage))| TierReport {
                tier: tier.tier.clone(),
                threshold: stage.exit.filter(|_| at < last).map(|exit| exit.threshold),
                exit_accuracy: evaluation.share(tier.exit_correct),
                answered: tier.answered,
                share: evaluation.share(tier.answered),
                answered_accuracy: (tier.answered > 0)
                    .then(|| tier.answered_correct as f64 / tier.answered as f64),
            });
        Self { images: evaluation.samples, accuracy: evaluation.accuracy(), tiers: tiers.collect() }
    }
}

fn print(report: &Report, format: OutputFormat) -> anyhow::Result<()> {
    if format == OutputFormat::Json {
        return print_json(report);
    }
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:<8}{:>10}{:>15}{:>10}{:>9}{:>20}",
        "tier", "threshold", "exit accuracy", "answered", "share", "accuracy of those"
    )?;
    let percent = |share: f64| format!("{:.2} %", share * 100.0);
    for tier in &report.tiers {
        writeln!(
            out,
            "{:<8}{:>10}{:>15}{:>10}{:>9}{:>20}",
            tier.tier,
            tier.threshold.map_or("-".to_owned(), |threshold| format!("{threshold:.2}")),
            percent(tier.exit_accuracy),
            tier.answered,
            percent(tier.share),
            tier.answered_accuracy.map_or("-".to_owned(), percent),
        )?;
    }
    writeln!(out, "\n{} images, accuracy {}", report.images, percent(report.accuracy))?;
    Ok(())
}

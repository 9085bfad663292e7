//! `offramp model evaluate`: how good is a cascade of sub-models?

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use model::ExitCriterion;
use model::evaluate::{Evaluation, Stage, evaluate};
use pipeline::ExitSettings;
use serde::Serialize;

use super::cascade::{CascadeArgs, DataArgs, Part, percent, progress_bar, write_figures};
use super::{confusion, figures};
use crate::commands::demo::{OutputFormat, print_json};
use crate::commands::exit_options;
use crate::outcome::OrConfig as _;

/// Evaluate a cascade of sub-models: how good and how reliable each exit is on all images, and what each tier would
/// answer and send up.
///
/// ECE is the expected calibration error of an exit's largest probability, in 15 bins: how far being sure is from
/// being right. Bytes up are those of the features as record values, without keys, headers and framing.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    cascade: CascadeArgs,
    #[command(flatten)]
    data: DataArgs,
    /// How the confidence is computed: max-softmax, margin or entropy; default: as the models say.
    #[arg(long)]
    criterion: Option<ExitCriterion>,
    /// Thresholds of all tiers but the last, separated by commas; default: those in the models.
    #[arg(long, value_delimiter = ',', value_name = "THRESHOLD", value_parser = exit_options::threshold)]
    thresholds: Vec<f64>,
    /// Temperatures of all tiers, separated by commas; default: those in the models.
    #[arg(long, value_delimiter = ',', value_name = "TEMPERATURE", value_parser = exit_options::temperature)]
    temperatures: Vec<f32>,
    /// Print which classes are taken for which.
    #[arg(long)]
    confusion: bool,
    /// Draw the reliability diagram of each exit, as .svg or .png; may be given more than once.
    #[arg(long, value_name = "FILE")]
    figure: Vec<PathBuf>,
    /// How to print the result.
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let dataset = args.data.load(Part::Test).or_config()?;
    let stages = stages(args).or_config()?;
    let bar = progress_bar(&dataset);
    let evaluation =
        evaluate(&stages, &dataset, |done| bar.set_position(done as u64)).or_config()?;
    bar.finish_and_clear();
    write_figures(&figures::reliability(&evaluation), &args.figure)?;
    let mut report = Report::new(&evaluation, &stages);
    if args.confusion {
        report.confusion = Some(confusion::rows(&evaluation));
    }
    if args.output == OutputFormat::Json {
        return print_json(&report);
    }
    print(&report)?;
    if args.confusion {
        let labels = stages.last().map(|stage| stage.sub_model.metadata().labels.clone());
        confusion::print(&evaluation, &labels.unwrap_or_default())?;
    }
    Ok(())
}

/// The sub-models with what the arguments replace.
fn stages(args: &Args) -> anyhow::Result<Vec<Stage>> {
    let mut stages = args.cascade.stages()?;
    let ways = stages.len() - 1;
    for (option, given, expected, of) in [
        ("--thresholds", args.thresholds.len(), ways, "one for each tier but the last"),
        ("--temperatures", args.temperatures.len(), stages.len(), "one for each tier"),
    ] {
        anyhow::ensure!(
            given == 0 || given == expected,
            "{option} has {given} numbers, expected {expected}: {of}"
        );
    }
    for (at, stage) in stages.iter_mut().enumerate() {
        if let Some(&temperature) = args.temperatures.get(at) {
            stage.sub_model = stage.sub_model.with_temperature(temperature);
        }
        let settings = ExitSettings {
            criterion: args.criterion,
            threshold: args.thresholds.get(at).copied(),
            ..ExitSettings::default()
        };
        if at < ways && settings != ExitSettings::default() {
            let (_, exit) = function::tier::exit_of(&stage.sub_model, &settings)
                .with_context(|| format!("sub-model `{}`", args.cascade.models[at].display()))?;
            stage.exit = Some(exit);
        }
    }
    Ok(stages)
}

/// The evaluation; its field names are the JSON's.
#[derive(Debug, Serialize)]
struct Report {
    images: usize,
    accuracy: f64,
    /// In the mean, all hops together.
    bytes_up: f64,
    tiers: Vec<TierReport>,
    /// One row for each class: how often it gets each answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    confusion: Option<Vec<Vec<u32>>>,
}

#[derive(Debug, Serialize)]
struct TierReport {
    tier: String,
    criterion: Option<&'static str>,
    threshold: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    class_thresholds: Vec<f64>,
    temperature: f32,
    /// Of this exit on all images.
    exit_accuracy: f64,
    /// Of this exit on all images.
    expected_calibration_error: f64,
    answered: usize,
    share: f64,
    /// Of the images that this tier answers.
    answered_accuracy: Option<f64>,
    /// Of the features of an image, of all images in the mean.
    bytes_up: f64,
}

impl Report {
    fn new(evaluation: &Evaluation, stages: &[Stage]) -> Self {
        let last = stages.len() - 1;
        let tiers = evaluation.tiers.iter().zip(stages).enumerate().map(|(at, (tier, stage))| {
            let exit = stage.exit.as_ref().filter(|_| at < last);
            TierReport {
                tier: tier.tier.clone(),
                criterion: exit.map(|exit| exit.criterion.name()),
                threshold: exit.map(|exit| exit.threshold),
                class_thresholds: exit
                    .map(|exit| exit.class_thresholds.clone())
                    .unwrap_or_default(),
                temperature: stage.sub_model.temperature(),
                exit_accuracy: evaluation.share(tier.exit_correct),
                expected_calibration_error: tier.reliability.expected_calibration_error(),
                answered: tier.answered,
                share: evaluation.share(tier.answered),
                answered_accuracy: (tier.answered > 0)
                    .then(|| tier.answered_correct as f64 / tier.answered as f64),
                bytes_up: tier.bytes_up as f64 / evaluation.samples.max(1) as f64,
            }
        });
        Self {
            images: evaluation.samples,
            accuracy: evaluation.accuracy(),
            bytes_up: evaluation.bytes_up(),
            tiers: tiers.collect(),
            confusion: None,
        }
    }
}

fn print(report: &Report) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:<8}{:>20}{:>15}{:>9}{:>10}{:>10}{:>19}{:>10}",
        "tier",
        "exit",
        "exit accuracy",
        "ECE",
        "answered",
        "share",
        "accuracy of those",
        "bytes up"
    )?;
    for tier in &report.tiers {
        let by_class = if tier.class_thresholds.is_empty() { "" } else { "~" };
        let exit = match (tier.criterion, tier.threshold) {
            (Some(name), Some(threshold)) => format!("{name} {by_class}{threshold:.4}"),
            _ => "-".to_owned(),
        };
        writeln!(
            out,
            "{:<8}{:>20}{:>15}{:>9}{:>10}{:>10}{:>19}{:>10.1}",
            tier.tier,
            exit,
            percent(tier.exit_accuracy),
            percent(tier.expected_calibration_error),
            tier.answered,
            percent(tier.share),
            tier.answered_accuracy.map_or("-".to_owned(), percent),
            tier.bytes_up,
        )?;
    }
    if report.tiers.iter().any(|tier| !tier.class_thresholds.is_empty()) {
        writeln!(out, "~ by class; `offramp model show` lists them")?;
    }
    writeln!(
        out,
        "\n{} images, accuracy {}, {:.1} bytes up an image",
        report.images,
        percent(report.accuracy),
        report.bytes_up
    )?;
    Ok(())
}

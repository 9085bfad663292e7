//! `offramp model import`: a Keras or ONNX file becomes a sub-model.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use model::{Artefact, ImportOptions};
use pipeline::ExitSettings;

use super::source::{SourceArgs, wrote};
use crate::commands::exit_options;
use crate::outcome::OrConfig as _;

/// Make a sub-model of a Keras file (.h5 or .keras, Sequential or Functional) or of an ONNX file.
///
/// A model with two outputs, features and exit, is a tier that forwards; one with a single output is the
/// last tier. An exit of logits gets a softmax. Weights of an ONNX file may lie in files beside it. A network of several
/// exits is for `offramp model split`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The .h5, .keras or .onnx file.
    file: PathBuf,
    /// The sub-model to write; default: FILE with the extension .onnx, of an .onnx file FILE.sub.onnx.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Name of the tier that it is for; default: the name of the file.
    #[arg(long)]
    tier: Option<String>,
    #[command(flatten)]
    source: SourceArgs,
    /// Divides the logits before the softmax.
    #[arg(long, default_value_t = 1.0, value_parser = exit_options::temperature)]
    temperature: f32,
    /// Least confidence that answers for a predicted class, as LABEL=THRESHOLD, several separated by commas; that of the
    /// others is --threshold.
    #[arg(long, value_delimiter = ',', value_name = "LABEL=THRESHOLD", value_parser = exit_options::class_threshold)]
    class_thresholds: Vec<(String, f64)>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let stem = || args.file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let tier = args.tier.clone().or_else(stem).unwrap_or_default();
    let options = ImportOptions { temperature: args.temperature, ..args.source.options(tier) };
    let artefact = model::import(&args.file, &options).or_config()?;
    let artefact = with_class_thresholds(artefact, args).or_config()?;
    let is_onnx = args.file.extension().is_some_and(|extension| extension == "onnx");
    let extension = if is_onnx { "sub.onnx" } else { "onnx" };
    let output = args.output.clone().unwrap_or_else(|| args.file.with_extension(extension));
    artefact.write(&output).with_context(|| format!("sub-model `{}`", output.display()))?;
    wrote(&mut std::io::stdout(), &output, artefact.sub_model())?;
    Ok(())
}

/// Their labels are known only once the network is.
fn with_class_thresholds(artefact: Artefact, args: &Args) -> anyhow::Result<Artefact> {
    if args.class_thresholds.is_empty() {
        return Ok(artefact);
    }
    let sub_model = artefact.sub_model();
    ensure!(
        sub_model.features_shape().is_some(),
        "`--class-thresholds` is given, but the model has no `features` output: the last tier always answers"
    );
    let class_thresholds = args.class_thresholds.iter().cloned().collect();
    let settings = ExitSettings { class_thresholds, ..ExitSettings::default() };
    let (_, exit) = function::tier::exit_of(sub_model, &settings)
        .with_context(|| format!("`{}`", args.file.display()))?;
    let mut metadata = sub_model.metadata().clone();
    metadata.exit = Some(exit);
    Ok(artefact.with_calibration(&metadata)?)
}

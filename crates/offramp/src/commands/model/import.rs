//! `offramp model import`: a Keras or ONNX file becomes a sub-model.

use std::path::PathBuf;

use anyhow::Context as _;
use model::ImportOptions;

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
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let stem = || args.file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let tier = args.tier.clone().or_else(stem).unwrap_or_default();
    let options = ImportOptions { temperature: args.temperature, ..args.source.options(tier) };
    let artefact = model::import(&args.file, &options).or_config()?;
    let is_onnx = args.file.extension().is_some_and(|extension| extension == "onnx");
    let extension = if is_onnx { "sub.onnx" } else { "onnx" };
    let output = args.output.clone().unwrap_or_else(|| args.file.with_extension(extension));
    artefact.write(&output).with_context(|| format!("sub-model `{}`", output.display()))?;
    wrote(&mut std::io::stdout(), &output, artefact.sub_model())?;
    Ok(())
}

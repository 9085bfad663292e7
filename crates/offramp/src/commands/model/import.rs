//! `offramp model import`: a Keras or ONNX file becomes a sub-model.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use model::{Exit, ExitCriterion, ImportOptions};

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
    /// Least confidence that answers at this tier.
    #[arg(long, default_value_t = 0.8, value_parser = exit_options::threshold)]
    threshold: f64,
    /// How the confidence is computed: max-softmax, margin or entropy.
    #[arg(long, default_value_t = ExitCriterion::MaxSoftmax)]
    criterion: ExitCriterion,
    /// Divides the logits before the softmax.
    #[arg(long, default_value_t = 1.0, value_parser = exit_options::temperature)]
    temperature: f32,
    /// The network is fed `x * SCALE + OFFSET`; 0.00392157 for one that was trained on pixels from 0 to 1.
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    scale: f32,
    /// See --scale.
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    offset: f32,
    /// Names of the classes, separated by commas; default: their numbers.
    #[arg(long, value_delimiter = ',')]
    labels: Vec<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let stem = || args.file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let options = ImportOptions {
        tier: args.tier.clone().or_else(stem).unwrap_or_default(),
        labels: args.labels.clone(),
        exit: Some(Exit::new(args.criterion, args.threshold)),
        temperature: args.temperature,
        input_scale: args.scale,
        input_offset: args.offset,
    };
    let artefact = model::import(&args.file, &options).or_config()?;
    let is_onnx = args.file.extension().is_some_and(|extension| extension == "onnx");
    let extension = if is_onnx { "sub.onnx" } else { "onnx" };
    let output = args.output.clone().unwrap_or_else(|| args.file.with_extension(extension));
    artefact.write(&output).with_context(|| format!("sub-model `{}`", output.display()))?;
    let sub_model = artefact.sub_model();
    writeln!(
        std::io::stdout(),
        "wrote {}  version {}  {} parameters  {} bytes",
        output.display(),
        sub_model.version(),
        sub_model.parameters(),
        sub_model.bytes(),
    )?;
    Ok(())
}

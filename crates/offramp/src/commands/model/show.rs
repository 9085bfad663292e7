//! `offramp model show`: what a sub-model is.

use std::io::Write;
use std::path::PathBuf;

use model::SubModel;

use crate::outcome::OrConfig as _;

/// Show sub-models: inputs, outputs, shapes, size, operators and metadata.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The .onnx files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for (at, file) in args.files.iter().enumerate() {
        let sub_model = SubModel::load(file).or_config()?;
        if at > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{}", file.display())?;
        show(&mut out, &sub_model)?;
    }
    Ok(())
}

fn show(out: &mut impl Write, sub_model: &SubModel) -> std::io::Result<()> {
    let metadata = sub_model.metadata();
    writeln!(out, "  tier        {}", metadata.tier)?;
    writeln!(out, "  version     {}", sub_model.version())?;
    writeln!(out, "  made by     {}", metadata.producer)?;
    writeln!(
        out,
        "  size        {} parameters, {} bytes",
        sub_model.parameters(),
        sub_model.bytes()
    )?;
    let input = sub_model.input();
    writeln!(out, "  input       {}  {} {:?} a sample", input.name, input.data_type, input.shape)?;
    writeln!(out, "              fed x * {} + {}", metadata.input_scale, metadata.input_offset)?;
    for output in sub_model.outputs() {
        let bytes = 4 * output.shape.iter().product::<usize>();
        writeln!(
            out,
            "  output      {}  {} {:?} a sample, {bytes} bytes",
            output.name, output.data_type, output.shape
        )?;
    }
    match &metadata.exit {
        Some(exit) => {
            let threshold = exit.shown_threshold();
            writeln!(out, "  exit        {} >= {threshold}", exit.criterion)?;
        }
        None => writeln!(out, "  exit        answers everything")?,
    }
    if let Some(exit) = &metadata.exit {
        for (label, threshold) in metadata.labels.iter().zip(&exit.class_thresholds) {
            writeln!(out, "              {label}: >= {threshold:.6}")?;
        }
    }
    writeln!(out, "  temperature {}", metadata.temperature)?;
    writeln!(out, "  labels      {}", metadata.labels.join(", "))?;
    let operators: Vec<String> =
        sub_model.operators().iter().map(|(name, count)| format!("{name} x{count}")).collect();
    writeln!(out, "  operators   {}", operators.join(", "))?;
    for (key, value) in &metadata.calibration {
        writeln!(out, "  calibrated  {key} = {value}")?;
    }
    if let Some(histogram) = &metadata.histogram {
        let samples: u32 = histogram.count.iter().sum();
        writeln!(out, "  histogram   {} bins, {samples} samples", histogram.edges.len())?;
    }
    for (key, value) in &metadata.training {
        writeln!(out, "  training    {key} = {value}")?;
    }
    Ok(())
}

//! `offramp model show`: what a sub-model, or a whole network, is.

use std::io::Write;
use std::path::PathBuf;

use model::{Metadata, ModelError, Network, SubModel};
use serde_json::{Value, json};

use crate::commands::demo::{OutputFormat, print_json};
use crate::outcome::OrConfig as _;

/// Show sub-models and other ONNX networks: inputs, outputs, shapes, weights, operations and metadata.
///
/// Operations are multiplications with an addition (MACs) in convolutions and matrix products, for one sample.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The .onnx files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Draw the network in Graphviz's language: `offramp model show --dot net.onnx | dot -Tsvg > net.svg`.
    #[arg(long, conflicts_with = "output")]
    dot: bool,
    /// How to print the result.
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
}

/// An ONNX file, and what it is as a sub-model, if it is one.
struct Shown {
    network: Network,
    sub_model: Result<SubModel, ModelError>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut all = Vec::with_capacity(args.files.len());
    for file in &args.files {
        let network = Network::load(file).or_config()?;
        all.push(Shown { network, sub_model: SubModel::load(file) });
    }
    if args.output == OutputFormat::Json {
        return print_json(&all.iter().map(as_json).collect::<Vec<_>>());
    }
    let mut out = std::io::stdout().lock();
    for (at, shown) in all.iter().enumerate() {
        if args.dot {
            out.write_all(shown.network.dot().as_bytes())?;
            continue;
        }
        if at > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{}", shown.network.name())?;
        show(&mut out, shown)?;
    }
    Ok(())
}

fn show(out: &mut impl Write, Shown { network, sub_model }: &Shown) -> std::io::Result<()> {
    match sub_model {
        Ok(sub_model) => {
            let metadata = sub_model.metadata();
            writeln!(out, "  tier        {}", metadata.tier)?;
            writeln!(out, "  version     {}", sub_model.version())?;
            writeln!(out, "  made by     {}", metadata.producer)?;
        }
        Err(error) => {
            writeln!(out, "  no sub-model: {error}")?;
            writeln!(out, "  made by     {}", network.producer())?;
        }
    }
    write!(out, "  size        {} parameters", network.parameters())?;
    if let Ok(sub_model) = sub_model {
        write!(out, ", {} bytes", sub_model.bytes())?;
    }
    writeln!(out, "\n  operations  {} MACs a sample", network.macs())?;
    writeln!(out, "  opset       {}", network.operator_set())?;
    let input = network.input();
    writeln!(out, "  input       {}  {} {:?} a sample", input.name, input.data_type, input.shape)?;
    if let Ok(sub_model) = sub_model {
        let metadata = sub_model.metadata();
        writeln!(
            out,
            "              fed x * {} + {}",
            metadata.input_scale, metadata.input_offset
        )?;
    }
    let outputs = match sub_model {
        Ok(sub_model) => sub_model.outputs(),
        Err(_) => network.outputs(),
    };
    for output in outputs {
        let bytes = 4 * output.shape.iter().product::<usize>();
        writeln!(
            out,
            "  output      {}  {} {:?} a sample, {bytes} bytes",
            output.name, output.data_type, output.shape
        )?;
    }
    if let Ok(sub_model) = sub_model {
        show_metadata(out, sub_model.metadata())?;
    }
    show_layers(out, network)
}

fn show_metadata(out: &mut impl Write, metadata: &Metadata) -> std::io::Result<()> {
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

/// A line for each node that has weights or counted operations, and how many others there are.
fn show_layers(out: &mut impl Write, network: &Network) -> std::io::Result<()> {
    writeln!(
        out,
        "\n  {:<18} {:<32} {:>16} {:>12} {:>14}",
        "operator", "node", "shape", "parameters", "MACs"
    )?;
    let mut others = std::collections::BTreeMap::<&str, usize>::new();
    for layer in network.layers() {
        if layer.parameters == 0 && layer.macs == 0 {
            *others.entry(&layer.operator).or_default() += 1;
            continue;
        }
        let shape = layer.shape.as_ref().map(|shape| format!("{shape:?}")).unwrap_or_default();
        writeln!(
            out,
            "  {:<18} {:<32} {shape:>16} {:>12} {:>14}",
            layer.operator, layer.name, layer.parameters, layer.macs
        )?;
    }
    let others: Vec<String> =
        others.iter().map(|(name, count)| format!("{name} x{count}")).collect();
    if others.is_empty() { Ok(()) } else { writeln!(out, "  and {}", others.join(", ")) }
}

fn as_json(Shown { network, sub_model }: &Shown) -> Value {
    let tensor = |tensor: &model::TensorSummary| json!({ "name": tensor.name, "shape": tensor.shape, "data_type": tensor.data_type });
    let outputs = match sub_model {
        Ok(sub_model) => sub_model.outputs(),
        Err(_) => network.outputs(),
    };
    let layers: Vec<Value> = network
        .layers()
        .iter()
        .map(|layer| {
            json!({
                "name": layer.name,
                "operator": layer.operator,
                "output": layer.output,
                "shape": layer.shape,
                "parameters": layer.parameters,
                "macs": layer.macs,
            })
        })
        .collect();
    json!({
        "file": network.name(),
        "operator_set": network.operator_set(),
        "made_by": network.producer(),
        "parameters": network.parameters(),
        "macs": network.macs(),
        "input": tensor(&network.input()),
        "outputs": outputs.iter().map(tensor).collect::<Vec<_>>(),
        "layers": layers,
        "sub_model": sub_model.as_ref().ok().map(sub_model_json),
    })
}

fn sub_model_json(sub_model: &SubModel) -> Value {
    let metadata = sub_model.metadata();
    json!({
        "tier": metadata.tier,
        "version": sub_model.version(),
        "made_by": metadata.producer,
        "bytes": sub_model.bytes(),
        "labels": metadata.labels,
        "input_scale": metadata.input_scale,
        "input_offset": metadata.input_offset,
        "temperature": metadata.temperature,
        "exit": metadata.exit.as_ref().map(|exit| {
            json!({
                "criterion": exit.criterion.to_string(),
                "threshold": exit.threshold,
                "class_thresholds": exit.class_thresholds,
            })
        }),
        "calibration": metadata.calibration,
        "histogram": metadata.histogram,
        "training": metadata.training,
    })
}

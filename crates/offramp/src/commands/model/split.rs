//! `offramp model split`: a network of several exits becomes one sub-model per tier.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use model::{Cut, ImportOptions, Network, Outline, SubModel};
use serde_json::json;

use super::source::{SourceArgs, wrote};
use crate::commands::demo::{OutputFormat, print_json};
use crate::outcome::OrConfig as _;

/// What the parts may differ from the whole network by, relative to values above 1: what 32-bit floats lose where the
/// engine fuses operations in another way.
const TOLERANCE: f32 = 1e-5;
/// The names of three tiers; others are numbered.
const TIERS: [&str; 3] = ["edge", "fog", "cloud"];

/// Cut an ONNX network of several exits into one sub-model per tier.
///
/// Without --cut, shows the exits and where the network can be cut: the bytes that each sample would send up and the
/// operations on each side. A tensor can be cut if everything that comes after it depends on it alone. Exits are
/// tensors with a softmax vector, or with logits, which get a softmax.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The .onnx file; weights may lie in files beside it.
    file: PathBuf,
    /// The tensors that go up to the next tier, from the first tier on.
    #[arg(long, num_args = 1.., value_delimiter = ',', value_name = "TENSOR")]
    cut: Vec<String>,
    /// Each tier's exit, from the first tier on; default: the network's outputs, cheapest first.
    #[arg(long, num_args = 1.., value_delimiter = ',', value_name = "TENSOR")]
    exit: Vec<String>,
    /// Folder for the sub-models, each TIER.onnx.
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    /// Names of the tiers, separated by commas; default: edge,fog,cloud, of two tiers edge,cloud, of others tier-1, ….
    #[arg(long, value_delimiter = ',')]
    tiers: Vec<String>,
    #[command(flatten)]
    source: SourceArgs,
    /// Show every tensor at which the network can be cut, also those that are wider than both of their neighbours.
    #[arg(long, conflicts_with = "cut")]
    all: bool,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let network = Network::load(&args.file).or_config()?;
    if args.cut.is_empty() {
        return show(args, &network);
    }
    let exits = match &args.exit[..] {
        [] => {
            let exits = network.outline(&[]).exits;
            exits.into_iter().map(|exit| exit.tensor.name).collect()
        }
        exits => exits.to_vec(),
    };
    let tiers = tier_names(&args.tiers, args.cut.len() + 1).or_config()?;
    let options: Vec<ImportOptions> =
        tiers.iter().enumerate().map(|(at, tier)| options(args, at, tier)).collect();
    let parts = network.split(&args.cut, &exits, &options).or_config()?;
    let sub_models: Vec<SubModel> = parts.iter().map(|part| part.sub_model().clone()).collect();
    let difference = network.largest_difference(&sub_models, &args.cut, &exits)?;
    ensure!(
        difference <= TOLERANCE,
        "the parts of `{}` differ from it by {difference:e} on random samples, expected at most {TOLERANCE:e}; nothing \
         is written",
        args.file.display()
    );
    std::fs::create_dir_all(&args.output)
        .with_context(|| format!("folder `{}`", args.output.display()))?;
    let paths: Vec<PathBuf> =
        tiers.iter().map(|tier| args.output.join(format!("{tier}.onnx"))).collect();
    let source = args.file.canonicalize()?;
    if let Some(path) =
        paths.iter().find(|path| path.canonicalize().is_ok_and(|path| path == source))
    {
        anyhow::bail!("`{}` is the network itself; name another folder with -o", path.display());
    }
    let mut written = Vec::new();
    for (part, path) in parts.iter().zip(paths) {
        part.write(&path)?;
        written.push((path, part.sub_model()));
    }
    report(args, &written, difference)
}

fn options(args: &Args, at: usize, tier: &str) -> ImportOptions {
    let options = args.source.options(tier);
    if at == 0 {
        return options;
    }
    // Features are fed as they are.
    let ImportOptions { input_scale, input_offset, .. } = ImportOptions::default();
    ImportOptions { input_scale, input_offset, ..options }
}

fn tier_names(given: &[String], tiers: usize) -> anyhow::Result<Vec<String>> {
    let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    if given.is_empty() {
        return Ok(match tiers {
            2 => own(&[TIERS[0], TIERS[2]]),
            3 => own(&TIERS),
            _ => (1..=tiers).map(|tier| format!("tier-{tier}")).collect(),
        });
    }
    ensure!(
        given.len() == tiers,
        "--tiers has {} names, expected {tiers}: one more than cuts",
        given.len()
    );
    for (at, name) in given.iter().enumerate() {
        let is_plain =
            |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
        ensure!(
            !name.is_empty() && name.chars().all(is_plain),
            "--tiers has `{name}`, expected letters, digits, `-` and `_`: it names a file"
        );
        ensure!(!given[..at].contains(name), "--tiers has `{name}` twice");
    }
    Ok(given.to_vec())
}

fn report(args: &Args, written: &[(PathBuf, &SubModel)], difference: f32) -> anyhow::Result<()> {
    if args.format == OutputFormat::Json {
        let written: Vec<_> = written
            .iter()
            .map(|(path, part)| {
                json!({
                    "path": path,
                    "tier": part.metadata().tier,
                    "version": part.version(),
                    "parameters": part.parameters(),
                    "bytes": part.bytes(),
                    "input_shape": part.input_shape(),
                    "features_shape": part.features_shape(),
                })
            })
            .collect();
        return print_json(&json!({ "written": written, "largest_difference": difference }));
    }
    let mut out = std::io::stdout().lock();
    for (path, part) in written {
        wrote(&mut out, path, part)?;
    }
    writeln!(
        out,
        "the parts give what the whole network gives, to within {difference:.1e} on random samples"
    )?;
    Ok(())
}

/// Shows the exits and the cuts.
fn show(args: &Args, network: &Network) -> anyhow::Result<()> {
    for exit in &args.exit {
        ensure!(
            network.shape(exit).is_some(),
            "network `{}` has no tensor `{exit}` with floats for each sample",
            args.file.display()
        );
    }
    let outline = network.outline(&args.exit);
    let shown: Vec<&Cut> = outline.cuts.iter().filter(|cut| args.all || cut.is_narrow).collect();
    if args.format == OutputFormat::Json {
        return print_json(&as_json(&outline, &shown));
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:<32} {:>14} {:>10} {:>14}", "exit", "shape", "holds", "operations")?;
    for exit in &outline.exits {
        let holds = if exit.is_logits { "logits" } else { "softmax" };
        let shape = format!("{:?}", exit.tensor.shape);
        writeln!(out, "{:<32} {shape:>14} {holds:>10} {:>14}", exit.tensor.name, exit.macs)?;
    }
    writeln!(
        out,
        "\n{:<32} {:>14} {:>10} {:>10} {:>14} {:>14}  exits below",
        "cut after", "shape", "f32 bytes", "int8 bytes", "operations", "above"
    )?;
    for cut in &shown {
        let shape = format!("{:?}", cut.tensor.shape);
        writeln!(
            out,
            "{:<32} {shape:>14} {:>10} {:>10} {:>14} {:>14}  {}",
            cut.tensor.name,
            cut.f32_bytes,
            cut.int8_bytes,
            cut.macs_below,
            cut.macs_above,
            cut.exits_below.join(", ")
        )?;
    }
    writeln!(out, "\n{}", advice(args, &outline))?;
    Ok(())
}

/// What to run next.
fn advice(args: &Args, outline: &Outline) -> String {
    if let Some(cuts) = outline.proposal() {
        let cuts: Vec<&str> = cuts.iter().map(|cut| cut.tensor.name.as_str()).collect();
        let exits: Vec<&str> = outline.exits.iter().map(|exit| exit.tensor.name.as_str()).collect();
        return format!(
            "narrowest: offramp model split {} --cut {} --exit {}",
            args.file.display(),
            cuts.join(" "),
            exits.join(" ")
        );
    }
    match outline.exits.len() {
        0 => "no output holds a softmax vector or logits; name the exits with --exit TENSOR…"
            .to_owned(),
        1 => "one exit: name those of the tiers below it with --exit TENSOR…".to_owned(),
        _ => "there is no tensor between each two exits that separates the network".to_owned(),
    }
}

fn as_json(outline: &Outline, shown: &[&Cut]) -> serde_json::Value {
    let exits: Vec<_> = outline
        .exits
        .iter()
        .map(|exit| {
            json!({
                "tensor": exit.tensor.name,
                "shape": exit.tensor.shape,
                "is_logits": exit.is_logits,
                "macs": exit.macs,
            })
        })
        .collect();
    let cuts: Vec<_> = shown
        .iter()
        .map(|cut| {
            json!({
                "tensor": cut.tensor.name,
                "shape": cut.tensor.shape,
                "operator": cut.operator,
                "f32_bytes": cut.f32_bytes,
                "int8_bytes": cut.int8_bytes,
                "macs_below": cut.macs_below,
                "macs_above": cut.macs_above,
                "exits_below": cut.exits_below,
            })
        })
        .collect();
    let proposal = outline.proposal().unwrap_or_default();
    let proposal: Vec<&str> = proposal.iter().map(|cut| cut.tensor.name.as_str()).collect();
    json!({ "exits": exits, "cuts": cuts, "narrowest": proposal })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_have_names() {
        let names = |given: &[&str], tiers| {
            let given: Vec<String> = given.iter().map(|name| (*name).to_owned()).collect();
            tier_names(&given, tiers).map_err(|error| error.to_string())
        };
        assert_eq!(names(&[], 2).unwrap(), ["edge", "cloud"]);
        assert_eq!(names(&[], 3).unwrap(), TIERS);
        assert_eq!(names(&[], 4).unwrap()[3], "tier-4");
        assert_eq!(names(&["a", "b-1"], 2).unwrap(), ["a", "b-1"]);
        assert_eq!(
            names(&["a"], 2),
            Err("--tiers has 1 names, expected 2: one more than cuts".to_owned())
        );
        assert_eq!(names(&["a", "a"], 2), Err("--tiers has `a` twice".to_owned()));
        assert!(
            names(&["a", "../b"], 2)
                .unwrap_err()
                .starts_with("--tiers has `../b`, expected letters")
        );
    }
}

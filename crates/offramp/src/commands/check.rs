//! `offramp check`: is this pipeline fit to run?

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{anyhow, bail};
use pipeline::Servers;

use crate::commands::pipeline_file;
use crate::node;
use crate::outcome::OrConfig as _;

/// Validate a pipeline: the file, its models and how they fit together, its functions, and whether its brokers answer.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The pipeline file.
    #[arg(default_value = pipeline_file::DEFAULT_FILE)]
    file: PathBuf,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let pipeline = pipeline_file::read(&args.file)?;
    writeln!(out, "ok  {}  {} tiers", args.file.display(), pipeline.tiers.len())?;
    let sub_models = pipeline_file::load_sub_models(&pipeline)?;
    for (tier, sub_model) in pipeline.tiers.iter().zip(&sub_models) {
        let forwards = match (pipeline.next_of(tier), sub_model.features_shape()) {
            (Some(next), Some(shape)) => {
                let (_, exit) = function::tier::exit_of(sub_model, &tier.exit).or_config()?;
                format!(
                    "exits at {} >= {}, forwards {shape:?} to {}",
                    exit.criterion,
                    exit.shown_threshold(),
                    next.name
                )
            }
            _ => "answers everything".to_owned(),
        };
        writeln!(
            out,
            "ok  tier {}  {}  {:?} -> {} classes, {forwards}",
            tier.name,
            tier.model.display(),
            sub_model.input_shape(),
            sub_model.classes(),
        )?;
    }
    let mut problems = Vec::new();
    for function in pipeline.runtime.iter().flat_map(|runtime| &runtime.functions) {
        match node::check(function) {
            Ok(what) => writeln!(out, "ok  function {}  {what}", function.name)?,
            Err(reason) => problems.push(format!("function `{}`: {reason}", function.name)),
        }
    }
    if !problems.is_empty() {
        return Err(anyhow!("{}", problems.join("\n  "))).or_config();
    }
    let servers: BTreeSet<&str> = pipeline
        .tiers
        .iter()
        .flat_map(|tier| [&tier.input.servers, &tier.output.servers])
        .filter_map(|servers| match servers {
            Servers::Bootstrap(servers) => Some(servers.as_str()),
            Servers::Embedded => None,
        })
        .collect();
    let mut silent = Vec::new();
    for servers in servers {
        match kafka::admin::reach(servers).await {
            Ok(()) => writeln!(out, "ok  broker {servers}")?,
            Err(error) => silent.push(error.to_string()),
        }
    }
    if let Some(broker) = &pipeline.broker {
        writeln!(out, "ok  broker embedded  {}  {}", broker.listen, broker.dir.display())?;
    }
    if let Some(gateway) = pipeline.runtime.as_ref().and_then(|runtime| runtime.gateway.as_ref()) {
        writeln!(out, "ok  gateway  {}", gateway.listen)?;
    }
    if !silent.is_empty() {
        bail!("{}", silent.join("\n  "));
    }
    Ok(())
}

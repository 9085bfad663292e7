//! `offramp scale`: how many instances there are, and why.

use std::io::Write as _;

use clap::Subcommand;

use crate::commands::demo::{OutputFormat, print_json};
use crate::commands::gateway::GatewayArgs;
use crate::node::status::Scaled;

/// Say how many instances a function has, or show why the autoscaler has decided as it did.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Set(Set),
    History(History),
}

/// Have a function run so many instances, until the autoscaler decides otherwise.
#[derive(Debug, clap::Args)]
struct Set {
    /// The function.
    function: String,
    /// Instances, within the function's bounds.
    instances: u32,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// Show the decisions of the autoscaler that changed something, oldest first, each with its reason.
#[derive(Debug, clap::Args)]
struct History {
    /// Only those on this tier or function.
    name: Option<String>,
    /// How to print the result.
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
    #[command(flatten)]
    gateway: GatewayArgs,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    match &args.action {
        Action::Set(set) => set.run(),
        Action::History(history) => history.run(),
    }
}

impl Set {
    fn run(&self) -> anyhow::Result<()> {
        let Self { function, instances, gateway } = self;
        let body = serde_json::json!({ "serviceName": function, "replicas": instances });
        gateway.send(&format!("/system/scale-function/{function}"), &body.to_string())
    }
}

impl History {
    fn run(&self) -> anyhow::Result<()> {
        let mut history: Vec<Scaled> = self.gateway.get("/system/offramp/scale-history")?;
        history.retain(|scaled| self.name.as_ref().is_none_or(|name| *name == scaled.name));
        if self.output == OutputFormat::Json {
            return print_json(&history);
        }
        let mut out = std::io::stdout().lock();
        for Scaled { at_ms, name, from, to, reason } in history {
            writeln!(out, "{} {name} {from} -> {to}: {reason}", wire::time::date_time(at_ms))?;
        }
        Ok(())
    }
}

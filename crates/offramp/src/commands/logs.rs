//! `offramp logs`: what a function has written.

use std::io::Write as _;

use serde::Deserialize;

use crate::commands::gateway::GatewayArgs;

/// Show what a function's instances have written, and what the runtime has to say about them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The function.
    function: String,
    /// Go on as lines come.
    #[arg(short, long)]
    follow: bool,
    /// Only the last so many lines.
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<u32>,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// A line as the gateway sends it.
#[derive(Debug, Deserialize)]
struct Line {
    instance: String,
    timestamp: String,
    text: String,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let Args { function, follow, .. } = args;
    let tail = args.lines.map_or_else(String::new, |lines| format!("&tail={lines}"));
    let path = format!("/system/logs?name={function}&follow={follow}{tail}");
    args.gateway.lines(&path, |line| {
        let Line { instance, timestamp, text } = serde_json::from_str(line)?;
        writeln!(std::io::stdout().lock(), "{timestamp} {instance} {text}")?;
        Ok(())
    })
}

//! `offramp reload`: a node reads its pipeline file again.

use std::io::Write as _;

use crate::commands::gateway::GatewayArgs;

/// Have a node read its pipeline file and its sub-models again, without losing a record.
///
/// New instances run before they take the place of the old ones, which finish what they have. SIGHUP does the same.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    gateway: GatewayArgs,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let lines: Vec<String> = args.gateway.post("/system/offramp/reload", "")?;
    let mut out = std::io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

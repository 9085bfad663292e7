//! `offramp down`: a node stops.

use crate::commands::gateway::GatewayArgs;

/// Have a node finish what it has and stop, as SIGTERM does.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    gateway: GatewayArgs,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    args.gateway.send("/system/offramp/down", "")
}

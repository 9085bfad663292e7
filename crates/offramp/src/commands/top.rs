//! `offramp top`: what a node does, live.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use crate::commands::gateway::GatewayArgs;
use crate::commands::ps::{STATUS_PATH, shown};
use crate::node::status::Status;

/// Cursor home, and away with what is below.
const REDRAW: &str = "\x1b[H\x1b[J";

/// Watch what a node does: per tier records a second, share answered, latency, lag, records that wait, instances;
/// per function calls, instances and memory.
///
/// Without a terminal it prints one status after the other.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Seconds between looks.
    #[arg(short, long, default_value_t = 1.0, value_parser = interval, value_name = "SECONDS")]
    interval: f64,
    /// End after so many looks.
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
    #[command(flatten)]
    gateway: GatewayArgs,
}

fn interval(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
    seconds.ok_or_else(|| "expected seconds from 0.1 to 3600".to_owned())
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let is_terminal = std::io::stdout().is_terminal();
    let mut looks = tokio::time::interval(Duration::from_secs_f64(args.interval));
    let mut left = args.count.unwrap_or(u64::MAX);
    while 0 < left {
        looks.tick().await;
        let gateway = args.gateway.clone();
        let status: Status =
            tokio::task::spawn_blocking(move || gateway.get(STATUS_PATH)).await??;
        let mut out = std::io::stdout().lock();
        let redraw = if is_terminal { REDRAW } else { "" };
        writeln!(out, "{redraw}{}", shown(&status))?;
        left -= 1;
    }
    Ok(())
}

//! The `offramp` command line: arguments, then one call per subcommand.

mod cli;
mod clock;
mod commands;
mod demo;
mod fetch;
mod logging;
mod metrics;
mod multicall;
mod node;
mod outcome;
mod record_text;
mod signals;
mod thread;
mod tiers;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser as _;

fn main() -> ExitCode {
    let started = Instant::now();
    if let Some(code) = multicall::run() {
        return code;
    }
    let cli = cli::Cli::parse();
    logging::start(cli.log.as_ref(), cli.command.default_log());
    // Connections and partitions take a file each, and many systems start with 1024 and allow far more.
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::debug!("the number of open files stays as it is: {error}");
    }
    outcome::exit_code(cli.command.run(started))
}

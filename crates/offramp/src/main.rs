//! The `offramp` command line: arguments, then one call per subcommand.

mod cli;
mod commands;
mod demo;
mod logging;
mod outcome;
mod record_text;
mod signals;
mod tiers;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser as _;

fn main() -> ExitCode {
    let started = Instant::now();
    let cli = cli::Cli::parse();
    logging::start(cli.log.as_ref(), cli.command.default_log());
    outcome::exit_code(cli.command.run(started))
}

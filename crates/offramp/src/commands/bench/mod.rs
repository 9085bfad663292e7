//! `offramp bench`: measurements.

mod autoscale;
mod bytes;
mod run;

use clap::Subcommand;

/// Measure whatever reads a topic and writes topics, or what a tier sends up; simulate the autoscaler.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Run(run::Args),
    Bytes(bytes::Args),
    Autoscale(autoscale::Args),
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    match args.action {
        Action::Run(args) => run::run(&args).await,
        Action::Bytes(args) => bytes::run(&args).await,
        Action::Autoscale(args) => autoscale::run(&args),
    }
}

//! `offramp bench`: measurements.

mod autoscale;
mod bytes;
mod cold_start;
mod report;
mod run;

use clap::Subcommand;

/// Measure whatever reads a topic and writes topics and show what came out; what a tier sends up; how long a function
/// takes from zero; simulate the autoscaler, and run it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Run(Box<run::Args>),
    Report(report::Args),
    Bytes(bytes::Args),
    Autoscale(autoscale::Args),
    ColdStart(cold_start::Args),
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    match args.action {
        Action::Run(args) => run::run(&args).await,
        Action::Report(args) => report::run(&args),
        Action::Bytes(args) => bytes::run(&args).await,
        Action::Autoscale(args) => autoscale::run(&args).await,
        Action::ColdStart(args) => cold_start::run(args).await,
    }
}

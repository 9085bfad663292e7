//! `offramp function`: one function as its own process; the entry point of a container.

pub(crate) mod connector;
pub(crate) mod funnel;
pub(crate) mod inference;
mod wait;

use clap::Subcommand;

/// Run one function as its own process: the entry point of a container.
///
/// Every option can be given by its environment variable. Functions call each other with the paper's HTTP
/// bodies: connector -> inference -> funnel.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    function: Kind,
}

#[derive(Debug, Subcommand)]
enum Kind {
    Connector(connector::Args),
    Inference(inference::Args),
    Funnel(funnel::Args),
    Wait(wait::Args),
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    match args.function {
        Kind::Connector(args) => connector::run(args).await,
        Kind::Inference(args) => inference::run(args).await,
        Kind::Funnel(args) => funnel::run(args).await,
        Kind::Wait(args) => wait::run(args).await,
    }
}

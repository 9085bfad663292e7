//! `offramp function`: one function as its own process; the entry point of a container.

pub(crate) mod connector;
mod container;
mod destination;
pub(crate) mod funnel;
pub(crate) mod inference;
mod kafka_ml;
pub(crate) mod kind;
mod model_file;
mod wait;

use clap::Subcommand;

use kind::Kind;

/// Run one function as its own process: the entry point of a container.
///
/// Every option can be given by its environment variable. Without a name it is the function that `OFFRAMP_FUNCTION`
/// says, inference if none; on Fission and OpenWhisk the platform then says the rest. Functions call each other with
/// the paper's HTTP bodies: connector -> inference -> funnel.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    function: Option<Named>,
    #[command(flatten)]
    container: container::Args,
}

#[derive(Debug, Subcommand)]
enum Named {
    Connector(connector::Args),
    Inference(Box<inference::Args>),
    Funnel(funnel::Args),
    KafkaMl(Box<kafka_ml::Args>),
    Wait(wait::Args),
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let (container, kind) = match args.function {
        Some(Named::Connector(args)) => (args.container.clone(), Kind::Connector(args)),
        Some(Named::Inference(args)) => (args.container.clone(), Kind::Inference(*args)),
        Some(Named::Funnel(args)) => (args.container.clone(), Kind::Funnel(args)),
        Some(Named::KafkaMl(args)) => (args.container.clone(), Kind::KafkaMl(args)),
        Some(Named::Wait(args)) => (args.container.clone(), Kind::Wait(args)),
        None => return container::serve(&args.container, None).await,
    };
    container::serve(&container, Some(kind)).await
}

//! `offramp topic`: topics of any broker, ours or Apache Kafka.

mod consume;
mod create;
mod delete;
mod describe;
mod list;
mod produce;

use clap::Subcommand;
use pipeline::DEFAULT_LISTEN;

/// List, create, describe and delete topics, and read and write their records, on any broker.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

/// Which broker to ask.
#[derive(Debug, clap::Args)]
pub(crate) struct BrokerArgs {
    /// Brokers to bootstrap from, as `host:port,…`.
    #[arg(
        short,
        long,
        env = "OFFRAMP_BOOTSTRAP_SERVERS",
        default_value = DEFAULT_LISTEN,
        value_name = "SERVERS"
    )]
    pub(crate) bootstrap_servers: String,
}

#[derive(Debug, Subcommand)]
enum Action {
    List(list::Args),
    Create(create::Args),
    Describe(describe::Args),
    Delete(delete::Args),
    Produce(produce::Args),
    Consume(consume::Args),
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    match args.action {
        Action::List(args) => list::run(args).await,
        Action::Create(args) => create::run(args).await,
        Action::Describe(args) => describe::run(args).await,
        Action::Delete(args) => delete::run(args).await,
        Action::Produce(args) => produce::run(args).await,
        Action::Consume(args) => consume::run(args).await,
    }
}

/// `name=value`.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

//! `offramp topic create`.

use super::{BrokerArgs, pair};

/// Create a topic.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The topic.
    topic: String,
    /// How many partitions it gets; default: the broker's.
    #[arg(short, long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    partitions: Option<u32>,
    /// A setting, as in `cleanup.policy=compact`; may be given several times.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair)]
    settings: Vec<(String, String)>,
    #[command(flatten)]
    broker: BrokerArgs,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let Args { topic, partitions, settings, broker } = args;
    kafka::admin::create_topic(&broker.bootstrap_servers, &topic, partitions, &settings).await?;
    Ok(())
}

//! `offramp topic delete`.

use super::BrokerArgs;

/// Delete a topic and all its records.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The topic.
    topic: String,
    #[command(flatten)]
    broker: BrokerArgs,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    kafka::admin::delete_topic(&args.broker.bootstrap_servers, &args.topic).await?;
    Ok(())
}

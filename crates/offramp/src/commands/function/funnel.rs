//! `offramp function funnel`.

use function::Funnel;
use kafka::Producer;

use super::container;

/// Function -> Kafka: write what is posted to a topic, and answer once it is durable.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Brokers of the topic: host:port, several separated by commas.
    #[arg(long, env = "OFFRAMP_BOOTSTRAP_SERVERS")]
    bootstrap_servers: String,
    /// Topic to write.
    #[arg(long, env = "OFFRAMP_TOPIC")]
    topic: String,
    #[command(flatten)]
    pub(super) container: container::Args,
}

/// Makes the funnel. A topic that is not there is created.
pub(crate) async fn build(args: &Args) -> anyhow::Result<Funnel> {
    kafka::admin::ensure_topics(&args.bootstrap_servers, &[&args.topic], 1).await?;
    Ok(Funnel::new(Producer::new(&args.bootstrap_servers)?, &args.topic))
}

//! `offramp function funnel`.

use std::net::SocketAddr;

use function::Funnel;
use function::http::server::{Function, Server};
use kafka::Producer;

use crate::signals::stop_on_signal;

/// Function -> Kafka: write what is posted to a topic, and answer once it is durable.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Brokers of the topic: host:port, several separated by commas.
    #[arg(long, env = "OFFRAMP_BOOTSTRAP_SERVERS")]
    bootstrap_servers: String,
    /// Topic to write.
    #[arg(long, env = "OFFRAMP_TOPIC")]
    topic: String,
    /// Address to listen on.
    #[arg(long, env = "OFFRAMP_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    listen: SocketAddr,
}

/// Makes the funnel. A topic that is not there is created.
pub(crate) async fn build(args: &Args) -> anyhow::Result<Funnel> {
    kafka::admin::ensure_topics(&args.bootstrap_servers, &[&args.topic], 1).await?;
    Ok(Funnel::new(Producer::new(&args.bootstrap_servers)?, &args.topic))
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let stop = stop_on_signal()?;
    let funnel = build(&args).await?;
    let server = Server::bind(args.listen).await?;
    tracing::info!(listening = %server.address(), topic = args.topic, "funnel ready");
    server.serve(Function::Funnel(funnel), stop).await;
    Ok(())
}

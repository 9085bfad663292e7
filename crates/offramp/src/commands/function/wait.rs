//! `offramp function wait`.

use std::net::SocketAddr;
use std::time::Duration;

use function::http::server::{Function, Server};

use crate::signals::stop_on_signal;

/// Give back what is posted, after a time: to try gateways and autoscalers with.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Milliseconds that a call takes.
    #[arg(long, env = "OFFRAMP_WAIT_MS", default_value_t = 150,
          value_parser = clap::value_parser!(u64).range(0..=600_000), value_name = "MS")]
    ms: u64,
    /// Address to listen on.
    #[arg(long, env = "OFFRAMP_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    listen: SocketAddr,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let stop = stop_on_signal()?;
    let server = Server::bind(args.listen).await?;
    tracing::info!(listening = %server.address(), ms = args.ms, "wait ready");
    server.serve(Function::Wait(Duration::from_millis(args.ms)), stop).await;
    Ok(())
}

//! `offramp broker`: the embedded broker alone.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use broker::{Broker, BrokerConfig, Flush};
use pipeline::{DEFAULT_LISTEN, DEFAULT_LOG_DIR};

use crate::metrics::Metrics;
use crate::signals::stop_on_signal;

/// Run the embedded broker alone: a single-node log that speaks the Kafka protocol.
///
/// Any Kafka client can use it: `kcat -b 127.0.0.1:9092 -L`. It has neither authentication nor encryption, so it
/// listens on this machine only, unless told otherwise.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder of the log; created if it is not there.
    #[arg(long, env = "OFFRAMP_BROKER_DIR", default_value = DEFAULT_LOG_DIR)]
    dir: PathBuf,
    /// Address to listen on.
    #[arg(long, env = "OFFRAMP_BROKER_LISTEN", default_value = DEFAULT_LISTEN)]
    listen: SocketAddr,
    /// `host:port` that clients are told to connect to; needed where they reach it by another name.
    #[arg(long, env = "OFFRAMP_BROKER_ADVERTISE", value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// When records are made durable: `always`, before they are acknowledged, or at most this many
    /// milliseconds after, which a power cut may lose.
    #[arg(long, env = "OFFRAMP_BROKER_FLUSH", default_value = "always", value_name = "always|MS", value_parser = flush)]
    flush: Flush,
    /// Address to serve Prometheus metrics on, at `/metrics`.
    #[arg(long, env = "OFFRAMP_METRICS", value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
}

fn flush(text: &str) -> Result<Flush, String> {
    let interval = || text.parse().ok().filter(|ms| 0 < *ms).map(Duration::from_millis);
    match text {
        "always" => Ok(Flush::Always),
        _ => interval()
            .map(Flush::Interval)
            .ok_or_else(|| "expected `always` or a number of milliseconds from 1 on".to_owned()),
    }
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let mut stop = stop_on_signal()?;
    if !args.listen.ip().is_loopback() {
        tracing::warn!(
            "listening on {}: whoever reaches it can read and write everything",
            args.listen
        );
    }
    let mut config = BrokerConfig::new(args.dir, args.listen);
    config.advertise = args.advertise;
    config.flush = args.flush;
    let dir = config.dir.clone();
    let broker = Broker::start(config).await?;
    let metrics = match args.metrics {
        Some(address) => {
            let mut metrics = Metrics::default();
            metrics.broker(broker.monitor());
            Some(metrics.serve(address).await?)
        }
        None => None,
    };
    tracing::info!(
        listening = %broker.local_addr(),
        advertised = broker.advertised(),
        dir = %dir.display(),
        "broker ready"
    );
    stop.said().await;
    broker.shutdown().await?;
    drop(metrics);
    Ok(())
}

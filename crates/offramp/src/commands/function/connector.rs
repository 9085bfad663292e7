//! `offramp function connector`.

use std::time::Duration;

use function::connector::{self, Target};
use function::http::client::HttpFunction;
use function::{Connector, Funnel};
use kafka::{Consumer, Producer};
use pipeline::{DEFAULT_IN_FLIGHT, DEFAULT_LINGER, Order, Retry};

use super::container;
use crate::outcome::OrConfig as _;

/// Kafka -> function: take the records of a topic to a function's URL.
///
/// It answers probes, and nothing else, where a platform looks for it, at $PORT or with --listen.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Brokers of the topic: host:port, several separated by commas.
    #[arg(long, env = "OFFRAMP_BOOTSTRAP_SERVERS")]
    bootstrap_servers: String,
    /// Topic to read.
    #[arg(long, env = "OFFRAMP_TOPIC")]
    topic: String,
    /// Consumer group; default: the topic's name.
    #[arg(long, env = "OFFRAMP_GROUP")]
    group: Option<String>,
    /// URL of the function to call: http://, or h2c:// for HTTP/2 without TLS.
    #[arg(long, env = "OFFRAMP_URL")]
    url: String,
    /// Topic for records that can never succeed; default: TOPIC-dead-letter.
    #[arg(long, env = "OFFRAMP_DEAD_LETTER_TOPIC", value_name = "TOPIC")]
    dead_letter_topic: Option<String>,
    /// Records that are being handled at once, at most.
    #[arg(long, env = "OFFRAMP_IN_FLIGHT", default_value_t = DEFAULT_IN_FLIGHT as u64,
          value_parser = clap::value_parser!(u64).range(1..=65_536), value_name = "N")]
    in_flight: u64,
    /// Milliseconds to wait, after a few records have come, before asking for more: those that come meanwhile come
    /// together, and cost less. 0 never waits.
    #[arg(long, env = "OFFRAMP_LINGER_MS", default_value_t = DEFAULT_LINGER.as_millis() as u64,
          value_parser = clap::value_parser!(u64).range(0..=1000), value_name = "MS")]
    linger_ms: u64,
    /// Which records wait for each other: those of one `key`, of one `partition`, or `none`.
    #[arg(long, env = "OFFRAMP_ORDER", default_value = Order::default().name(), value_parser = order)]
    order: Order,
    /// Attempts before a record becomes a dead letter.
    #[arg(long, env = "OFFRAMP_ATTEMPTS", default_value_t = Retry::default().attempts,
          value_parser = clap::value_parser!(u32).range(1..=1000), value_name = "N")]
    attempts: u32,
    /// Longest wait after the first failure, in milliseconds; doubles with each.
    #[arg(long, env = "OFFRAMP_BACKOFF_MS_MIN", default_value_t = Retry::default().backoff_min.as_millis() as u64,
          value_parser = clap::value_parser!(u64).range(1..=3_600_000), value_name = "MS")]
    backoff_ms_min: u64,
    /// Longest wait after any failure, in milliseconds.
    #[arg(long, env = "OFFRAMP_BACKOFF_MS_MAX", default_value_t = Retry::default().backoff_max.as_millis() as u64,
          value_parser = clap::value_parser!(u64).range(1..=3_600_000), value_name = "MS")]
    backoff_ms_max: u64,
    #[command(flatten)]
    pub(super) container: container::Args,
}

fn order(text: &str) -> Result<Order, String> {
    text.parse().map_err(|()| "expected `key`, `partition` or `none`".to_owned())
}

/// Makes the connector; it takes records once it runs. Topics that are not there are created.
pub(crate) async fn build(args: &Args) -> anyhow::Result<Connector> {
    let retry = Retry {
        attempts: args.attempts,
        backoff_min: Duration::from_millis(args.backoff_ms_min),
        backoff_max: Duration::from_millis(args.backoff_ms_max.max(args.backoff_ms_min)),
    };
    let target = HttpFunction::new(&args.url).or_config()?;
    let default = || format!("{}-dead-letter", args.topic);
    let dead_letter = args.dead_letter_topic.clone().unwrap_or_else(default);
    let servers = &args.bootstrap_servers;
    kafka::admin::ensure_topics(servers, &[&args.topic, &dead_letter], 1).await?;
    let group = args.group.as_deref().unwrap_or(&args.topic);
    let linger = Duration::from_millis(args.linger_ms);
    let consumer = Consumer::lingering(servers, group, &[&args.topic], linger)?;
    let dead_letters = Funnel::new(Producer::new(servers)?, dead_letter);
    let in_flight = args.in_flight as usize;
    let settings = connector::Settings { in_flight, order: args.order, retry };
    tracing::info!(topic = args.topic, group, url = args.url, in_flight, "connector");
    Ok(Connector::new(consumer, Target::Url(target), dead_letters, settings))
}

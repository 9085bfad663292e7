//! `offramp function`: one function as its own process; the entry point of a container.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;
use function::connector::{self, Target};
use function::http::client::HttpFunction;
use function::http::server::{Function, Server};
use function::inference::{Destination, Settings};
use function::{Connector, Funnel, Inference};
use kafka::{Consumer, Producer};
use model::{ExitCriterion, SubModel};
use pipeline::{
    DEFAULT_IN_FLIGHT, DEFAULT_LINGER, DEFAULT_MAX_BATCH, ExitSettings, OnLoss, Order, Retry, Scale,
};
use wire::Encoding;

use crate::commands::exit_options;
use crate::outcome::OrConfig as _;
use crate::signals::stop_on_signal;

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
    Connector(ConnectorArgs),
    Inference(InferenceArgs),
    Funnel(FunnelArgs),
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    match args.function {
        Kind::Connector(args) => connector(args).await,
        Kind::Inference(args) => inference(args).await,
        Kind::Funnel(args) => funnel(args).await,
    }
}

/// Kafka -> function: take the records of a topic to a function's URL.
#[derive(Debug, clap::Args)]
struct ConnectorArgs {
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
    /// Also answer probes (`/_/health`, `/_/ready`) on this address.
    #[arg(long, env = "OFFRAMP_LISTEN", value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
}

fn order(text: &str) -> Result<Order, String> {
    text.parse().map_err(|()| "expected `key`, `partition` or `none`".to_owned())
}

async fn connector(args: ConnectorArgs) -> anyhow::Result<()> {
    let retry = Retry {
        attempts: args.attempts,
        backoff_min: Duration::from_millis(args.backoff_ms_min),
        backoff_max: Duration::from_millis(args.backoff_ms_max.max(args.backoff_ms_min)),
    };
    let target = HttpFunction::new(&args.url).or_config()?;
    let dead_letter =
        args.dead_letter_topic.unwrap_or_else(|| format!("{}-dead-letter", args.topic));
    let stop = stop_on_signal()?;
    kafka::admin::ensure_topics(&args.bootstrap_servers, &[&args.topic, &dead_letter], 1).await?;
    let group = args.group.as_deref().unwrap_or(&args.topic);
    let linger = Duration::from_millis(args.linger_ms);
    let consumer = Consumer::lingering(&args.bootstrap_servers, group, &[&args.topic], linger)?;
    let dead_letters = Funnel::new(Producer::new(&args.bootstrap_servers)?, dead_letter);
    let in_flight = args.in_flight as usize;
    let settings = connector::Settings { in_flight, order: args.order, retry };
    let connector = Connector::new(consumer, Target::Url(target), dead_letters, settings);
    tracing::info!(topic = args.topic, group, url = args.url, in_flight, "connector ready");
    let counters = connector.counters();
    let probes = match args.listen {
        Some(address) => {
            let server = Server::bind(address).await?;
            Some(tokio::spawn(server.serve(Function::Probes, stop.clone())))
        }
        None => None,
    };
    connector.run(stop).await?;
    if let Some(probes) = probes {
        probes.await.context("the probes' server panicked")?;
    }
    tracing::info!(counts = ?counters.counts(), "connector stopped");
    Ok(())
}

/// Sub-model -> exit or forward: answer what this tier is sure of.
///
/// A result whose URL is not given goes back to the caller, in the body of the response.
#[derive(Debug, clap::Args)]
struct InferenceArgs {
    /// The sub-model: an .onnx file of `offramp model import` or `offramp train`.
    #[arg(long, env = "OFFRAMP_MODEL", value_name = "FILE")]
    model: PathBuf,
    /// Name of the tier, written into a header of every record; default: the one in the model.
    #[arg(long, env = "OFFRAMP_TIER")]
    tier: Option<String>,
    /// Least confidence that answers here; default: the one in the model.
    #[arg(long, env = "OFFRAMP_THRESHOLD", value_parser = exit_options::threshold)]
    threshold: Option<f64>,
    /// How the confidence is computed; default: the one in the model.
    #[arg(long, env = "OFFRAMP_CRITERION")]
    criterion: Option<ExitCriterion>,
    /// Divides the logits before the softmax; default: the one in the model.
    #[arg(long, env = "OFFRAMP_TEMPERATURE", value_parser = exit_options::temperature)]
    temperature: Option<f32>,
    /// Least confidence for a predicted class, as LABEL=THRESHOLD, several separated by commas; default: those in the
    /// model, unless --threshold is given.
    #[arg(long, env = "OFFRAMP_CLASS_THRESHOLDS", value_delimiter = ',', value_name = "LABEL=THRESHOLD",
          value_parser = exit_options::class_threshold)]
    class_thresholds: Vec<(String, f64)>,
    /// Funnel for answers: http:// or h2c://.
    #[arg(long, env = "OFFRAMP_EXIT_URL", value_name = "URL")]
    exit_url: Option<String>,
    /// Funnel, http:// or h2c://, for the features of samples that this tier is not sure of.
    #[arg(long, env = "OFFRAMP_FORWARD_URL", value_name = "URL")]
    forward_url: Option<String>,
    /// What becomes of samples for the next tier while their funnel, or its broker, is away: `hold` has the caller
    /// try again, `answer-here` answers them here.
    #[arg(long, env = "OFFRAMP_ON_UPLINK_LOSS", default_value = OnLoss::default().name(), value_parser = on_loss)]
    on_uplink_loss: OnLoss,
    /// This is the last tier: answer every sample. So is a model without features.
    #[arg(long, env = "OFFRAMP_LAST",
          conflicts_with_all = ["forward_url", "threshold", "criterion", "temperature", "class_thresholds"])]
    last: bool,
    /// Instances that stay while nothing arrives.
    #[arg(long, env = "OFFRAMP_SCALE_MIN", default_value_t = 1,
          value_parser = clap::value_parser!(u64).range(0..=1024), value_name = "N")]
    scale_min: u64,
    /// Instances at most.
    #[arg(long, env = "OFFRAMP_SCALE_MAX", default_value_t = 1,
          value_parser = clap::value_parser!(u64).range(1..=1024), value_name = "N")]
    scale_max: u64,
    /// Samples that one run of the engine takes, at most.
    #[arg(long, env = "OFFRAMP_MAX_BATCH", default_value_t = DEFAULT_MAX_BATCH as u64,
          value_parser = clap::value_parser!(u64).range(1..=1024), value_name = "N")]
    max_batch: u64,
    /// How samples are written that do not say so: json, u8, i16, i32, f16, f32, f64 or int8.
    #[arg(long, env = "OFFRAMP_ENCODING", default_value_t)]
    encoding: Encoding,
    /// How features are written for the next tier: json, f32, f16 or int8.
    #[arg(long, env = "OFFRAMP_FEATURES", default_value_t, value_parser = exit_options::features)]
    features: Encoding,
    /// Address to listen on.
    #[arg(long, env = "OFFRAMP_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    listen: SocketAddr,
}

fn on_loss(text: &str) -> Result<OnLoss, String> {
    text.parse().map_err(|()| "expected `hold` or `answer-here`".to_owned())
}

async fn inference(args: InferenceArgs) -> anyhow::Result<()> {
    let sub_model = SubModel::load(&args.model).or_config()?;
    let last = args.last || sub_model.features_shape().is_none();
    if last && args.forward_url.is_some() {
        let message = "`--forward-url` is given, but the model has no `features` output to forward";
        return Err(anyhow::anyhow!(message)).or_config();
    }
    let scale = Scale { min: args.scale_min as usize, max: args.scale_max as usize };
    if scale.min > scale.max {
        let message = format!(
            "`--scale-min` is {}, expected at most `--scale-max`, {}",
            scale.min, scale.max
        );
        return Err(anyhow::anyhow!(message)).or_config();
    }
    let exit = ExitSettings {
        criterion: args.criterion,
        threshold: args.threshold,
        temperature: args.temperature,
        class_thresholds: args.class_thresholds.into_iter().collect(),
    };
    let (sub_model, exit) = if last {
        (sub_model, None)
    } else {
        let (sub_model, exit) = function::tier::exit_of(&sub_model, &exit)
            .with_context(|| format!("sub-model `{}`", args.model.display()))
            .or_config()?;
        (sub_model, Some(exit))
    };
    let settings = Settings {
        tier: args.tier.unwrap_or_else(|| sub_model.metadata().tier.clone()),
        exit,
        scale,
        max_batch: args.max_batch as usize,
        encoding: args.encoding,
        features: args.features,
        answer_here: args.on_uplink_loss == OnLoss::AnswerHere,
    };
    if settings.answer_here && args.exit_url.is_none() {
        let message =
            "`--on-uplink-loss answer-here` needs `--exit-url`, where the answers are to go";
        return Err(anyhow::anyhow!(message)).or_config();
    }
    let destination = |url: Option<String>| {
        url.map(|url| HttpFunction::new(&url).map(Destination::Url)).transpose().or_config()
    };
    let (exit_to, forward_to) = (destination(args.exit_url)?, destination(args.forward_url)?);
    let stop = stop_on_signal()?;
    let server = Server::bind(args.listen).await?;
    tracing::info!(
        listening = %server.address(),
        tier = settings.tier,
        model = sub_model.version(),
        exit = ?settings.exit,
        "inference ready"
    );
    let inference = Inference::new(sub_model, settings, exit_to, forward_to);
    server.serve(Function::Inference(Arc::new(inference)), stop).await;
    Ok(())
}

/// Function -> Kafka: write what is posted to a topic, and answer once it is durable.
#[derive(Debug, clap::Args)]
struct FunnelArgs {
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

async fn funnel(args: FunnelArgs) -> anyhow::Result<()> {
    let stop = stop_on_signal()?;
    kafka::admin::ensure_topics(&args.bootstrap_servers, &[&args.topic], 1).await?;
    let funnel = Funnel::new(Producer::new(&args.bootstrap_servers)?, &args.topic);
    let server = Server::bind(args.listen).await?;
    tracing::info!(listening = %server.address(), topic = args.topic, "funnel ready");
    server.serve(Function::Funnel(funnel), stop).await;
    Ok(())
}

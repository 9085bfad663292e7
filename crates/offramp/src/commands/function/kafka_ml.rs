//! `offramp function kafka-ml`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use function::connector::{self, Target};
use function::inference::{Destination, Dialect, Replaceable, Settings};
use function::{Connector, Funnel, Inference};
use kafka::{Consumer, Producer};
use model::{Exit, ExitCriterion, ImportOptions, SubModel};
use pipeline::{DEFAULT_IN_FLIGHT, DEFAULT_LINGER, DEFAULT_MAX_BATCH, Order, Retry, Scale};
use wire::Encoding;
use wire::kafka_ml::InputFormat;

use super::container;
use crate::fetch::{agent, fetch_unchecked, persistently};
use crate::outcome::OrConfig as _;

/// As Kafka-ML's: ten times, five seconds apart.
const ATTEMPTS: u32 = 10;
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const TOTAL_TIMEOUT: Duration = Duration::from_mins(10);
/// The largest model that is downloaded.
const MAX_MODEL_BYTES: u64 = 1 << 30;

/// Kafka -> sub-model -> Kafka: in the place of Kafka-ML's inference container, by its environment.
///
/// It takes one sample from each record, and writes `{"values": [...]}` to the output topic, or with a limit, where none
/// of the values reaches it, what the model gives for the next one to the upper topic, as 32-bit floats. Unlike the original it
/// keeps keys and headers, runs records in batches, writes what it can't read to a topic of dead letters, and commits
/// what is done.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Brokers of the input topic: host:port, several separated by commas.
    #[arg(long, env = "INPUT_BOOTSTRAP_SERVERS", value_name = "SERVERS")]
    input_bootstrap_servers: String,
    /// Brokers of the output topic.
    #[arg(long, env = "OUTPUT_BOOTSTRAP_SERVERS", value_name = "SERVERS")]
    output_bootstrap_servers: String,
    /// Brokers of the topic for the next model.
    #[arg(long, env = "UPPER_BOOTSTRAP_SERVERS", value_name = "SERVERS")]
    upper_bootstrap_servers: Option<String>,
    /// The model, .h5, .keras or .onnx: a path, or a URL with http, https or file.
    #[arg(long, env = "MODEL_URL", value_name = "URL")]
    model_url: String,
    /// How samples stand in records: RAW, AVRO, JSON or `TELEGRAF_STR_JSON`.
    #[arg(long, env = "INPUT_FORMAT", value_name = "FORMAT")]
    input_format: String,
    /// What the format needs, in JSON: `{"data_type": "uint8", "data_reshape": "28 28"}`, or `{"data_scheme": ...}`.
    #[arg(long, env = "INPUT_CONFIG", default_value = "{}", value_name = "JSON")]
    input_config: String,
    /// Topic to read.
    #[arg(long, env = "INPUT_TOPIC", value_name = "TOPIC")]
    input_topic: String,
    /// Topic of answers.
    #[arg(long, env = "OUTPUT_TOPIC", value_name = "TOPIC")]
    output_topic: String,
    /// Topic for the next model.
    #[arg(long, env = "OUTPUT_UPPER", value_name = "TOPIC")]
    output_upper: Option<String>,
    /// Least of the largest value that answers here; `None`, or nothing, answers all.
    #[arg(long, env = "LIMIT", value_name = "NUMBER")]
    limit: Option<String>,
    /// Consumer group.
    #[arg(long, env = "GROUP_ID", default_value = "group_id", value_name = "GROUP")]
    group_id: String,
    /// Topic for records that can never succeed, on the input's brokers; default: INPUT_TOPIC-dead-letter.
    #[arg(long, env = "OFFRAMP_DEAD_LETTER_TOPIC", value_name = "TOPIC")]
    dead_letter_topic: Option<String>,
    /// Instances of the model at most.
    #[arg(long, env = "OFFRAMP_SCALE_MAX", default_value_t = 1,
          value_parser = clap::value_parser!(u64).range(1..=1024), value_name = "N")]
    scale_max: u64,
    #[command(flatten)]
    pub(super) container: container::Args,
}

/// Where samples go that do not reach the limit.
struct Upper<'a> {
    servers: &'a str,
    topic: &'a str,
    limit: f64,
}

impl Args {
    /// As the original: with brokers, a topic and a limit, all three.
    fn upper(&self) -> anyhow::Result<Option<Upper<'_>>> {
        let limit = self.limit.as_deref().map(str::trim).unwrap_or_default();
        if limit.is_empty() || limit == "None" {
            return Ok(None);
        }
        let limit: f64 = limit
            .parse()
            .ok()
            .filter(|limit: &f64| limit.is_finite())
            .ok_or_else(|| anyhow!("LIMIT is `{limit}`, expected a number or None"))
            .or_config()?;
        match (self.upper_bootstrap_servers.as_deref(), self.output_upper.as_deref()) {
            (None, None) => Ok(None),
            (Some(servers), Some(topic)) if !servers.is_empty() && !topic.is_empty() => {
                Ok(Some(Upper { servers, topic, limit }))
            }
            _ => {
                let message = "LIMIT is given, expected UPPER_BOOTSTRAP_SERVERS and OUTPUT_UPPER too, or none of the three";
                Err(anyhow!(message)).or_config()
            }
        }
    }
}

/// Makes the connector that does it all; it takes records once it runs. Topics that are not there are created.
pub(crate) async fn build(args: Args) -> anyhow::Result<Connector> {
    let upper = args.upper()?;
    let url = args.model_url.clone();
    let sub_model =
        tokio::task::spawn_blocking(move || load(&url)).await.context("loading panicked")??;
    if upper.is_some() && sub_model.features_shape().is_none() {
        let message = format!(
            "model `{}` has one output, expected two, for OUTPUT_UPPER and OUTPUT_TOPIC, as LIMIT is given",
            args.model_url
        );
        return Err(anyhow!(message)).or_config();
    }
    let shape = sub_model.input_shape();
    let format = InputFormat::new(&args.input_format, &args.input_config, shape).or_config()?;
    let input = args.input_topic.as_str();
    let dead = args.dead_letter_topic.clone().unwrap_or_else(|| format!("{input}-dead-letter"));
    kafka::admin::ensure_topics(&args.input_bootstrap_servers, &[input, &dead], 1).await?;
    kafka::admin::ensure_topics(&args.output_bootstrap_servers, &[&args.output_topic], 1).await?;
    if let Some(upper) = &upper {
        kafka::admin::ensure_topics(upper.servers, &[upper.topic], 1).await?;
    }
    let funnel = |servers: &str, topic: &str| -> anyhow::Result<Destination> {
        Ok(Destination::Funnel(Funnel::new(Producer::new(servers)?, topic)))
    };
    let answers = funnel(&args.output_bootstrap_servers, &args.output_topic)?;
    let up = upper.as_ref().map(|upper| funnel(upper.servers, upper.topic)).transpose()?;
    tracing::info!(
        input,
        format = %format,
        output = args.output_topic,
        upper = upper.as_ref().map(|upper| upper.topic),
        limit = upper.as_ref().map(|upper| upper.limit),
        model = sub_model.version(),
        "kafka-ml"
    );
    let settings = Settings {
        tier: sub_model.metadata().tier.clone(),
        exit: upper.map(|upper| Exit::new(ExitCriterion::MaxSoftmax, upper.limit)),
        scale: Scale { min: 1, max: args.scale_max as usize },
        max_batch: DEFAULT_MAX_BATCH,
        encoding: Encoding::Json,
        features: Encoding::F32,
        answer_here: false,
        dialect: Dialect::KafkaMl(Arc::new(format)),
    };
    let inference = Inference::new(sub_model, settings, Some(answers), up);
    let consumer = Consumer::lingering(
        &args.input_bootstrap_servers,
        &args.group_id,
        &[input],
        DEFAULT_LINGER,
    )?;
    let dead = Funnel::new(Producer::new(&args.input_bootstrap_servers)?, dead);
    let settings = connector::Settings {
        in_flight: DEFAULT_IN_FLIGHT,
        order: Order::default(),
        retry: Retry::default(),
    };
    let target = Target::Inference(Arc::new(Replaceable::new(inference)));
    Ok(Connector::new(consumer, target, dead, settings))
}

/// The model at a URL, as a sub-model.
fn load(url: &str) -> anyhow::Result<SubModel> {
    let (path, _kept) = match url.strip_prefix("file://") {
        Some(path) => (PathBuf::from(path), None),
        None if url.starts_with("http://") || url.starts_with("https://") => {
            let file = download(url)?;
            (file.path().to_owned(), Some(file))
        }
        None => (PathBuf::from(url), None),
    };
    let stem = Path::new(url).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let options = ImportOptions { tier: stem.unwrap_or_default(), ..ImportOptions::default() };
    if path.extension().is_some_and(|extension| extension == "onnx")
        && let Ok(own) = SubModel::load(&path)
    {
        // One of ours says more of itself than an import could guess.
        return Ok(own);
    }
    let artefact =
        model::import(&path, &options).with_context(|| format!("model `{url}`")).or_config()?;
    Ok(artefact.sub_model().clone())
}

fn download(url: &str) -> anyhow::Result<tempfile::NamedTempFile> {
    // Kafka-ML's backend gives a model at a URL that says nothing of its kind: Keras' `.h5`.
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let known =
        [".keras", ".onnx", ".hdf5"].into_iter().find(|extension| path.ends_with(extension));
    let file = tempfile::Builder::new().suffix(known.unwrap_or(".h5")).tempfile()?;
    let agent = agent(CONNECT_TIMEOUT, TOTAL_TIMEOUT);
    let fetch = || fetch_unchecked(&agent, url, MAX_MODEL_BYTES);
    std::fs::write(file.path(), persistently(ATTEMPTS, |_| BETWEEN_ATTEMPTS, |_| true, fetch)?)?;
    Ok(file)
}

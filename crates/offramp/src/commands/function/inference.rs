//! `offramp function inference`.

use anyhow::Context as _;
use function::Inference;
use function::inference::{Dialect, Settings};
use model::{EngineKind, ExitCriterion, SubModel};
use pipeline::{DEFAULT_MAX_BATCH, ExitSettings, OnLoss, Scale};
use wire::Encoding;

use super::{container, destination, model_file};
use crate::commands::exit_options;
use crate::outcome::OrConfig as _;

/// Sub-model -> exit or forward: answer what this tier is sure of.
///
/// A result whose URL is not given goes back to the caller, in the body of the response.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The sub-model: an .onnx file of `offramp model import` or `offramp train`; or where it is downloaded from, as
    /// `https://host/edge.onnx#sha256=DIGITS`.
    #[arg(long, env = "OFFRAMP_MODEL", value_name = "FILE")]
    model: String,
    /// What computes it: tract, or onnxruntime, whose library `ORT_DYLIB_PATH` names.
    #[arg(long, env = "OFFRAMP_ENGINE", default_value_t)]
    engine: EngineKind,
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
    /// Funnel for answers: http:// or h2c://; or a topic that this function writes itself, as
    /// kafka://broker-0:9092,broker-1:9092/topic.
    #[arg(long, env = "OFFRAMP_EXIT_URL", value_name = "URL")]
    exit_url: Option<String>,
    /// Funnel or topic, as above, for the features of samples that this tier is not sure of.
    #[arg(long, env = "OFFRAMP_FORWARD_URL", value_name = "URL")]
    forward_url: Option<String>,
    /// Funnel or topic, as above, for records that this function refuses; default: the caller hears why, and makes dead
    /// letters. For a platform's trigger, which would lose them.
    #[arg(long, env = "OFFRAMP_DEAD_LETTER_URL", value_name = "URL")]
    dead_letter_url: Option<String>,
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
    #[command(flatten)]
    pub(super) container: container::Args,
}

fn on_loss(text: &str) -> Result<OnLoss, String> {
    text.parse().map_err(|()| "expected `hold` or `answer-here`".to_owned())
}

/// Loads the sub-model and makes the function; its instances start to load.
pub(crate) fn build(args: Args) -> anyhow::Result<Inference> {
    let file = model_file::local(&args.model)?;
    let sub_model = SubModel::load_for(&file, args.engine).or_config()?;
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
            .with_context(|| format!("sub-model `{}`", args.model))
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
        dialect: Dialect::Offramp,
    };
    if settings.answer_here && args.exit_url.is_none() {
        let message =
            "`--on-uplink-loss answer-here` needs `--exit-url`, where the answers are to go";
        return Err(anyhow::anyhow!(message)).or_config();
    }
    if settings.answer_here && args.forward_url.as_deref().is_some_and(destination::is_topic) {
        let message = "`--on-uplink-loss answer-here` needs a funnel as `--forward-url`, which says when its broker is \
                       away; for a topic, use `offramp up`";
        return Err(anyhow::anyhow!(message)).or_config();
    }
    let to = |url: Option<String>| url.as_deref().map(destination::parse).transpose();
    let (exit_to, forward_to) = (to(args.exit_url)?, to(args.forward_url)?);
    tracing::info!(
        tier = settings.tier,
        model = sub_model.version(),
        engine = sub_model.engine_kind().name(),
        exit = ?settings.exit,
        "sub-model"
    );
    let refused = to(args.dead_letter_url)?;
    Ok(Inference::new(sub_model, settings, exit_to, forward_to).with_dead_letters(refused))
}

//! The functions by name, from arguments or variables to one that runs.

use std::sync::Arc;

use anyhow::Context as _;
use function::http::Function;
use function::platform::Variables;
use function::{Stop, stop};
use tokio::sync::watch;

use super::{connector, funnel, inference, kafka_ml, wait};

/// Which function an unnamed container is.
pub(crate) const NAME: &str = "OFFRAMP_FUNCTION";
const DEFAULT: &str = "inference";
/// How a connector that was told to stop leaves its group.
const ENDED: &str = "the connector has ended";

/// A function with its settings.
#[derive(Debug)]
pub(crate) enum Kind {
    Inference(inference::Args),
    Funnel(funnel::Args),
    Connector(connector::Args),
    KafkaMl(Box<kafka_ml::Args>),
    Wait(wait::Args),
}

/// A function that runs. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Started {
    pub(crate) function: Function,
    stopper: Arc<stop::Stopper>,
    /// How its connector ended; stays `None` where it has none.
    ended: watch::Receiver<Option<String>>,
}

/// Whether a function of this name takes records from topics, and no calls.
pub(crate) fn takes_no_calls(name: &str) -> bool {
    matches!(name, "connector" | "kafka-ml")
}

impl Kind {
    /// The function of this name, or the one that the variables name, with the settings that they say.
    pub(crate) fn of_variables(name: Option<&str>, variables: &Variables) -> anyhow::Result<Self> {
        Ok(match name.unwrap_or_else(|| Self::named(variables)) {
            "inference" => Self::Inference(settings(variables)?),
            "funnel" => Self::Funnel(settings(variables)?),
            "connector" => Self::Connector(settings(variables)?),
            "kafka-ml" => Self::KafkaMl(Box::new(settings(variables)?)),
            "wait" => Self::Wait(settings(variables)?),
            other => anyhow::bail!(
                "`{other}` is not a function (of {NAME}, or as the platform names it); expected inference, funnel, \
                 connector, kafka-ml or wait"
            ),
        })
    }

    /// The name that the variables say.
    pub(crate) fn named(variables: &Variables) -> &str {
        variables.get(NAME).map_or(DEFAULT, String::as_str)
    }

    /// Whether the variables say all that a function needs.
    pub(crate) fn is_complete(variables: &Variables) -> bool {
        Self::of_variables(None, variables).is_ok()
    }

    /// Its name in the command line and in variables.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Inference(_) => "inference",
            Self::Funnel(_) => "funnel",
            Self::Connector(_) => "connector",
            Self::KafkaMl(_) => "kafka-ml",
            Self::Wait(_) => "wait",
        }
    }

    /// Makes the function.
    pub(crate) async fn start(self) -> anyhow::Result<Started> {
        let (stopper, stop) = stop::channel();
        let (tell, ended) = watch::channel(None);
        let function = match self {
            Self::Inference(args) => {
                // Loading a sub-model takes its time on a small board.
                let built = tokio::task::spawn_blocking(move || inference::build(args));
                Function::Inference(Arc::new(built.await.context("loading panicked")??))
            }
            Self::Funnel(args) => Function::Funnel(funnel::build(&args).await?),
            Self::Connector(args) => {
                let connector = connector::build(&args).await?;
                tokio::spawn(run_connector(connector, stop, tell));
                Function::Probes
            }
            Self::KafkaMl(args) => {
                let connector = kafka_ml::build(*args).await?;
                tokio::spawn(run_connector(connector, stop, tell));
                Function::Probes
            }
            Self::Wait(args) => wait::build(&args),
        };
        Ok(Started { function, stopper: Arc::new(stopper), ended })
    }
}

async fn run_connector(
    connector: function::Connector,
    stop: Stop,
    tell: watch::Sender<Option<String>>,
) {
    let counters = connector.counters();
    let ended = connector.run(stop).await;
    tracing::info!(counts = ?counters.counts(), "connector stopped");
    tell.send_replace(Some(ended.map_or_else(|error| error.to_string(), |()| ENDED.to_owned())));
}

impl Started {
    /// Returns how its connector ended; never where it has none.
    pub(crate) async fn ended(&self) -> String {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await.map(|reason| reason.clone()) {
            Ok(reason) => reason.unwrap_or_default(),
            // It has none, and ends when it is dropped.
            Err(_) => std::future::pending().await,
        }
    }

    /// Stops it; returns once its connector has left its group.
    pub(crate) async fn stop(&self) {
        self.stopper.stop();
        let _ = self.ended.clone().wait_for(Option::is_some).await;
    }
}

/// The settings of a function from variables, and from nowhere else.
pub(crate) fn settings<A: clap::Args>(variables: &Variables) -> anyhow::Result<A> {
    let command = A::augment_args(clap::Command::new("function").no_binary_name(true));
    let mut given = Vec::new();
    for argument in command.get_arguments() {
        let (Some(long), Some(variable)) = (argument.get_long(), argument.get_env()) else {
            continue;
        };
        let Some(value) = variable.to_str().and_then(|variable| variables.get(variable)) else {
            continue;
        };
        if argument.get_action().takes_values() {
            given.push(format!("--{long}={value}"));
        } else if matches!(value.as_str(), "1" | "true" | "yes") {
            given.push(format!("--{long}"));
        }
    }
    let command = command.mut_args(|argument| argument.env(None::<&str>));
    let matches = command.try_get_matches_from(given).map_err(|error| said(&error))?;
    A::from_arg_matches(&matches).map_err(|error| said(&error))
}

/// An error of clap's without its advice on command lines.
fn said(error: &clap::Error) -> anyhow::Error {
    let text = error.render().to_string();
    let advice = ["\n\nUsage", "\n\nFor more information"];
    let end = advice.iter().filter_map(|advice| text.find(advice)).min();
    let text = &text[..end.unwrap_or(text.len())];
    let text = text.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>();
    anyhow::anyhow!("{}", text.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Variables {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    fn refused(pairs: &[(&str, &str)]) -> String {
        match Kind::of_variables(None, &env(pairs)) {
            Ok(_) => panic!("these are no settings: {pairs:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn settings_come_from_the_environment() {
        let funnel = ("OFFRAMP_FUNCTION", "funnel");
        let servers = ("OFFRAMP_BOOTSTRAP_SERVERS", "kafka:9092");
        assert!(Kind::is_complete(&env(&[funnel, servers, ("OFFRAMP_TOPIC", "in")])));
        assert!(!Kind::is_complete(&env(&[funnel, servers])));
        let model = ("OFFRAMP_MODEL", "edge.onnx");
        assert_eq!(
            refused(&[model, ("OFFRAMP_THRESHOLD", "2")]),
            "invalid value '2' for '--threshold <THRESHOLD>': expected a number from 0 to 1"
        );
        assert_eq!(
            refused(&[]),
            "the following required arguments were not provided: --model <FILE>"
        );
        let unknown = refused(&[("OFFRAMP_FUNCTION", "classifier")]);
        assert!(unknown.contains("`classifier` is not a function"), "{unknown}");
    }
}

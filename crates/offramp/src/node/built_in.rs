//! The built-in functions of the edge runtime: inference, funnel and connector, as instances in this process.
//!
//! Their settings are those of `offramp function`, in the environment variables of its options.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use function::http::server::Function;
use function::{Stop, stop};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use runtime::driver::{Broken, Grace};
use runtime::logs::Logs;
use runtime::{Driver, Instance, Request, Response, Spec};
use tokio::sync::watch;

use crate::commands::function::{connector, funnel, inference};

/// How a connector that was told to stop leaves its group.
const ENDED: &str = "the connector has ended";

/// A built-in function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BuiltIn {
    Inference,
    Funnel,
    Connector,
}

impl BuiltIn {
    /// The drivers of all of them, by image.
    pub(crate) fn drivers() -> BTreeMap<String, Arc<dyn Driver>> {
        let all = [
            ("offramp/inference", Self::Inference),
            ("offramp/funnel", Self::Funnel),
            ("offramp/connector", Self::Connector),
        ];
        let driver = |this| Arc::new(this) as Arc<dyn Driver>;
        all.into_iter().map(|(image, this)| (image.to_owned(), driver(this))).collect()
    }

    async fn start(self, env: &BTreeMap<String, String>) -> anyhow::Result<InProcess> {
        let (stopper, stop) = stop::channel();
        let (tell, ended) = watch::channel(None);
        let function = match self {
            Self::Inference => {
                let args = settings::<inference::Args>(env)?;
                // Loading a sub-model takes its time on a small board.
                let built = tokio::task::spawn_blocking(move || inference::build(args));
                Function::Inference(Arc::new(built.await.context("loading panicked")??))
            }
            Self::Funnel => Function::Funnel(funnel::build(&settings::<funnel::Args>(env)?).await?),
            Self::Connector => {
                let connector = connector::build(&settings::<connector::Args>(env)?).await?;
                tokio::spawn(run_connector(connector, stop, tell));
                Function::Probes
            }
        };
        Ok(InProcess { function, stopper, ended })
    }
}

async fn run_connector(
    connector: function::Connector,
    stop: Stop,
    tell: watch::Sender<Option<String>>,
) {
    let ended = connector.run(stop).await;
    tell.send_replace(Some(ended.map_or_else(|error| error.to_string(), |()| ENDED.to_owned())));
}

/// The settings of a built-in function from its environment variables, and from nowhere else.
fn settings<A: clap::Args>(env: &BTreeMap<String, String>) -> anyhow::Result<A> {
    let command = A::augment_args(clap::Command::new("function").no_binary_name(true));
    let mut given = Vec::new();
    for argument in command.get_arguments() {
        let (Some(long), Some(variable)) = (argument.get_long(), argument.get_env()) else {
            continue;
        };
        let Some(value) = variable.to_str().and_then(|variable| env.get(variable)) else {
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

impl Driver for BuiltIn {
    fn check(&self, spec: &Spec) -> Result<(), String> {
        let checked = match self {
            Self::Inference => settings::<inference::Args>(&spec.env).map(drop),
            Self::Funnel => settings::<funnel::Args>(&spec.env).map(drop),
            Self::Connector => settings::<connector::Args>(&spec.env).map(drop),
        };
        checked.map_err(|error| error.to_string())
    }

    fn start<'a>(
        &'a self,
        spec: &'a Spec,
        _: u64,
        _: &'a Logs,
    ) -> BoxFuture<'a, Result<Box<dyn Instance>, String>> {
        async move {
            let started = (*self).start(&spec.env).await;
            let started = started.map_err(|error| format!("{error:#}"))?;
            Ok(Box::new(started) as Box<dyn Instance>)
        }
        .boxed()
    }
}

/// An instance of a built-in function.
#[derive(Debug)]
struct InProcess {
    function: Function,
    stopper: stop::Stopper,
    /// How its connector ended; stays `None` where it has none.
    ended: watch::Receiver<Option<String>>,
}

impl Instance for InProcess {
    fn call(&self, request: Request) -> BoxFuture<'_, Result<Response, Broken>> {
        async move { Ok(self.function.answer(&request).await) }.boxed()
    }

    fn healthy(&self) -> BoxFuture<'_, Result<(), String>> {
        std::future::ready(Ok(())).boxed()
    }

    fn ended(&self) -> BoxFuture<'_, String> {
        let mut ended = self.ended.clone();
        async move {
            match ended.wait_for(Option::is_some).await.map(|reason| reason.clone()) {
                Ok(reason) => reason.unwrap_or_default(),
                // It has none, and ends when it is dropped.
                Err(_) => std::future::pending().await,
            }
        }
        .boxed()
    }

    fn stop(&self, _: Grace) -> BoxFuture<'_, ()> {
        self.stopper.stop();
        async move {
            let _ = self.ended.clone().wait_for(Option::is_some).await;
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    fn refused<A: clap::Args>(pairs: &[(&str, &str)]) -> String {
        match settings::<A>(&env(pairs)) {
            Ok(_) => panic!("these are no settings: {pairs:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn settings_come_from_the_environment() {
        let env = env(&[("OFFRAMP_BOOTSTRAP_SERVERS", "kafka:9092"), ("OFFRAMP_TOPIC", "in")]);
        assert!(settings::<funnel::Args>(&env).is_ok());
        let model = ("OFFRAMP_MODEL", "edge.onnx");
        assert_eq!(
            refused::<inference::Args>(&[model, ("OFFRAMP_THRESHOLD", "2")]),
            "invalid value '2' for '--threshold <THRESHOLD>': expected a number from 0 to 1"
        );
        assert_eq!(
            refused::<inference::Args>(&[]),
            "the following required arguments were not provided: --model <FILE>"
        );
    }
}

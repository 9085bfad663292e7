//! The built-in functions of the edge runtime: inference, funnel and connector, as instances in this process.
//!
//! Their settings are those of `offramp function`, in the environment variables of its options.

use std::collections::BTreeMap;
use std::sync::Arc;

use function::platform::Variables;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use runtime::driver::{Broken, Grace};
use runtime::logs::Logs;
use runtime::process::Programs;
use runtime::{Driver, Instance, Request, Response, Spec};

use crate::commands::function::kind::{self, Kind, Started};

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

    fn kind(self, env: &Variables) -> anyhow::Result<Kind> {
        Kind::of_variables(Some(self.name()), env)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Inference => "inference",
            Self::Funnel => "funnel",
            Self::Connector => "connector",
        }
    }
}

impl Driver for BuiltIn {
    fn check(&self, spec: &Spec) -> Result<(), String> {
        (*self).kind(&spec.env).map(drop).map_err(|error| error.to_string())
    }

    fn start<'a>(
        &'a self,
        spec: &'a Spec,
        _: u64,
        _: &'a Logs,
    ) -> BoxFuture<'a, Result<Box<dyn Instance>, String>> {
        async move {
            let kind = (*self).kind(&spec.env).map_err(|error| error.to_string())?;
            start(kind).await
        }
        .boxed()
    }
}

async fn start(kind: Kind) -> Result<Box<dyn Instance>, String> {
    let started = kind.start().await.map_err(|error| format!("{error:#}"))?;
    Ok(Box::new(InProcess(started)))
}

/// What images are that are not built in by their names: the container image of this project, whose environment says
/// which function it is (as `offramp deploy render` writes it), and which needs no container here; and programs.
#[derive(Debug)]
pub(crate) struct Images(pub(crate) Arc<Programs>);

/// Whether a function is one of ours, by its image or its environment.
pub(crate) fn is_ours(spec: &Spec) -> bool {
    spec.image.starts_with("offramp/") || is_contained(spec)
}

fn is_contained(spec: &Spec) -> bool {
    spec.command.is_empty() && spec.env.contains_key(kind::NAME)
}

impl Driver for Images {
    fn check(&self, spec: &Spec) -> Result<(), String> {
        if !is_contained(spec) {
            return self.0.check(spec);
        }
        Kind::of_variables(None, &spec.env).map(drop).map_err(|error| error.to_string())
    }

    fn start<'a>(
        &'a self,
        spec: &'a Spec,
        number: u64,
        logs: &'a Logs,
    ) -> BoxFuture<'a, Result<Box<dyn Instance>, String>> {
        if !is_contained(spec) {
            return Driver::start(&*self.0, spec, number, logs);
        }
        async move {
            let kind = Kind::of_variables(None, &spec.env).map_err(|error| error.to_string())?;
            start(kind).await
        }
        .boxed()
    }
}

/// An instance of a built-in function.
#[derive(Debug)]
struct InProcess(Started);

impl Instance for InProcess {
    fn call(&self, request: Request) -> BoxFuture<'_, Result<Response, Broken>> {
        async move { Ok(self.0.function.answer(&request).await) }.boxed()
    }

    fn healthy(&self) -> BoxFuture<'_, Result<(), String>> {
        std::future::ready(Ok(())).boxed()
    }

    fn ended(&self) -> BoxFuture<'_, String> {
        self.0.ended().boxed()
    }

    fn stop(&self, _: Grace) -> BoxFuture<'_, ()> {
        self.0.stop().boxed()
    }
}

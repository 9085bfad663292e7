//! The edge runtime of `offramp up`: the functions of the pipeline file and those that are deployed, in this process
//! and as its children.

mod built_in;
pub(crate) mod status;
mod triggers;

use std::sync::Arc;

use anyhow::Context as _;
use function::Failure;
use function::http::Local;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use pipeline::functions::{Function, Runtime};
use runtime::deployment::Resources;
use runtime::functions::{Drivers, Functions};
use runtime::pool::CallError;
use runtime::process::Programs;
use runtime::{Deployment, Request, Response};

use crate::outcome::OrConfig as _;
use built_in::BuiltIn;
use triggers::Triggers;

/// The edge runtime, under way.
#[derive(Debug)]
pub(crate) struct Node {
    functions: Functions,
    triggers: Triggers,
}

impl Node {
    /// Starts the functions. Those with topics take their records from the broker at `servers`, unless their
    /// environment names another.
    pub(crate) fn start(runtime: &Runtime, servers: &str) -> anyhow::Result<Self> {
        let secrets = runtime.dir.join("secrets");
        let run = runtime.dir.join("run");
        let programs = Programs::new(runtime.programs.clone(), secrets, run)
            .with_context(|| format!("the runtime's folder {}", runtime.dir.display()))
            .or_config()?;
        for program in runtime.functions.iter().filter_map(|function| function.command.first()) {
            programs.configured(program.into());
        }
        let drivers = Drivers { built_in: BuiltIn::drivers(), program: Arc::new(programs) };
        let functions = Functions::open(runtime.dir.clone(), drivers).or_config()?;
        for function in &runtime.functions {
            functions.fix(deployment(function)).or_config()?;
        }
        let triggers = Triggers::start(functions.clone(), servers.to_owned());
        Ok(Self { functions, triggers })
    }

    /// The functions.
    pub(crate) fn functions(&self) -> &Functions {
        &self.functions
    }

    /// Stops taking records, has all functions finish their calls, and ends them.
    pub(crate) async fn close(self) {
        self.triggers.stop().await;
        self.functions.close().await;
    }
}

/// A function of this process as the record path calls it.
pub(crate) fn local(functions: &Functions, name: &str) -> Arc<dyn Local> {
    Arc::new(Callee { functions: functions.clone(), name: name.to_owned() })
}

#[derive(Debug)]
struct Callee {
    functions: Functions,
    name: String,
}

impl Local for Callee {
    fn answer(&self, mut request: Request) -> BoxFuture<'_, Result<Response, Failure>> {
        // The function sees what comes after its name.
        *request.uri_mut() = "/".parse().expect("it is a path");
        async move {
            let called = self.functions.call(&self.name, request).await;
            called
                .ok_or_else(|| {
                    Failure::Unavailable(format!("function `{}` is not there", self.name))
                })?
                .map_err(|error| failure(&error))
        }
        .boxed()
    }
}

fn failure(error: &CallError) -> Failure {
    match error {
        CallError::Overloaded { retry_after, .. } => {
            Failure::Overloaded { retry_after: *retry_after }
        }
        CallError::NoInstance { .. } | CallError::Closed { .. } => {
            Failure::Unavailable(error.to_string())
        }
        CallError::Late { .. } | CallError::Broken { .. } => Failure::Failed(error.to_string()),
    }
}

/// A function of the pipeline file as what is asked of the runtime.
fn deployment(function: &Function) -> Deployment {
    let mut labels = Vec::new();
    let mut label = |key: &str, value: Option<String>| {
        labels.extend(value.map(|value| (format!("{}.{key}", runtime::SCALE_LABELS), value)));
    };
    label("min", function.min_scale.map(|n| n.to_string()));
    label("max", function.max_scale.map(|n| n.to_string()));
    label("zero", function.zero_after.map(|_| "true".to_owned()));
    let millis = |time: std::time::Duration| format!("{}ms", time.as_millis());
    label("zero-duration", function.zero_after.map(millis));
    let mut env_vars = function.env.clone();
    env_vars.extend(function.concurrency.map(|n| ("max_inflight".to_owned(), n.to_string())));
    env_vars.extend(function.timeout.map(|time| ("exec_timeout".to_owned(), millis(time))));
    let mut annotations = Vec::new();
    if !function.topics.is_empty() {
        annotations.push(("topic".to_owned(), function.topics.join(",")));
    }
    let health = |path: &String| (runtime::HEALTH_ANNOTATION.to_owned(), path.clone());
    annotations.extend(function.health_path.as_ref().map(health));
    let program = function.command.first().map(|_| "program".to_owned());
    Deployment {
        service: function.name.clone(),
        image: program.unwrap_or_else(|| function.image.clone()),
        env_process: function.command.join(" "),
        env_vars,
        secrets: function.secrets.clone(),
        labels: labels.into_iter().collect(),
        annotations: annotations.into_iter().collect(),
        limits: Resources {
            memory: function.memory_mib.map(|mib| format!("{mib}Mi")).unwrap_or_default(),
            cpu: function.cpu_millis.map(|millis| format!("{millis}m")).unwrap_or_default(),
        },
        ..Deployment::default()
    }
}

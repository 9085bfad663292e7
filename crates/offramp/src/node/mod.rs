//! The edge runtime of `offramp up`: the functions of the pipeline file and those that are deployed, in this process
//! and as its children.

mod built_in;
mod control;
mod overseer;
pub(crate) mod status;
mod triggers;

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use anyhow::Context as _;
use function::Failure;
use function::http::Local;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use pipeline::functions::{Function, Runtime};
use runtime::deployment::Resources;
use runtime::functions::{Drivers, Functions};
use runtime::gateway::{Auth, Config};
use runtime::pool::CallError;
use runtime::process::Programs;
use runtime::{Deployment, Driver, Gateway, Request, Response, Secrets, Spec};

use crate::outcome::OrConfig as _;
use built_in::{BuiltIn, Images};
pub(crate) use control::{Control, Reload};
pub(crate) use overseer::Overseer;
use triggers::Triggers;

/// Somebody may execute a file with one of these bits.
const EXECUTABLE: u32 = 0o111;

/// The edge runtime, under way.
#[derive(Debug)]
pub(crate) struct Node {
    functions: Functions,
    secrets: Secrets,
    programs: Arc<Programs>,
    triggers: Triggers,
    /// As it runs.
    runtime: Runtime,
}

impl Node {
    /// Starts the functions. Those with topics take their records from the broker at `servers`, unless their
    /// environment names another.
    pub(crate) fn start(runtime: &Runtime, servers: &str) -> anyhow::Result<Self> {
        let dir = &runtime.dir;
        let secrets = Secrets::open(dir.join("secrets")).or_config()?;
        let programs = Programs::new(runtime.programs.clone(), secrets.clone(), dir.join("run"))
            .with_context(|| format!("the runtime's folder {}", dir.display()))
            .or_config()?;
        let programs = Arc::new(programs);
        let program: Arc<dyn Driver> = Arc::new(Images(Arc::clone(&programs)));
        let drivers = Drivers { built_in: BuiltIn::drivers(), program };
        let functions = Functions::open(dir.clone(), drivers).or_config()?;
        for function in &runtime.functions {
            allow(&programs, function);
            functions.fix(deployment(function)).or_config()?;
        }
        let triggers = Triggers::start(functions.clone(), servers.to_owned());
        Ok(Self { functions, secrets, programs, triggers, runtime: runtime.clone() })
    }

    /// The functions.
    pub(crate) fn functions(&self) -> &Functions {
        &self.functions
    }

    /// Listens, if there is to be a gateway; with what `offramp ps` and the like ask for.
    pub(crate) async fn gateway(&self, control: Control) -> anyhow::Result<Option<Gateway>> {
        let Some(gateway) = &self.runtime.gateway else { return Ok(None) };
        let mut config = Config::new(gateway.listen, self.runtime.dir.clone());
        if let Some(pipeline::functions::Auth { user, password_file }) = &gateway.auth {
            let password = std::fs::read_to_string(password_file)
                .with_context(|| format!("password file `{}`", password_file.display()))
                .or_config()?;
            config.auth = Some(Auth::new(user, password.trim_end_matches(['\r', '\n'])));
        }
        config.extra = Some(Arc::new(control));
        let functions = self.functions.clone();
        Ok(Some(Gateway::bind(config, functions, self.secrets.clone()).await?))
    }

    /// Takes functions from a file that was read again: new versions run before they take the place of the old ones.
    /// Returns a line for each function that changes.
    pub(crate) fn reload(&mut self, runtime: &Runtime) -> anyhow::Result<Vec<String>> {
        let mut lines = Vec::new();
        for function in &runtime.functions {
            let name = &function.name;
            let old = self.runtime.functions.iter().find(|old| old.name == *name);
            if old == Some(function) {
                continue;
            }
            allow(&self.programs, function);
            if old.is_some() {
                self.functions.update(deployment(function))?;
                lines.push(format!("function `{name}`: is updated"));
            } else {
                self.functions.fix(deployment(function))?;
                lines.push(format!("function `{name}`: is new"));
            }
        }
        for old in &self.runtime.functions {
            let name = &old.name;
            if !runtime.functions.iter().any(|function| function.name == *name) {
                self.functions.remove(name)?;
                lines.push(format!("function `{name}`: is removed"));
            }
        }
        if runtime.gateway != self.runtime.gateway || runtime.dir != self.runtime.dir {
            lines
                .push("[gateway] and [runtime]: what has changed there takes a restart".to_owned());
        }
        self.runtime.functions.clone_from(&runtime.functions);
        Ok(lines)
    }

    /// Stops taking records, has all functions finish their calls, and ends them.
    pub(crate) async fn close(self) {
        self.triggers.stop().await;
        self.functions.close().await;
    }
}

/// Whether a function of the file can run, as far as it can be said without running it; what it runs.
pub(crate) fn check(function: &Function) -> Result<String, String> {
    let spec = Spec::of(&deployment(function)).map_err(|error| error.to_string())?;
    let Some(program) = function.command.first() else {
        let built_in = BuiltIn::drivers();
        let driver = built_in.get(&function.image).ok_or_else(|| {
            let known = built_in.keys().cloned().collect::<Vec<_>>().join(", ");
            format!("image `{}` is not built in, expected one of {known}", function.image)
        })?;
        return driver.check(&spec).map(|()| function.image.clone());
    };
    match std::fs::metadata(program) {
        Ok(file) if file.is_file() && file.permissions().mode() & EXECUTABLE != 0 => {
            Ok(function.command.join(" "))
        }
        Ok(_) => Err(format!("`{program}` is not a program: expected a file that may be executed")),
        Err(error) => Err(format!("program `{program}`: {error}")),
    }
}

/// Lets a function of the file be its program, wherever that is.
fn allow(programs: &Programs, function: &Function) {
    if let Some(program) = function.command.first() {
        programs.configured(program.into());
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

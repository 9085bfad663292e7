//! The functions of this node: deployed, updated, removed, called, and there again after a restart.
//!
//! An update starts the new instances first. Once they take calls, the old ones finish theirs and end; if they never
//! do, the function stays what it was, and its logs say why.
//!
//! A function goes by its key, see [`crate::deployment::key`]: its name, with its namespace unless that is the default
//! one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::counts::Counts;
use crate::deployment::Deployment;
use crate::driver::{Driver, Request, Response};
use crate::files;
use crate::logs::Logs;
use crate::pool::{CallError, Pool};
use crate::spec::{Invalid, Spec};
use crate::timestamp;

/// Functions that a node has at most.
const MAX_FUNCTIONS: usize = 1000;
/// Where the functions that were deployed are written down.
const FILE: &str = "functions.json";
/// A new version has this long to take calls.
const UPDATE_TIMEOUT: Duration = Duration::from_mins(1);
/// A new version whose instances failed this many times is not what its function becomes.
const UPDATE_FAILURES: u64 = 3;

/// What runs a function, by its image.
#[derive(Debug, Clone)]
pub struct Drivers {
    /// Built-in functions by their images, without tags.
    pub built_in: BTreeMap<String, Arc<dyn Driver>>,
    /// Programs.
    pub program: Arc<dyn Driver>,
}

impl Drivers {
    fn of(&self, image: &str) -> &Arc<dyn Driver> {
        let name = image.rsplit_once(':').map_or(image, |(name, _)| name);
        self.built_in.get(name).unwrap_or(&self.program)
    }
}

/// A function that is there.
#[derive(Debug)]
pub struct Function {
    /// As it was asked for.
    pub deployment: Deployment,
    /// As it runs.
    pub spec: Arc<Spec>,
    /// When it was deployed first.
    pub created: SystemTime,
    /// What it has written.
    pub logs: Logs,
    /// The calls that it had, those of its earlier versions with them.
    pub counts: Arc<Counts>,
    /// Its instances.
    pub pool: Pool,
}

/// Why functions are not as they were asked to be.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message is its documentation")]
pub enum DeployError {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error("function `{name}`: {reason}")]
    CanNotRun { name: String, reason: String },
    #[error("function `{0}` exists already, expected a new name, or an update")]
    Exists(String),
    #[error("function `{0}` is not there")]
    NotFound(String),
    #[error("there are {MAX_FUNCTIONS} functions, which is as many as may")]
    TooMany,
    #[error("{}: the functions can't be written down: {source}", path.display())]
    Store { path: PathBuf, source: std::io::Error },
    #[error("{}: not the functions of an earlier run: {reason}", path.display())]
    Stored { path: PathBuf, reason: String },
}

/// The functions of this node. Clones are the same ones.
#[derive(Debug, Clone)]
pub struct Functions {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    drivers: Drivers,
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    functions: BTreeMap<String, Arc<Function>>,
    /// Versions that are to replace these, once they take calls.
    updates: BTreeMap<String, AbortHandle>,
    /// Those that were there when the process started, and are not written down: the file of the pipeline has them.
    fixed: Vec<String>,
    /// Those of earlier runs that can't run in this one. They may in the next: a program was missing, perhaps.
    unable: BTreeMap<String, Written<Deployment>>,
}

impl Functions {
    /// The functions that were deployed in earlier runs, as written down in the folder `dir`, which is made.
    pub fn open(dir: PathBuf, drivers: Drivers) -> Result<Self, DeployError> {
        let path = dir.join(FILE);
        let stored = |reason: String| DeployError::Stored { path: path.clone(), reason };
        std::fs::create_dir_all(&dir).map_err(|error| stored(error.to_string()))?;
        let written: Vec<Written<Deployment>> = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| stored(error.to_string()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(stored(error.to_string())),
        };
        let shared =
            Shared { dir, drivers, state: Mutex::default(), changed: watch::Sender::new(()) };
        let this = Self { shared: Arc::new(shared) };
        for written in written {
            let name = written.deployment.key();
            let created = written.created.as_deref().and_then(timestamp::parse);
            let past = created.map_or_else(Past::default, Past::since);
            // One that can't run any more must not keep the others from it.
            if let Err(error) = this.add(written.deployment.clone(), past) {
                tracing::error!(function = name, "not there again: {error}");
                this.shared.state().unable.insert(name, written);
            }
        }
        Ok(this)
    }

    /// Adds a function that is not written down: it comes from the configuration, at each start.
    pub fn fix(&self, deployment: Deployment) -> Result<(), DeployError> {
        let name = deployment.key();
        self.shared.state().functions.remove(&name);
        self.add(deployment, Past::default())?;
        self.shared.state().fixed.push(name);
        Ok(())
    }

    /// Deploys a new function. Its first instance starts.
    pub fn deploy(&self, deployment: Deployment) -> Result<(), DeployError> {
        let name = deployment.key();
        self.add(deployment, Past::default())?;
        if let Err(error) = self.store() {
            self.shared.state().functions.remove(&name);
            return Err(error);
        }
        Ok(())
    }

    fn add(&self, deployment: Deployment, past: Past) -> Result<(), DeployError> {
        let (spec, driver) = self.understood(&deployment)?;
        let mut state = self.shared.state();
        if state.functions.contains_key(&spec.name) {
            return Err(DeployError::Exists(spec.name));
        }
        if MAX_FUNCTIONS <= state.functions.len() {
            return Err(DeployError::TooMany);
        }
        let function = Function::start(deployment, spec, driver, past, 1);
        state.unable.remove(&function.spec.name);
        state.functions.insert(function.spec.name.clone(), Arc::new(function));
        drop(state);
        self.shared.changed.send_replace(());
        Ok(())
    }

    fn understood(&self, deployment: &Deployment) -> Result<(Spec, Arc<dyn Driver>), DeployError> {
        let spec = Spec::of(deployment)?;
        let driver = Arc::clone(self.shared.drivers.of(&spec.image));
        driver
            .check(&spec)
            .map_err(|reason| DeployError::CanNotRun { name: spec.name.clone(), reason })?;
        Ok((spec, driver))
    }

    /// Makes a function another version of itself, once that takes calls. A later update takes the place of one that
    /// has not come so far.
    pub fn update(&self, deployment: Deployment) -> Result<(), DeployError> {
        let key = deployment.key();
        let old = self.get(&key).ok_or(DeployError::NotFound(key))?;
        let (spec, driver) = self.understood(&deployment)?;
        let name = spec.name.clone();
        let wanted = old.pool.load().wanted.max(1);
        let image = spec.image.clone();
        let new = Function::start(deployment, spec, driver, old.past(), wanted);
        let this = self.clone();
        let update = tokio::spawn({
            let name = name.clone();
            async move {
                let instances = old.pool.load().ready.clamp(1, new.spec.scaling.max);
                match new.pool.ready(instances, UPDATE_FAILURES, UPDATE_TIMEOUT).await {
                    Ok(()) => this.replace(&name, &old, new).await,
                    Err(reason) => {
                        let text =
                            format!("no update to {image}, the function stays as it was: {reason}");
                        tracing::warn!(function = name, "{text}");
                        old.logs.say(&text);
                        old.pool.note_failure(text);
                    }
                }
            }
        });
        let earlier = self.shared.state().updates.insert(name, update.abort_handle());
        if let Some(earlier) = earlier {
            earlier.abort();
        }
        Ok(())
    }

    async fn replace(&self, name: &str, old: &Arc<Function>, new: Function) {
        {
            let mut state = self.shared.state();
            match state.functions.get_mut(name) {
                Some(function) if Arc::ptr_eq(function, old) => *function = Arc::new(new),
                // It was removed meanwhile.
                _ => return,
            }
        }
        if let Err(error) = self.store() {
            tracing::error!(function = name, "the update is gone after a restart: {error}");
        }
        self.shared.changed.send_replace(());
        old.pool.close().await;
    }

    /// Removes a function. Its instances finish their calls and end, which is not waited for.
    pub fn remove(&self, name: &str) -> Result<(), DeployError> {
        let removed = {
            let mut state = self.shared.state();
            if let Some(update) = state.updates.remove(name) {
                update.abort();
            }
            let was_unable = state.unable.remove(name).is_some();
            match state.functions.remove(name) {
                None if !was_unable => return Err(DeployError::NotFound(name.to_owned())),
                removed => removed,
            }
        };
        if let Some(removed) = removed {
            // Calls that wait have a hold of the function, and would go on to.
            removed.pool.give_up();
            removed.logs.say("removed");
        }
        self.shared.changed.send_replace(());
        self.store()
    }

    /// The function of that name.
    pub fn get(&self, name: &str) -> Option<Arc<Function>> {
        self.shared.state().functions.get(name).cloned()
    }

    /// All functions, by name.
    pub fn all(&self) -> Vec<Arc<Function>> {
        self.shared.state().functions.values().cloned().collect()
    }

    /// Changes when a function is deployed, updated or removed.
    pub fn changed(&self) -> watch::Receiver<()> {
        self.shared.changed.subscribe()
    }

    /// Calls a function; `None` if it is not there.
    pub async fn call(&self, name: &str, request: Request) -> Option<Result<Response, CallError>> {
        let started = Instant::now();
        loop {
            let function = self.get(name)?;
            let called = function.pool.call(request.clone()).await;
            // Another version has taken its place after it was looked up.
            if let Err(CallError::Closed { .. }) = &called
                && self.get(name).is_some_and(|newer| !Arc::ptr_eq(&newer, &function))
            {
                continue;
            }
            let status = called.as_ref().map_or_else(CallError::status, Response::status);
            function.counts.note(status, started.elapsed());
            return Some(called);
        }
    }

    /// Has all instances finish their calls and end.
    pub async fn close(&self) {
        for (_, update) in std::mem::take(&mut self.shared.state().updates) {
            update.abort();
        }
        let closing =
            self.all().into_iter().map(|function| async move { function.pool.close().await });
        futures_util::future::join_all(closing).await;
    }

    /// Writes down what was deployed.
    fn store(&self) -> Result<(), DeployError> {
        let path = self.shared.dir.join(FILE);
        let state = self.shared.state();
        let deployed = state.functions.iter().filter(|(key, _)| !state.fixed.contains(key));
        let deployed = deployed.map(|(_, function)| Written {
            deployment: &function.deployment,
            created: Some(timestamp::format(function.created)),
        });
        let unable = state.unable.values().map(|written| Written {
            deployment: &written.deployment,
            created: written.created.clone(),
        });
        let deployed: Vec<_> = deployed.chain(unable).collect();
        let text = serde_json::to_vec_pretty(&deployed).expect("deployments are plain JSON");
        // Under the lock, so that the last state is the one that stays.
        files::write_whole(&path, &text, files::PRIVATE)
            .map_err(|source| DeployError::Store { path, source })
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

impl Function {
    fn start(
        deployment: Deployment,
        spec: Spec,
        driver: Arc<dyn Driver>,
        past: Past,
        wanted: u32,
    ) -> Self {
        let spec = Arc::new(spec);
        let Past { created, logs, counts } = past;
        let pool = Pool::new(Arc::clone(&spec), driver, logs.clone());
        pool.scale_to(wanted.max(spec.scaling.min));
        Self { deployment, spec, created, logs, counts, pool }
    }

    fn past(&self) -> Past {
        let (logs, counts) = (self.logs.clone(), Arc::clone(&self.counts));
        Past { created: self.created, logs, counts }
    }
}

/// A function as it is written down.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written<D> {
    #[serde(flatten)]
    deployment: D,
    /// When it was deployed first.
    created: Option<String>,
}

/// What a function's version has from the one before it.
struct Past {
    created: SystemTime,
    logs: Logs,
    counts: Arc<Counts>,
}

impl Default for Past {
    fn default() -> Self {
        Self::since(SystemTime::now())
    }
}

impl Past {
    fn since(created: SystemTime) -> Self {
        Self { created, logs: Logs::default(), counts: Arc::default() }
    }
}

//! Namespaces: the default one, and those that were made, kept on the disk. They keep the names of functions and
//! secrets apart; functions of all of them share this machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use super::answer::{Answer, Refusal, either, json, not_allowed};
use super::route::{Asked, done, on_disk};
use crate::deployment::DEFAULT_NAMESPACE;
use crate::files;
use crate::spec::{NAMESPACES, is_namespace};

/// Namespaces that were made, at most.
const MAX_NAMESPACES: usize = 100;
/// Where they are written down.
const FILE: &str = "namespaces.json";

/// Why namespaces are not as they were asked to be.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message is its documentation")]
pub enum NamespaceError {
    #[error("namespace: `{0}` is not a name, expected {NAMESPACES}")]
    Name(String),
    #[error("namespace `{DEFAULT_NAMESPACE}` is the default one, which stays as it is")]
    Default,
    #[error("namespace `{0}` exists already, expected a new name, or an update")]
    Exists(String),
    #[error("namespace `{0}` is not there")]
    NotFound(String),
    #[error("namespace `{name}` has {functions} functions and {secrets} secrets, expected none")]
    InUse { name: String, functions: usize, secrets: usize },
    #[error("there are {MAX_NAMESPACES} namespaces, which is as many as may")]
    TooMany,
    #[error("{}: {source}", path.display())]
    Store { path: PathBuf, source: std::io::Error },
}

/// A namespace, as the API has it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Namespace {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<BTreeMap<String, String>>,
}

/// The namespaces of this node. Clones are the same ones.
#[derive(Debug, Clone)]
pub(super) struct Namespaces {
    path: PathBuf,
    made: Arc<Mutex<BTreeMap<String, Namespace>>>,
}

impl Namespaces {
    /// Those that were made in earlier runs, as written down in the folder `dir`, which is made.
    pub(super) fn open(dir: &Path) -> Result<Self, NamespaceError> {
        let path = dir.join(FILE);
        let failed = |source| NamespaceError::Store { path: path.clone(), source };
        files::make_private_dir(dir).map_err(failed)?;
        let made: Vec<Namespace> = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| failed(error.into()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(error)),
        };
        let made = made.into_iter().map(|namespace| (namespace.name.clone(), namespace));
        Ok(Self { path, made: Arc::new(Mutex::new(made.collect())) })
    }

    /// The names of all, the default one first.
    pub(super) fn names(&self) -> Vec<String> {
        let made = self.made();
        std::iter::once(DEFAULT_NAMESPACE.to_owned()).chain(made.keys().cloned()).collect()
    }

    /// Whether a namespace is there.
    pub(super) fn check(&self, name: &str) -> Result<(), NamespaceError> {
        if name == DEFAULT_NAMESPACE || self.made().contains_key(name) {
            return Ok(());
        }
        Err(NamespaceError::NotFound(name.to_owned()))
    }

    fn get(&self, name: &str) -> Option<Namespace> {
        if name == DEFAULT_NAMESPACE {
            return Some(Namespace { name: name.to_owned(), ..Namespace::default() });
        }
        self.made().get(name).cloned()
    }

    /// Changes what there is, unless it can't be written down.
    fn change(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, Namespace>) -> Result<(), NamespaceError>,
    ) -> Result<(), NamespaceError> {
        let mut made = self.made();
        let mut changed = made.clone();
        change(&mut changed)?;
        let all: Vec<&Namespace> = changed.values().collect();
        let text = serde_json::to_vec_pretty(&all).expect("namespaces are plain JSON");
        files::write_whole(&self.path, &text, files::PRIVATE)
            .map_err(|source| NamespaceError::Store { path: self.path.clone(), source })?;
        *made = changed;
        Ok(())
    }

    fn create(&self, namespace: Namespace) -> Result<(), NamespaceError> {
        let name = namespace.name.clone();
        if !is_namespace(&name) {
            return Err(NamespaceError::Name(name));
        }
        if name == DEFAULT_NAMESPACE {
            return Err(NamespaceError::Exists(name));
        }
        self.change(|made| {
            if made.contains_key(&name) {
                return Err(NamespaceError::Exists(name));
            }
            if MAX_NAMESPACES <= made.len() {
                return Err(NamespaceError::TooMany);
            }
            made.insert(name, namespace);
            Ok(())
        })
    }

    fn update(&self, namespace: Namespace) -> Result<(), NamespaceError> {
        let name = namespace.name.clone();
        if name == DEFAULT_NAMESPACE {
            return Err(NamespaceError::Default);
        }
        self.change(|made| {
            let old = made.get_mut(&name).ok_or(NamespaceError::NotFound(name))?;
            *old = namespace;
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> Result<(), NamespaceError> {
        if name == DEFAULT_NAMESPACE {
            return Err(NamespaceError::Default);
        }
        self.change(|made| match made.remove(name) {
            Some(_) => Ok(()),
            None => Err(NamespaceError::NotFound(name.to_owned())),
        })
    }

    fn made(&self) -> MutexGuard<'_, BTreeMap<String, Namespace>> {
        self.made.lock().expect("no holder panics")
    }
}

/// Answers `/system/namespace/…`. The name of a new one is in the body alone, and may be for the others.
pub(super) async fn answer(asked: &Asked<'_>) -> Answer {
    either(changed(asked).await)
}

async fn changed(asked: &Asked<'_>) -> Result<Answer, Refusal> {
    let method = asked.method();
    let mut namespace: Namespace =
        if asked.body.is_empty() { Namespace::default() } else { asked.json()? };
    if !asked.rest.is_empty() {
        asked.rest.clone_into(&mut namespace.name);
    }
    let name = namespace.name.clone();
    if name.is_empty() {
        return Err(NamespaceError::Name(name).into());
    }
    let namespaces = asked.shared.namespaces.clone();
    let (status, changing) = match *method {
        Method::GET => {
            let found = namespaces.get(&name).ok_or(NamespaceError::NotFound(name))?;
            return Ok(json(&found));
        }
        Method::POST => (StatusCode::CREATED, on_disk(move || namespaces.create(namespace)).await),
        Method::PUT => (StatusCode::ACCEPTED, on_disk(move || namespaces.update(namespace)).await),
        Method::DELETE => {
            namespaces.check(&name)?;
            let removed = match in_use(asked, &name) {
                Some(error) => Err(error),
                None => on_disk(move || namespaces.remove(&name)).await,
            };
            (StatusCode::ACCEPTED, removed)
        }
        _ => return Ok(not_allowed("GET, POST, PUT, DELETE")),
    };
    changing?;
    Ok(done(status))
}

/// A namespace goes only when nothing would go with it.
fn in_use(asked: &Asked<'_>, name: &str) -> Option<NamespaceError> {
    let all = asked.shared.functions.all();
    let functions = all.iter().filter(|function| function.spec.namespace == name).count();
    let secrets = asked.shared.secrets.names(name).map_or(0, |names| names.len());
    let is_empty = functions == 0 && secrets == 0 || name == DEFAULT_NAMESPACE;
    (!is_empty).then(|| NamespaceError::InUse { name: name.to_owned(), functions, secrets })
}

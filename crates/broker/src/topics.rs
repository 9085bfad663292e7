//! The catalogue of topics: a directory per topic, in it a directory per partition.
//!
//! ```text
//! topics/<name>/<partition>/…      the log of a partition
//! staging/…                        topics being created or removed; emptied at every start
//! ```
//!
//! A topic appears and disappears in one step, by being renamed out of or into `staging`, so that a crash
//! leaves no half of one. All changes are durable when they return, and block: call them off the runtime.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use uuid::Uuid;

use crate::log::flusher::{Flush, Flusher};
use crate::log::partition::Partition;
use crate::log::recovery::OpenError;
use crate::log::segment::sync_dir;
use crate::log::store::LogBounds;

/// Longest name: with the directory of a partition it stays a legal file name everywhere.
const MAX_NAME_BYTES: usize = 249;

/// Why the catalogue was not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TopicError {
    #[error(
        "topic name `{name}` is not 1 to {MAX_NAME_BYTES} letters, digits, `.`, `_` or `-`, \
         or it is `.` or `..`"
    )]
    InvalidName { name: String },
    #[error("topic `{name}` exists")]
    Exists { name: String },
    #[error("topic `{name}` does not exist")]
    Unknown { name: String },
    #[error("{partitions} partitions for topic `{name}`: at least one is needed")]
    NoPartitions { name: String, partitions: i64 },
    #[error("topic `{name}` would be one more than the {bound} that are allowed")]
    TooManyTopics { name: String, bound: usize },
    #[error(
        "{partitions} partitions for topic `{name}` would make more than the {bound} allowed in all"
    )]
    TooManyPartitions { name: String, partitions: i64, bound: usize },
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) partitions: Vec<Arc<Partition>>,
}

impl Topic {
    pub(crate) fn partition(&self, index: i32) -> Option<&Arc<Partition>> {
        self.partitions.get(usize::try_from(index).ok()?)
    }
}

/// What bounds the catalogue and each of its logs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TopicBounds {
    pub(crate) topics: usize,
    pub(crate) partitions: usize,
    pub(crate) log: LogBounds,
}

#[derive(Debug)]
pub(crate) struct Topics {
    dir: PathBuf,
    staging: PathBuf,
    bounds: TopicBounds,
    flush: Flush,
    flusher: Flusher,
    by_name: RwLock<BTreeMap<String, Arc<Topic>>>,
    /// Held while the catalogue changes, so that changes come one after the other.
    changing: Mutex<()>,
}

impl Topics {
    /// Opens all topics under `dir`, creating what is missing.
    pub(crate) fn open(
        dir: &Path,
        bounds: TopicBounds,
        flush: Flush,
        flusher: Flusher,
    ) -> Result<Self, TopicError> {
        let topics = Self {
            dir: dir.join("topics"),
            staging: dir.join("staging"),
            bounds,
            flush,
            flusher,
            by_name: RwLock::default(),
            changing: Mutex::default(),
        };
        if topics.staging.exists() {
            fs::remove_dir_all(&topics.staging).map_err(at(&topics.staging))?;
        }
        for path in [&topics.dir, &topics.staging] {
            fs::create_dir_all(path).map_err(at(path))?;
        }
        sync_dir(dir).map_err(at(dir))?;
        let mut by_name = BTreeMap::new();
        for entry in fs::read_dir(&topics.dir).map_err(at(&topics.dir))? {
            let path = entry.map_err(at(&topics.dir))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if is_valid_name(name) && path.is_dir() {
                by_name.insert(name.to_owned(), Arc::new(topics.open_topic(name)?));
            }
        }
        topics.by_name.write().unwrap_or_else(PoisonError::into_inner).extend(by_name);
        Ok(topics)
    }

    fn open_topic(&self, name: &str) -> Result<Topic, TopicError> {
        let dir = self.dir.join(name);
        let mut partitions = Vec::new();
        while dir.join(partitions.len().to_string()).is_dir() {
            let dir = dir.join(partitions.len().to_string());
            let (log, flusher) = (self.bounds.log, self.flusher.clone());
            partitions.push(Partition::open(&dir, log, self.flush, flusher)?);
        }
        Ok(Topic { name: name.to_owned(), partitions })
    }

    /// The map is whole before and after each change, so a panic in between harms nothing.
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Arc<Topic>>> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.read().get(name).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        self.read().values().cloned().collect()
    }

    pub(crate) fn partition(&self, name: &str, index: i32) -> Option<Arc<Partition>> {
        self.read().get(name)?.partition(index).cloned()
    }

    /// Whether a topic could be created, without creating it.
    pub(crate) fn check_create(&self, name: &str, partitions: i64) -> Result<(), TopicError> {
        let name = name.to_owned();
        if !is_valid_name(&name) {
            return Err(TopicError::InvalidName { name });
        }
        if partitions < 1 {
            return Err(TopicError::NoPartitions { name, partitions });
        }
        let by_name = self.read();
        if by_name.contains_key(&name) {
            return Err(TopicError::Exists { name });
        }
        if self.bounds.topics <= by_name.len() {
            return Err(TopicError::TooManyTopics { name, bound: self.bounds.topics });
        }
        let existing: usize = by_name.values().map(|topic| topic.partitions.len()).sum();
        let bound = self.bounds.partitions;
        let all = usize::try_from(partitions).ok().and_then(|more| existing.checked_add(more));
        if all.is_none_or(|all| bound < all) {
            return Err(TopicError::TooManyPartitions { name, partitions, bound });
        }
        Ok(())
    }

    pub(crate) fn create(&self, name: &str, partitions: i64) -> Result<Arc<Topic>, TopicError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_create(name, partitions)?;
        let staged = self.staging.join(Uuid::new_v4().to_string());
        for partition in 0..partitions {
            let dir = staged.join(partition.to_string());
            fs::create_dir_all(&dir).map_err(at(&dir))?;
        }
        sync_dir(&staged).map_err(at(&staged))?;
        let dir = self.dir.join(name);
        fs::rename(&staged, &dir).map_err(at(&dir))?;
        sync_dir(&self.dir).map_err(at(&self.dir))?;
        let topic = Arc::new(self.open_topic(name)?);
        let mut by_name = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        by_name.insert(name.to_owned(), Arc::clone(&topic));
        Ok(topic)
    }

    pub(crate) fn delete(&self, name: &str) -> Result<(), TopicError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let unknown = || TopicError::Unknown { name: name.to_owned() };
        let topic = self.get(name).ok_or_else(unknown)?;
        let staged = self.staging.join(Uuid::new_v4().to_string());
        let dir = self.dir.join(name);
        fs::rename(&dir, &staged).map_err(at(&dir))?;
        self.by_name.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        for partition in &topic.partitions {
            partition.delete();
        }
        sync_dir(&self.dir).map_err(at(&self.dir))?;
        fs::remove_dir_all(&staged).map_err(at(&staged))
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> TopicError {
    move |source| TopicError::Io { path: path.to_owned(), source }
}

fn is_valid_name(name: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(is_legal)
        && name != "."
        && name != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_a_directory_can_be_called() {
        for name in ["a", "edge-input", "mnist.edge_1", &"x".repeat(249), "..."] {
            assert!(is_valid_name(name), "{name}");
        }
        for name in ["", ".", "..", "a/b", "../a", "a b", "ä", "a\0", &"x".repeat(250)] {
            assert!(!is_valid_name(name), "{name}");
        }
    }
}

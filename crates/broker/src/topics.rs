//! The catalogue of topics: a directory per topic, in it a directory per partition.
//!
//! ```text
//! topics/<name>/<partition>/…      the log of a partition
//! topics/<name>/config             what was set for the topic
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

use crate::files::{self, sync_dir};
use crate::log::compaction::CompactionBounds;
use crate::log::flusher::{Flush, Flusher};
use crate::log::partition::Partition;
use crate::log::recovery::OpenError;
use crate::log::store::LogConfig;
use crate::topic_config::{ConfigError, Overrides, TopicConfig};

const CONFIG: &str = "config";
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
    #[error("topic `{name}` has {has} partitions; {partitions} would not be more")]
    NotMorePartitions { name: String, has: usize, partitions: i64 },
    #[error("topic `{name}`: {source}")]
    Config { name: String, source: ConfigError },
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) overrides: Overrides,
    /// The defaults and the overrides together.
    pub(crate) config: TopicConfig,
    pub(crate) partitions: Vec<Arc<Partition>>,
}

impl Topic {
    pub(crate) fn partition(&self, index: i32) -> Option<&Arc<Partition>> {
        self.partitions.get(usize::try_from(index).ok()?)
    }
}

/// What bounds the catalogue and its logs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TopicBounds {
    pub(crate) topics: usize,
    pub(crate) partitions: usize,
    /// Idempotent producers of a partition.
    pub(crate) producers: usize,
    pub(crate) compaction: CompactionBounds,
}

#[derive(Debug)]
pub(crate) struct Topics {
    dir: PathBuf,
    staging: PathBuf,
    bounds: TopicBounds,
    defaults: TopicConfig,
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
        defaults: TopicConfig,
        flush: Flush,
        flusher: Flusher,
    ) -> Result<Self, TopicError> {
        let topics = Self {
            dir: dir.join("topics"),
            staging: dir.join("staging"),
            bounds,
            defaults,
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
        let text = files::read(&dir.join(CONFIG)).map_err(at(&dir))?.unwrap_or_default();
        let overrides = Overrides::from_text(&text)
            .map_err(|source| TopicError::Config { name: name.to_owned(), source })?;
        let mut topic = Topic {
            name: name.to_owned(),
            config: overrides.over(&self.defaults),
            overrides,
            partitions: Vec::new(),
        };
        while dir.join(topic.partitions.len().to_string()).is_dir() {
            topic.partitions.push(self.open_partition(&topic)?);
        }
        Ok(topic)
    }

    /// Opens a topic's next partition.
    fn open_partition(&self, topic: &Topic) -> Result<Arc<Partition>, TopicError> {
        let dir = self.dir.join(&topic.name).join(topic.partitions.len().to_string());
        let config = self.log_config(topic.config);
        Ok(Partition::open(&dir, config, self.flush, self.flusher.clone())?)
    }

    fn log_config(&self, topic: TopicConfig) -> LogConfig {
        LogConfig { topic, producers: self.bounds.producers, compaction: self.bounds.compaction }
    }

    /// The map is whole before and after each change, so a panic in between harms nothing.
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Arc<Topic>>> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn defaults(&self) -> &TopicConfig {
        &self.defaults
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
        self.check_room(&by_name, name, partitions, partitions)
    }

    /// Whether there is room for `more` partitions, which would give the topic `partitions`.
    fn check_room(
        &self,
        by_name: &BTreeMap<String, Arc<Topic>>,
        name: String,
        partitions: i64,
        more: i64,
    ) -> Result<(), TopicError> {
        let existing: usize = by_name.values().map(|topic| topic.partitions.len()).sum();
        let bound = self.bounds.partitions;
        let all = usize::try_from(more).ok().and_then(|more| existing.checked_add(more));
        if all.is_none_or(|all| bound < all) {
            return Err(TopicError::TooManyPartitions { name, partitions, bound });
        }
        Ok(())
    }

    pub(crate) fn create(
        &self,
        name: &str,
        partitions: i64,
        overrides: &Overrides,
    ) -> Result<Arc<Topic>, TopicError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_create(name, partitions)?;
        let staged = self.staging.join(Uuid::new_v4().to_string());
        for partition in 0..partitions {
            let dir = staged.join(partition.to_string());
            fs::create_dir_all(&dir).map_err(at(&dir))?;
        }
        files::replace(&staged, CONFIG, &overrides.to_text()).map_err(at(&staged))?;
        let dir = self.dir.join(name);
        fs::rename(&staged, &dir).map_err(at(&dir))?;
        sync_dir(&self.dir).map_err(at(&self.dir))?;
        Ok(self.publish(self.open_topic(name)?))
    }

    fn publish(&self, topic: Topic) -> Arc<Topic> {
        let topic = Arc::new(topic);
        let mut by_name = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        by_name.insert(topic.name.clone(), Arc::clone(&topic));
        topic
    }

    /// How many more partitions a topic needs to have that many, if it could have them.
    pub(crate) fn check_grow(&self, name: &str, partitions: i64) -> Result<i64, TopicError> {
        let topic = self.known(name)?;
        let (name, has) = (name.to_owned(), topic.partitions.len());
        let more = partitions - has as i64;
        if more < 1 {
            return Err(TopicError::NotMorePartitions { name, has, partitions });
        }
        self.check_room(&self.read(), name, partitions, more)?;
        Ok(more)
    }

    /// Gives a topic more partitions. After a crash it may have some of them.
    pub(crate) fn grow(&self, name: &str, partitions: i64) -> Result<(), TopicError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_grow(name, partitions)?;
        let old = self.known(name)?;
        let Topic { name, overrides, config, partitions: existing } = &*old;
        let mut topic = Topic {
            name: name.clone(),
            overrides: overrides.clone(),
            config: *config,
            partitions: existing.clone(),
        };
        let dir = self.dir.join(name);
        while (topic.partitions.len() as i64) < partitions {
            let dir = dir.join(topic.partitions.len().to_string());
            fs::create_dir_all(&dir).map_err(at(&dir))?;
            topic.partitions.push(self.open_partition(&topic)?);
        }
        sync_dir(&dir).map_err(at(&dir))?;
        self.publish(topic);
        Ok(())
    }

    /// Changes what is set for a topic.
    pub(crate) fn configure(&self, name: &str, overrides: Overrides) -> Result<(), TopicError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.known(name)?;
        let dir = self.dir.join(name);
        files::replace(&dir, CONFIG, &overrides.to_text()).map_err(at(&dir))?;
        let config = overrides.over(&self.defaults);
        let (name, partitions) = (name.to_owned(), old.partitions.clone());
        for partition in &partitions {
            partition.configure(self.log_config(config));
        }
        self.publish(Topic { name, overrides, config, partitions });
        Ok(())
    }

    fn known(&self, name: &str) -> Result<Arc<Topic>, TopicError> {
        self.get(name).ok_or_else(|| TopicError::Unknown { name: name.to_owned() })
    }

    pub(crate) fn delete(&self, name: &str) -> Result<(), TopicError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let topic = self.known(name)?;
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

impl TopicError {
    /// Why there is no topic of that name: nobody has created it, or nobody can.
    pub(crate) fn missing(name: &str) -> Self {
        let name = name.to_owned();
        if is_valid_name(&name) { Self::Unknown { name } } else { Self::InvalidName { name } }
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

//! What a broker is, over all its lives: the cluster's id, and the producer ids it has given out.
//!
//! ```text
//! <dir>/lock        held while a broker runs
//! <dir>/identity    "format 1", "cluster <id>", "producers <first unused id>", one per line
//! ```
//!
//! Producer ids are reserved in blocks, so that a restart repeats none and writes the file rarely.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use crate::error::BrokerError;
use crate::files;

const FILE: &str = "identity";
const FORMAT: &str = "1";
/// Producer ids reserved at a time.
const PRODUCER_BLOCK: i64 = 1000;

#[derive(Debug)]
pub(crate) struct Identity {
    dir: PathBuf,
    pub(crate) cluster_id: String,
    producers: Mutex<ProducerIds>,
    /// Held, never read: the lock ends with the process even when nothing closes the file.
    _lock: File,
}

#[derive(Debug, Clone, Copy)]
struct ProducerIds {
    next: i64,
    reserved: i64,
}

impl Identity {
    /// Creates the directory if it is missing, locks it, and reads who it belongs to.
    pub(crate) fn open(dir: &Path) -> Result<Self, BrokerError> {
        let unusable = |source| BrokerError::Directory { path: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(unusable)?;
        let lock = File::create(dir.join("lock")).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(BrokerError::Locked { path: dir.to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        let path = dir.join(FILE);
        let (cluster_id, next) = if let Some(text) = files::read(&path).map_err(unusable)? {
            parse(&text).ok_or(BrokerError::Identity { path })?
        } else {
            let cluster_id = Uuid::new_v4().simple().to_string();
            write(dir, &cluster_id, 0).map_err(unusable)?;
            (cluster_id, 0)
        };
        let producers = Mutex::new(ProducerIds { next, reserved: next });
        Ok(Self { dir: dir.to_owned(), cluster_id, producers, _lock: lock })
    }

    /// An id that no producer of this broker ever had. Blocks, once in a thousand calls.
    pub(crate) fn new_producer_id(&self) -> io::Result<i64> {
        let mut ids = self.producers.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.next == ids.reserved {
            write(&self.dir, &self.cluster_id, ids.reserved + PRODUCER_BLOCK)?;
            ids.reserved += PRODUCER_BLOCK;
        }
        ids.next += 1;
        Ok(ids.next - 1)
    }
}

fn write(dir: &Path, cluster_id: &str, producers: i64) -> io::Result<()> {
    let text = format!("format {FORMAT}\ncluster {cluster_id}\nproducers {producers}\n");
    files::replace(dir, FILE, &text)
}

fn parse(text: &str) -> Option<(String, i64)> {
    let mut lines = text.lines().map(|line| line.split_once(' '));
    let mut value = |name| lines.next()?.filter(|(key, _)| *key == name).map(|(_, value)| value);
    let format = value("format")?;
    let cluster_id = value("cluster")?.to_owned();
    let producers = value("producers")?.parse().ok()?;
    (format == FORMAT).then_some((cluster_id, producers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_repeats_no_producer_id_and_keeps_the_cluster_id() {
        let dir = tempfile::tempdir().unwrap();
        let first = Identity::open(dir.path()).unwrap();
        let ids: Vec<_> = (0..1001).map(|_| first.new_producer_id().unwrap()).collect();
        assert_eq!(ids, (0..1001).collect::<Vec<_>>());
        let cluster_id = first.cluster_id.clone();
        drop(first);
        let second = Identity::open(dir.path()).unwrap();
        assert_eq!(second.cluster_id, cluster_id);
        assert!(1000 < second.new_producer_id().unwrap());
    }

    #[test]
    fn one_directory_serves_one_broker() {
        let dir = tempfile::tempdir().unwrap();
        let _first = Identity::open(dir.path()).unwrap();
        let error = Identity::open(dir.path()).unwrap_err();
        assert!(matches!(error, BrokerError::Locked { .. }), "{error}");
    }

    #[test]
    fn an_identity_that_is_not_one_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "format 2\ncluster x\nproducers 0\n", "format 1\ncluster x\nproducers y\n"]
        {
            fs::write(dir.path().join("identity"), text).unwrap();
            let error = Identity::open(dir.path()).unwrap_err();
            assert!(matches!(error, BrokerError::Identity { .. }), "{text:?}: {error}");
            assert_eq!(fs::read_to_string(dir.path().join("identity")).unwrap(), text);
        }
    }
}

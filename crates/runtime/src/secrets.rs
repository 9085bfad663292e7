//! Secrets: files that only this process's user reads, in a folder for each namespace.
//!
//! Their values are given to functions, and to nobody else: no list and no log has one.

use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::files;
use crate::spec::{is_namespace, is_secret_name};

/// Secrets of a namespace, at most.
const MAX_SECRETS: usize = 1000;
/// The largest value, as Kubernetes has it.
pub const MAX_SECRET_BYTES: usize = 1 << 20;

/// Why a secret is not as it was asked to be.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message is its documentation")]
pub enum SecretError {
    #[error(
        "secret: `{0}` is not a name, expected letters, digits, `-`, `_` and `.`, and no `.` at its start"
    )]
    Name(String),
    #[error("secret `{name}`: {bytes} bytes, expected 1 to {MAX_SECRET_BYTES}")]
    Size { name: String, bytes: usize },
    #[error("secret `{0}` exists already, expected a new name, or an update")]
    Exists(String),
    #[error("secret `{0}` is not there")]
    NotFound(String),
    #[error("there are {MAX_SECRETS} secrets, which is as many as may")]
    TooMany,
    #[error("{}: {source}", path.display())]
    Store { path: PathBuf, source: Error },
}

/// The secrets of this node. Clones are the same ones.
#[derive(Debug, Clone)]
pub struct Secrets {
    dir: PathBuf,
    writing: Arc<Mutex<()>>,
}

impl Secrets {
    /// The secrets in a folder, which is made.
    pub fn open(dir: PathBuf) -> Result<Self, SecretError> {
        files::make_private_dir(&dir)
            .map_err(|source| SecretError::Store { path: dir.clone(), source })?;
        Ok(Self { dir, writing: Arc::default() })
    }

    /// The folder of a namespace's secrets, one file each. Not there while it has none.
    pub fn folder(&self, namespace: &str) -> PathBuf {
        self.dir.join(namespace)
    }

    /// Names of a namespace's secrets, in order.
    pub fn names(&self, namespace: &str) -> Result<Vec<String>, SecretError> {
        let dir = self.folder(namespace);
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(SecretError::Store { path: dir, source }),
        };
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let names: Result<Vec<String>, Error> = names.collect();
        let mut names = names.map_err(|source| SecretError::Store { path: dir, source })?;
        // One that is being written has a dot at its start.
        names.retain(|name| is_secret_name(name));
        names.sort();
        Ok(names)
    }

    /// Whether a secret is there.
    pub fn has(&self, namespace: &str, name: &str) -> bool {
        self.path(namespace, name).is_ok_and(|path| path.is_file())
    }

    /// Adds a secret.
    pub fn create(&self, namespace: &str, name: &str, value: &[u8]) -> Result<(), SecretError> {
        let path = self.path(namespace, name)?;
        let _writing = self.writing();
        if path.exists() {
            return Err(SecretError::Exists(name.to_owned()));
        }
        if MAX_SECRETS <= self.names(namespace)?.len() {
            return Err(SecretError::TooMany);
        }
        write(&path, name, value)
    }

    /// Gives a secret another value. Instances that are there have the old one until they are replaced, unless they
    /// read the file again.
    pub fn update(&self, namespace: &str, name: &str, value: &[u8]) -> Result<(), SecretError> {
        let path = self.path(namespace, name)?;
        let _writing = self.writing();
        if !path.exists() {
            return Err(SecretError::NotFound(name.to_owned()));
        }
        write(&path, name, value)
    }

    /// Removes a secret.
    pub fn remove(&self, namespace: &str, name: &str) -> Result<(), SecretError> {
        let path = self.path(namespace, name)?;
        let _writing = self.writing();
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(SecretError::NotFound(name.to_owned()))
            }
            Err(source) => Err(SecretError::Store { path, source }),
        }
    }

    /// Both names are parts of a path, and must not lead out of the folder.
    fn path(&self, namespace: &str, name: &str) -> Result<PathBuf, SecretError> {
        if !is_secret_name(name) || !is_namespace(namespace) {
            return Err(SecretError::Name(name.to_owned()));
        }
        Ok(self.folder(namespace).join(name))
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().expect("no holder panics")
    }
}

fn write(path: &Path, name: &str, value: &[u8]) -> Result<(), SecretError> {
    if value.is_empty() || MAX_SECRET_BYTES < value.len() {
        return Err(SecretError::Size { name: name.to_owned(), bytes: value.len() });
    }
    path.parent()
        .map_or(Ok(()), files::make_private_dir)
        .and_then(|()| files::write_whole(path, value, files::PRIVATE))
        .map_err(|source| SecretError::Store { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_this_user_reads_a_secret() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = Secrets::open(dir.path().join("secrets")).unwrap();
        secrets.create("team", "key", b"one").unwrap();
        secrets.update("team", "key", b"two").unwrap();
        let folder = secrets.folder("team");
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join("key"))), (0o700, 0o600));
        assert_eq!(std::fs::read(folder.join("key")).unwrap(), b"two");
        assert_eq!(secrets.names("team").unwrap(), ["key"]);
        assert!(secrets.names("other").unwrap().is_empty());
    }

    #[test]
    fn what_is_there_is_not_made_again_and_what_is_not_is_not_changed() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = Secrets::open(dir.path().to_owned()).unwrap();
        secrets.create("team", "key", b"one").unwrap();
        assert!(matches!(secrets.create("team", "key", b"two"), Err(SecretError::Exists(_))));
        assert!(matches!(secrets.update("team", "other", b"x"), Err(SecretError::NotFound(_))));
        secrets.remove("team", "key").unwrap();
        assert!(matches!(secrets.remove("team", "key"), Err(SecretError::NotFound(_))));
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = Secrets::open(dir.path().join("secrets")).unwrap();
        for name in ["..", "../key", "a/b", "", ".key", "a\0b"] {
            assert!(matches!(secrets.create("team", name, b"x"), Err(SecretError::Name(_))));
        }
        assert!(matches!(secrets.create("..", "key", b"x"), Err(SecretError::Name(_))));
        let large = vec![0; MAX_SECRET_BYTES + 1];
        assert!(matches!(secrets.create("team", "key", &large), Err(SecretError::Size { .. })));
    }
}

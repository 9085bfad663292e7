//! MNIST's test images, downloaded once and kept.
//!
//! The hosts are public mirrors of the original files. They are asked by plain HTTP: what makes a file
//! trustworthy is its SHA-256, which is known, so that TLS would add nothing.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use crate::fetch::{agent, fetch, has, keep};

/// Mirrors, in the order in which they are tried.
const MIRRORS: [&str; 2] = [
    "http://ossci-datasets.s3.amazonaws.com/mnist/",
    "http://storage.googleapis.com/cvdf-datasets/mnist/",
];
/// File names and SHA-256.
const FILES: [(&str, &str); 2] = [
    (
        "t10k-images-idx3-ubyte.gz",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    ),
    (
        "t10k-labels-idx1-ubyte.gz",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
];
/// A demo must not wait long for a network that is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// 1.6 MB over a slow link.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(30);
/// The larger file has 1.65 MB.
const MAX_BYTES: u64 = 4 << 20;

/// The folder with MNIST's test images, downloading what is missing.
pub(crate) fn mnist() -> anyhow::Result<PathBuf> {
    let cache =
        cache_dir().context("no folder to keep it in: neither XDG_CACHE_HOME nor HOME is set")?;
    let dir = cache.join("offramp").join("mnist");
    for (name, sha256) in FILES {
        let path = dir.join(name);
        if std::fs::read(&path).is_ok_and(|bytes| has(&bytes, sha256)) {
            continue;
        }
        let bytes = download(name, sha256)?;
        keep(&path, &bytes).with_context(|| format!("file `{}`", path.display()))?;
    }
    Ok(dir)
}

fn cache_dir() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))
}

fn download(name: &str, sha256: &str) -> anyhow::Result<Vec<u8>> {
    let agent = agent(CONNECT_TIMEOUT, TOTAL_TIMEOUT);
    let mut last = None;
    for mirror in MIRRORS {
        match fetch(&agent, &format!("{mirror}{name}"), sha256, MAX_BYTES) {
            Ok(bytes) => return Ok(bytes),
            Err(error) => last = Some(error),
        }
    }
    Err(last.expect("there is a mirror"))
}

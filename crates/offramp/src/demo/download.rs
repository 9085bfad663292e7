//! MNIST's test images, downloaded once and kept.
//!
//! The hosts are public mirrors of the original files. They are asked by plain HTTP: what makes a file
//! trustworthy is its SHA-256, which is known, so that TLS would add nothing.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};

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
        if std::fs::read(&path).is_ok_and(|bytes| is(&bytes, sha256)) {
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
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_resolve(Some(CONNECT_TIMEOUT))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_global(Some(TOTAL_TIMEOUT))
        .build()
        .into();
    let mut last = None;
    for mirror in MIRRORS {
        match fetch(&agent, &format!("{mirror}{name}"), sha256) {
            Ok(bytes) => return Ok(bytes),
            Err(error) => last = Some(error),
        }
    }
    Err(last.expect("there is a mirror"))
}

fn fetch(agent: &ureq::Agent, url: &str, sha256: &str) -> anyhow::Result<Vec<u8>> {
    let context = || format!("download of {url}");
    let mut response = agent.get(url).call().with_context(context)?;
    let mut bytes = Vec::new();
    let body = response.body_mut().as_reader().take(MAX_BYTES);
    { body }.read_to_end(&mut bytes).with_context(context)?;
    if !is(&bytes, sha256) {
        bail!("{url} has another SHA-256 than the file of MNIST, expected {sha256}");
    }
    Ok(bytes)
}

fn is(bytes: &[u8], sha256: &str) -> bool {
    format!("{:x}", Sha256::digest(bytes)) == sha256
}

/// Writes all of the file or nothing, also when two demos download at once.
fn keep(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let dir = path.parent().expect("a file has a folder");
    std::fs::create_dir_all(dir)?;
    let partial = tempfile::NamedTempFile::new_in(dir)?;
    std::fs::write(partial.path(), bytes)?;
    partial.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// Serves one response on loopback and returns its URL.
    fn serve(body: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/file", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let head = BufReader::new(stream.try_clone().unwrap()).lines();
            let _request: Vec<_> =
                head.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
            stream.write_all(body).unwrap();
        });
        url
    }

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_file_with_the_right_checksum_is_taken() {
        let agent = ureq::Agent::new_with_defaults();
        assert_eq!(fetch(&agent, &serve(b"abc"), ABC).unwrap(), b"abc");
    }

    #[test]
    fn a_file_with_another_checksum_is_refused() {
        let agent = ureq::Agent::new_with_defaults();
        let error = fetch(&agent, &serve(b"abd"), ABC).unwrap_err();
        assert!(error.to_string().contains("another SHA-256"), "{error:#}");
    }

    #[test]
    fn a_host_that_is_not_there_is_named() {
        let agent = ureq::Agent::new_with_defaults();
        let url = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            format!("http://{}/file", listener.local_addr().unwrap())
        };
        let error = fetch(&agent, &url, ABC).unwrap_err();
        assert!(error.to_string().contains(&url), "{error:#}");
    }
}

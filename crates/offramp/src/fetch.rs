//! Files from the network, most of them with a SHA-256 that is known.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use sha2::{Digest as _, Sha256};

/// What asks for files: a host is to answer within `connect`, and to have given all within `total`.
pub(crate) fn agent(connect: Duration, total: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_resolve(Some(connect))
        .timeout_connect(Some(connect))
        .timeout_global(Some(total))
        .build()
        .into()
}

/// Tries several times, with pauses of this length after the first, second and so on, as long as errors are of those
/// that pass.
pub(crate) fn persistently<T>(
    attempts: u32,
    pause: impl Fn(u32) -> Duration,
    passes: impl Fn(&anyhow::Error) -> bool,
    mut fetch: impl FnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut attempt = 1;
    loop {
        match fetch() {
            Err(error) if attempt < attempts && passes(&error) => {
                tracing::warn!(attempt, "not there yet: {error:#}");
                wait(pause(attempt));
                attempt += 1;
            }
            fetched => return fetched,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "files are fetched on threads that may wait")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}

/// The bytes at a URL, `max_bytes` at most, if they have this SHA-256.
pub(crate) fn fetch(
    agent: &ureq::Agent,
    url: &str,
    sha256: &str,
    max_bytes: u64,
) -> anyhow::Result<Vec<u8>> {
    let bytes = fetch_unchecked(agent, url, max_bytes)?;
    ensure!(
        has(&bytes, sha256),
        "{url} has another SHA-256 than the file that is expected: {:x}, not {sha256}",
        Sha256::digest(&bytes)
    );
    Ok(bytes)
}

/// The bytes at a URL, `max_bytes` at most, whatever they are.
pub(crate) fn fetch_unchecked(
    agent: &ureq::Agent,
    url: &str,
    max_bytes: u64,
) -> anyhow::Result<Vec<u8>> {
    let context = || format!("download of {url}");
    let mut response = agent.get(url).call().with_context(context)?;
    let mut bytes = Vec::new();
    let body = response.body_mut().as_reader().take(max_bytes + 1);
    { body }.read_to_end(&mut bytes).with_context(context)?;
    ensure!(bytes.len() as u64 <= max_bytes, "{url} has more than {max_bytes} bytes");
    Ok(bytes)
}

/// Whether bytes have this SHA-256.
pub(crate) fn has(bytes: &[u8], sha256: &str) -> bool {
    format!("{:x}", Sha256::digest(bytes)) == sha256
}

/// Writes all of the file or nothing, also when two processes download at once.
pub(crate) fn keep(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
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
        assert_eq!(fetch(&agent, &serve(b"abc"), ABC, 100).unwrap(), b"abc");
    }

    #[test]
    fn a_file_with_another_checksum_is_refused() {
        let agent = ureq::Agent::new_with_defaults();
        let error = fetch(&agent, &serve(b"abd"), ABC, 100).unwrap_err();
        assert!(error.to_string().contains("another SHA-256"), "{error:#}");
    }

    #[test]
    fn a_file_that_is_too_large_is_cut_off_and_refused() {
        let agent = ureq::Agent::new_with_defaults();
        let error = fetch(&agent, &serve(b"abc"), ABC, 2).unwrap_err();
        assert!(error.to_string().contains("more than 2 bytes"), "{error:#}");
    }

    #[test]
    fn a_host_that_is_not_there_is_named() {
        let agent = ureq::Agent::new_with_defaults();
        let url = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            format!("http://{}/file", listener.local_addr().unwrap())
        };
        let error = fetch(&agent, &url, ABC, 100).unwrap_err();
        assert!(error.to_string().contains(&url), "{error:#}");
    }
}

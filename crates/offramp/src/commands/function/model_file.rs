//! A sub-model by path, or by a URL with its checksum: `https://host/edge.onnx#sha256=HEX`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use crate::fetch::{agent, fetch, has, keep, persistently};
use crate::outcome::OrConfig as _;

/// Sub-models of this project have a few MB, those of large networks some hundreds.
const MAX_BYTES: u64 = 1 << 30;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const TOTAL_TIMEOUT: Duration = Duration::from_mins(10);
/// A container starts when its network does; the first attempts may be before that.
const ATTEMPTS: u32 = 5;
const BACKOFF: Duration = Duration::from_millis(500);
/// Hexadecimal digits of a SHA-256.
const DIGITS: usize = 64;

/// The file of a sub-model, downloaded if need be. What was downloaded before is taken again, if it is still whole.
pub(super) fn local(model: &str) -> anyhow::Result<PathBuf> {
    if !model.starts_with("http://") && !model.starts_with("https://") {
        return Ok(PathBuf::from(model));
    }
    let parts =
        model.split_once("#sha256=").map(|(url, sha256)| (url, sha256.to_ascii_lowercase()));
    let (url, sha256) = parts
        .filter(|(_, sha256)| {
            sha256.len() == DIGITS && sha256.bytes().all(|digit| digit.is_ascii_hexdigit())
        })
        .with_context(|| {
            format!("model `{model}` has no checksum, expected a URL that ends in #sha256= and {DIGITS} digits")
        })
        .or_config()?;
    let dir = std::env::temp_dir().join("offramp-models");
    let file = dir.join(format!("{sha256}.onnx"));
    if std::fs::read(&file).is_ok_and(|bytes| has(&bytes, &sha256)) {
        return Ok(file);
    }
    let agent = agent(CONNECT_TIMEOUT, TOTAL_TIMEOUT);
    let pause = |attempt| BACKOFF * 2u32.pow(attempt);
    let bytes = persistently(ATTEMPTS, pause, passes, || fetch(&agent, url, &sha256, MAX_BYTES))?;
    keep(&file, &bytes).with_context(|| format!("file `{}`", file.display()))?;
    tracing::info!(url, bytes = bytes.len(), "sub-model downloaded");
    Ok(file)
}

/// Whether a later attempt may end otherwise: a file that is another one stays so, and one that is not there.
fn passes(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<ureq::Error>() {
        Some(ureq::Error::StatusCode(status)) => *status == 429 || 500 <= *status,
        Some(_) => true,
        None => error.downcast_ref::<std::io::Error>().is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_without_its_checksum_is_refused() {
        for model in [
            "http://host/edge.onnx",
            "https://host/edge.onnx#sha256=abc",
            "https://host/edge.onnx#md5=0123456789abcdef0123456789abcdef",
        ] {
            let error = local(model).unwrap_err().to_string();
            assert!(error.contains(model) && error.contains("#sha256="), "{error}");
        }
        assert_eq!(local("models/edge.onnx").unwrap(), PathBuf::from("models/edge.onnx"));
    }
}

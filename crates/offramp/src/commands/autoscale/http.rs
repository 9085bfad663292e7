//! One HTTP or HTTPS server, asked over and over.
//!
//! Passwords and tokens are read for each request, as clusters replace them; certificates once, at the start. A client
//! certificate can't be given.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::DeserializeOwned;
use ureq::http;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use super::target::{Login, Server};

/// A server that takes longer has something wrong with it, and is asked again later.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer that is read: a Deployment with much in its annotations is some hundred KiB.
const MAX_ANSWER_BYTES: u64 = 4 << 20;
/// As much of an answer is shown in an error.
const SHOWN_CHARS: usize = 300;

/// A server's answers failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    #[error("file `{}`: {source}; expected a {what}", path.display())]
    File { path: PathBuf, what: &'static str, source: io::Error },
    #[error("file `{}` has no certificate in it, expected PEM", path.display())]
    NoCertificate { path: PathBuf },
    #[error("`{url}` is not a URL: {reason}")]
    Url { url: String, reason: String },
    #[error("{url}: {reason}")]
    Unreachable { url: String, reason: String },
    #[error("{method} {url} answered {status}: {text}")]
    Status { method: &'static str, url: String, status: http::StatusCode, text: String },
    #[error("{url} did not answer what it should: {reason}")]
    Shape { url: String, reason: String },
}

impl HttpError {
    /// The status, where that is what is wrong.
    pub(super) fn status(&self) -> Option<http::StatusCode> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// A question.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) method: &'static str,
    /// Path and query.
    pub(super) path: String,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

impl Question {
    /// What is at a path.
    pub(super) fn get(path: impl Into<String>) -> Self {
        let (path, body) = (path.into(), String::new());
        Self { method: "GET", path, content_type: "application/json", body }
    }
}

/// A server and the connections to it.
#[derive(Debug, Clone)]
pub(super) struct Client {
    agent: ureq::Agent,
    server: Server,
}

impl Client {
    /// Reads the certificates that the server is trusted by.
    ///
    /// # Errors
    ///
    /// They are not there.
    pub(super) fn new(server: Server) -> Result<Self, HttpError> {
        let roots = match &server.ca_file {
            Some(path) => RootCerts::from(certificates(path)?),
            None => RootCerts::WebPki,
        };
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build()
            .into();
        Ok(Self { agent, server })
    }

    /// Asks, and returns the JSON that is answered with a status of success.
    pub(super) async fn json<T>(&self, question: Question) -> Result<T, HttpError>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let url = format!("{}{}", self.server.url, question.path);
        let text = self.ask(question).await?;
        serde_json::from_str(&text)
            .map_err(|error| HttpError::Shape { url, reason: error.to_string() })
    }

    /// Asks, and returns what is answered with a status of success.
    pub(super) async fn ask(&self, question: Question) -> Result<String, HttpError> {
        let client = self.clone();
        // Ends within the timeout, so that it holds nothing back for longer.
        let asked = tokio::task::spawn_blocking(move || client.ask_blocking(&question));
        asked.await.unwrap_or_else(|error| {
            let url = self.server.url.clone();
            Err(HttpError::Unreachable { url, reason: error.to_string() })
        })
    }

    fn ask_blocking(&self, question: &Question) -> Result<String, HttpError> {
        let Question { method, path, content_type, body } = question;
        let url = format!("{}{path}", self.server.url.trim_end_matches('/'));
        let mut request = http::Request::builder()
            .method(*method)
            .uri(&url)
            .header("Accept", "application/json")
            .header("Content-Type", *content_type);
        if let Some(login) = self.server.login.header()? {
            request = request.header("Authorization", login);
        }
        let request = request
            .body(body.clone())
            .map_err(|error| HttpError::Url { url: url.clone(), reason: error.to_string() })?;
        let unreachable = |error: ureq::Error| HttpError::Unreachable {
            url: url.clone(),
            reason: error.to_string(),
        };
        let mut response = self.agent.run(request).map_err(unreachable)?;
        let text = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_string();
        let text = text.map_err(unreachable)?;
        let status = response.status();
        if status.is_success() {
            return Ok(text);
        }
        let text = text.trim().chars().take(SHOWN_CHARS).collect();
        Err(HttpError::Status { method, url, status, text })
    }
}

impl Login {
    fn header(&self) -> Result<Option<String>, HttpError> {
        Ok(match self {
            Self::Nobody => None,
            Self::Basic { user, password_file } => {
                let both = format!("{user}:{}", secret(password_file, "password")?);
                Some(format!("Basic {}", BASE64.encode(both)))
            }
            Self::Bearer { token_file } => {
                Some(format!("Bearer {}", secret(token_file, "bearer token")?))
            }
        })
    }
}

fn secret(path: &Path, what: &'static str) -> Result<String, HttpError> {
    let text = std::fs::read_to_string(path).map_err(|source| HttpError::File {
        path: path.to_owned(),
        what,
        source,
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn certificates(path: &Path) -> Result<Vec<ureq::tls::Certificate<'static>>, HttpError> {
    let what = "list of certificates";
    let text = std::fs::read(path).map_err(|source| HttpError::File {
        path: path.to_owned(),
        what,
        source,
    })?;
    let certificate = |item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    };
    let found: Vec<_> = parse_pem(&text).filter_map(certificate).collect();
    if found.is_empty() {
        return Err(HttpError::NoCertificate { path: path.to_owned() });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_changes_is_read_anew() {
        let dir = tempfile::tempdir().unwrap();
        let password_file = dir.path().join("password");
        let login = Login::Basic { user: "u".to_owned(), password_file: password_file.clone() };
        assert!(login.header().unwrap_err().to_string().ends_with("expected a password"));
        for (password, header) in [("p\n", "Basic dTpw"), ("q", "Basic dTpx")] {
            std::fs::write(&password_file, password).unwrap();
            assert_eq!(login.header().unwrap().as_deref(), Some(header));
        }
    }

    #[test]
    fn a_file_without_certificates_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.crt");
        let server = |url: &str| Server {
            url: url.to_owned(),
            login: Login::Nobody,
            ca_file: Some(file.clone()),
        };
        assert!(matches!(Client::new(server("https://x")), Err(HttpError::File { .. })));
        std::fs::write(&file, "none").unwrap();
        let error = Client::new(server("https://x")).unwrap_err();
        assert!(matches!(error, HttpError::NoCertificate { .. }), "{error}");
    }
}

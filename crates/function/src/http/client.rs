//! Calls a function over HTTP/1.1 with kept-alive connections.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use wire::{Record, Reject, RejectCode, Source, body};

use crate::failure::{Failure, Fate};
use crate::http::{Done, MAX_BODY_BYTES};

/// The gateways' default for a synchronous call.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// A host that is off the network answers nothing at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What a 429 without `Retry-After` is taken to ask for.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);
/// Longest wait that a `Retry-After` can ask for: a typing slip of a proxy must not stop a tier for a day.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// How much of an error's body is quoted.
const QUOTED_BYTES: usize = 300;

/// A function behind a URL.
#[derive(Debug, Clone)]
pub struct HttpFunction {
    client: Client<HttpConnector, Full<Bytes>>,
    uri: Uri,
}

/// A URL that can't be called.
#[derive(Debug, thiserror::Error)]
#[error("`{url}` is not a function's URL: {reason}; expected one as http://127.0.0.1:8080/")]
pub struct BadUrl {
    url: String,
    reason: String,
}

impl HttpFunction {
    /// A function behind `url` (`http://`; TLS is a proxy's work).
    pub fn new(url: &str) -> Result<Self, BadUrl> {
        let bad = |reason: String| BadUrl { url: url.to_owned(), reason };
        let uri: Uri = url.parse().map_err(|error| bad(format!("{error}")))?;
        if uri.scheme_str() != Some("http") || uri.host().is_none() {
            return Err(bad("the scheme is not http or the host is missing".to_owned()));
        }
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(CALL_TIMEOUT)
            .build(connector);
        Ok(Self { client, uri })
    }

    /// Sends a record; returns the fate that the function reports, or `Answered` where it reports none.
    pub async fn call(&self, record: &Record, source: Option<&Source>) -> Result<Fate, Failure> {
        let body = Bytes::from(body::encode(record, source));
        if body.len() > MAX_BODY_BYTES {
            let reason =
                format!("the body has {} bytes, expected at most {MAX_BODY_BYTES}", body.len());
            return Err(Reject::new(RejectCode::TooLarge, reason).into());
        }
        let request = Request::post(&self.uri)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .expect("the parts of the request are valid");
        let answered = tokio::time::timeout(CALL_TIMEOUT, async {
            let response = self.client.request(request).await.map_err(|error| {
                let reason = format!("{}: {}", self.uri, chain(&error));
                if error.is_connect() {
                    Failure::Unavailable(reason)
                } else {
                    Failure::Failed(reason)
                }
            })?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_BODY_BYTES).collect().await.map_err(|error| {
                Failure::Failed(format!("{}: the answer broke off: {error}", self.uri))
            })?;
            Ok::<_, Failure>(Response::from_parts(head, body.to_bytes()))
        });
        let response = answered.await.map_err(|_| {
            Failure::Failed(format!("{}: no answer within {} s", self.uri, CALL_TIMEOUT.as_secs()))
        })??;
        self.outcome(&response)
    }

    fn outcome(&self, response: &Response<Bytes>) -> Result<Fate, Failure> {
        let body = response.body();
        let quoted = || {
            let text = String::from_utf8_lossy(&body[..body.len().min(QUOTED_BYTES)]);
            format!("{} answered {}: {}", self.uri, response.status(), text.trim())
        };
        match response.status() {
            status if status.is_success() => {
                Ok(serde_json::from_slice::<Done<'_>>(body)
                    .map_or(Fate::Answered, |done| done.fate))
            }
            StatusCode::BAD_REQUEST
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNPROCESSABLE_ENTITY => Err(Failure::Reject(
                serde_json::from_slice(body)
                    .unwrap_or_else(|_| Reject::new(RejectCode::Refused, quoted())),
            )),
            StatusCode::TOO_MANY_REQUESTS => {
                Err(Failure::Overloaded { retry_after: retry_after(response) })
            }
            StatusCode::SERVICE_UNAVAILABLE => Err(Failure::Unavailable(quoted())),
            _ => Err(Failure::Failed(quoted())),
        }
    }
}

fn retry_after(response: &Response<Bytes>) -> Duration {
    let seconds =
        response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    seconds.map_or(DEFAULT_RETRY_AFTER, Duration::from_secs).min(MAX_RETRY_AFTER)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

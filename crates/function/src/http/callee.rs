//! Who answers a call: a server at a URL, or a function of this process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::RETRY_AFTER;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use wire::{Reject, RejectCode};

use super::{MAX_BODY_BYTES, failure};
use crate::failure::Failure;

/// A host that is off the network answers nothing at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that nothing goes over are closed after this.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
/// How much of an error's body is quoted.
const QUOTED_BYTES: usize = 300;

/// A function of this process that is called as if it were behind a URL.
pub trait Local: fmt::Debug + Send + Sync {
    /// Answers a request.
    ///
    /// # Errors
    ///
    /// The function could not be called.
    fn answer(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Failure>>;
}

/// A URL that can't be called.
#[derive(Debug, thiserror::Error)]
#[error("`{url}` is not a function's URL: {reason}; expected one as http://127.0.0.1:8080/")]
pub struct BadUrl {
    url: String,
    reason: String,
}

/// Who is called. Clones share its connections.
#[derive(Debug, Clone)]
pub(crate) struct Callee {
    /// How messages call it, and where requests go.
    uri: Uri,
    way: Way,
}

#[derive(Debug, Clone)]
enum Way {
    Remote(Box<Client<HttpConnector, Full<Bytes>>>),
    Local(Arc<dyn Local>),
}

impl Callee {
    /// Whoever answers at `url`: `http://` for HTTP/1.1, `h2c://` for HTTP/2 without TLS, which many calls at once
    /// share one connection of (TLS is a proxy's work).
    pub(crate) fn at(url: &str) -> Result<Self, BadUrl> {
        let bad = |reason: String| BadUrl { url: url.to_owned(), reason };
        let (is_h2c, http) = match url.strip_prefix("h2c://") {
            Some(rest) => (true, format!("http://{rest}")),
            None => (false, url.to_owned()),
        };
        let uri: Uri = http.parse().map_err(|error| bad(format!("{error}")))?;
        if uri.scheme_str() != Some("http") || uri.host().is_none() {
            return Err(bad(
                "the scheme is neither http nor h2c, or the host is missing".to_owned()
            ));
        }
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .http2_only(is_h2c)
            .build(connector);
        Ok(Self { uri, way: Way::Remote(Box::new(client)) })
    }

    /// A function of this process, called `name` in messages: letters, digits, `-` and `_`.
    pub(crate) fn local(name: &str, local: Arc<dyn Local>) -> Self {
        let uri = format!("/function/{name}").parse().expect("a name is part of a path");
        Self { uri, way: Way::Local(local) }
    }

    /// Where requests go.
    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Sends a request and waits for the whole answer.
    pub(crate) async fn answer(
        &self,
        request: Request<Bytes>,
        within: Duration,
    ) -> Result<Response<Bytes>, Failure> {
        let answered = tokio::time::timeout(within, async {
            let client = match &self.way {
                Way::Local(local) => return local.answer(request).await,
                Way::Remote(client) => client,
            };
            let response = client.request(request.map(Full::new)).await.map_err(|error| {
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
            Ok(Response::from_parts(head, body.to_bytes()))
        });
        answered.await.unwrap_or_else(|_| {
            let seconds = within.as_secs_f64();
            Err(Failure::Failed(format!("{}: no answer within {seconds} s", self.uri)))
        })
    }

    /// What an answer that is not a success says of the call, with its words.
    pub(crate) fn failure(&self, response: &Response<Bytes>) -> Failure {
        let (status, body) = (response.status(), response.body());
        let text = String::from_utf8_lossy(&body[..body.len().min(QUOTED_BYTES)]);
        let quoted = format!("{} answered {status}: {}", self.uri, text.trim());
        failure(status, Reject::new(RejectCode::Refused, quoted), retry_after(response))
    }
}

fn retry_after(response: &Response<Bytes>) -> Option<Duration> {
    let seconds =
        response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    seconds.map(Duration::from_secs)
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

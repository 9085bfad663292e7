//! Calls a function over HTTP/1.1 with kept-alive connections, or over HTTP/2 without TLS.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use wire::{Record, Reject, RejectCode, Source, body};

use crate::failure::{Failure, Fate};
use crate::http::{Done, MAX_BODY_BYTES, MAX_LIST, MAX_RECORDS, failure};

/// The gateways' default for a synchronous call.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// A host that is off the network answers nothing at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How much of an error's body is quoted.
const QUOTED_BYTES: usize = 300;

/// A list of bodies larger than this goes as several. Each must fit the function's bound on a call's body.
const MAX_LIST_BYTES: usize = MAX_BODY_BYTES / 4;

/// A function behind a URL. Clones share its connections.
#[derive(Debug, Clone)]
pub struct HttpFunction {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: Client<HttpConnector, Full<Bytes>>,
    uri: Uri,
    /// Records that it takes in one call, as it has said last.
    max_records: AtomicUsize,
}

/// A URL that can't be called.
#[derive(Debug, thiserror::Error)]
#[error("`{url}` is not a function's URL: {reason}; expected one as http://127.0.0.1:8080/")]
pub struct BadUrl {
    url: String,
    reason: String,
}

impl HttpFunction {
    /// A function behind `url`: `http://` for HTTP/1.1, `h2c://` for HTTP/2 without TLS, which many calls at
    /// once share one connection of (TLS is a proxy's work).
    pub fn new(url: &str) -> Result<Self, BadUrl> {
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
            .pool_idle_timeout(CALL_TIMEOUT)
            .http2_only(is_h2c)
            .build(connector);
        Ok(Self { shared: Arc::new(Shared { client, uri, max_records: AtomicUsize::new(1) }) })
    }

    /// Records that the function takes in one call, as far as it has said: one until it has.
    pub fn max_records(&self) -> usize {
        self.shared.max_records.load(Ordering::Relaxed)
    }

    /// Sends records, in their order: several a call as far as the function takes them. Once one has failed that
    /// may succeed later, those behind it are not carried out.
    pub async fn call_many(
        &self,
        records: &[(&Record, Option<&Source>)],
    ) -> Vec<Result<Fate, Failure>> {
        let mut called: Vec<Result<Fate, Failure>> = Vec::with_capacity(records.len());
        while called.len() < records.len() {
            let rest = &records[called.len()..];
            let is_stuck = |called: &Result<_, Failure>| {
                called.as_ref().is_err_and(Failure::may_succeed_later)
            };
            if called.iter().any(is_stuck) {
                called.resize(records.len(), Err(Failure::Behind));
            } else if let [(record, source), ..] = rest
                && (rest.len() == 1 || self.max_records() == 1)
            {
                called.push(self.call(record, *source).await);
            } else {
                called.extend(self.call_list(rest).await);
            }
        }
        called
    }

    /// Sends as many of these records as one call takes, two at least if there are.
    async fn call_list(
        &self,
        records: &[(&Record, Option<&Source>)],
    ) -> Vec<Result<Fate, Failure>> {
        let mut list = vec![b'['];
        let mut count = 0;
        for (record, source) in records.iter().take(self.max_records()) {
            let body = body::encode(record, *source);
            if 0 < count && MAX_LIST_BYTES < list.len() + body.len() {
                break;
            }
            if 0 < count {
                list.push(b',');
            }
            list.extend_from_slice(&body);
            count += 1;
        }
        list.push(b']');
        let response = match self.post(Bytes::from(list)).await {
            Ok(response) => response,
            Err(failure) => return vec![Err(failure); count],
        };
        if let Ok(done) = serde_json::from_slice::<Vec<Done<'_>>>(response.body())
            && response.status().is_success()
            && done.len() == count
        {
            return done.into_iter().map(Done::called).collect();
        }
        match self.outcome(&response) {
            // It does not take lists, though it has said so: another version of it, perhaps.
            Ok(_) | Err(Failure::Reject(_)) => {
                self.shared.max_records.store(1, Ordering::Relaxed);
                vec![Err(Failure::Behind); count]
            }
            Err(failure) => vec![Err(failure); count],
        }
    }

    /// Sends a record; returns the fate that the function reports, or `Answered` where it reports none.
    pub async fn call(&self, record: &Record, source: Option<&Source>) -> Result<Fate, Failure> {
        let response = self.post(Bytes::from(body::encode(record, source))).await?;
        self.outcome(&response)
    }

    async fn post(&self, body: Bytes) -> Result<Response<Bytes>, Failure> {
        if body.len() > MAX_BODY_BYTES {
            let reason =
                format!("the body has {} bytes, expected at most {MAX_BODY_BYTES}", body.len());
            return Err(Reject::new(RejectCode::TooLarge, reason).into());
        }
        let request = Request::post(&self.shared.uri)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .expect("the parts of the request are valid");
        let answered = tokio::time::timeout(CALL_TIMEOUT, async {
            let response = self.shared.client.request(request).await.map_err(|error| {
                let reason = format!("{}: {}", self.shared.uri, chain(&error));
                if error.is_connect() {
                    Failure::Unavailable(reason)
                } else {
                    Failure::Failed(reason)
                }
            })?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_BODY_BYTES).collect().await.map_err(|error| {
                Failure::Failed(format!("{}: the answer broke off: {error}", self.shared.uri))
            })?;
            Ok::<_, Failure>(Response::from_parts(head, body.to_bytes()))
        });
        let response = answered.await.map_err(|_| {
            Failure::Failed(format!(
                "{}: no answer within {} s",
                self.shared.uri,
                CALL_TIMEOUT.as_secs()
            ))
        })??;
        let says = response.headers().get(MAX_RECORDS).and_then(|value| value.to_str().ok());
        let max_records = says.and_then(|value| value.parse().ok()).unwrap_or(1);
        self.shared.max_records.store(max_records.clamp(1, MAX_LIST), Ordering::Relaxed);
        Ok(response)
    }

    fn outcome(&self, response: &Response<Bytes>) -> Result<Fate, Failure> {
        let (status, body) = (response.status(), response.body());
        if status.is_success() {
            let done = serde_json::from_slice::<Done<'_>>(body).ok();
            return Ok(done.and_then(|done| done.fate).unwrap_or(Fate::Answered));
        }
        let text = String::from_utf8_lossy(&body[..body.len().min(QUOTED_BYTES)]);
        let quoted = format!("{} answered {status}: {}", self.shared.uri, text.trim());
        let said = failure(status, Reject::new(RejectCode::Refused, quoted), retry_after(response));
        Err(match said {
            Failure::Reject(refused) => serde_json::from_slice(body).unwrap_or(refused).into(),
            said => said,
        })
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

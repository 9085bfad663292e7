//! Tells a callback what a function answered to a call that was carried out later.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::{sleep, timeout};

use crate::chain::chain;
use crate::driver::Response;
use crate::gateway::invoke::{CALL_ID, DURATION, drop_hop_by_hop, seconds};

/// How often a callback is told, at most.
const ATTEMPTS: u32 = 4;
/// Wait after the first attempt; doubles with each.
const MIN_WAIT: Duration = Duration::from_millis(500);
/// Time to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

const FUNCTION_STATUS: HeaderName = HeaderName::from_static("x-function-status");
const FUNCTION_NAME: HeaderName = HeaderName::from_static("x-function-name");

/// What has become of a call.
#[derive(Debug)]
pub(super) struct Answered<'a> {
    pub(super) function: &'a str,
    pub(super) id: Option<&'a HeaderValue>,
    pub(super) took: Duration,
    pub(super) response: Response,
}

/// Tells callbacks.
#[derive(Debug)]
pub(super) struct Callbacks {
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Callbacks {
    pub(super) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        Self { client: Client::builder(TokioExecutor::new()).build(connector) }
    }

    /// Posts an answer, several times if need be.
    ///
    /// # Errors
    ///
    /// Why it is not known there.
    pub(super) async fn tell(&self, url: &Uri, answered: Answered<'_>) -> Result<(), String> {
        let request = request(url, answered);
        let mut wait = MIN_WAIT;
        for _ in 1..ATTEMPTS {
            match self.attempt(request.clone()).await {
                Ok(told) => return told,
                Err(problem) => tracing::debug!("callback {url}: {problem}"),
            }
            sleep(wait.mul_f64(rand::random_range(0.5..=1.0))).await;
            wait *= 2;
        }
        self.attempt(request).await.unwrap_or_else(Err)
    }

    /// An attempt; the outer error is one after which another may succeed.
    async fn attempt(&self, request: Request<Full<Bytes>>) -> Result<Result<(), String>, String> {
        let response = timeout(TIMEOUT, self.client.request(request)).await;
        let response = response.map_err(|_| format!("no answer within {} s", TIMEOUT.as_secs()))?;
        let status = response.map_err(|error| chain(&error))?.status();
        let may_succeed_later = status.is_server_error()
            || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
        if may_succeed_later {
            return Err(format!("it answered {status}"));
        }
        Ok(if status.is_success() { Ok(()) } else { Err(format!("it answered {status}")) })
    }
}

fn request(url: &Uri, answered: Answered<'_>) -> Request<Full<Bytes>> {
    let (head, body) = answered.response.into_parts();
    let mut headers: HeaderMap = head.headers;
    drop_hop_by_hop(&mut headers);
    // The client counts the body's bytes itself.
    headers.remove(hyper::header::CONTENT_LENGTH);
    headers.insert(FUNCTION_STATUS, head.status.as_u16().into());
    headers.insert(DURATION, seconds(answered.took));
    let name = HeaderValue::from_str(answered.function);
    headers.insert(FUNCTION_NAME, name.expect("a function's name is a legal header"));
    if let Some(id) = answered.id {
        headers.insert(CALL_ID, id.clone());
    }
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = url.clone();
    *request.headers_mut() = headers;
    request
}

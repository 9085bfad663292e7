//! From a request's path to what answers it.

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::answer::{self, Answer, Refusal, json, not_allowed, text};
use super::body::{self, Body};
use super::query::Query;
use super::{Shared, functions, invoke, logs, namespaces, secrets};
use crate::deployment::{DEFAULT_NAMESPACE, key};

/// What a browser, or whoever looks, gets at the root.
const PAGE: &str = "This is the gateway of an offramp node, which runs functions at the edge.

  /function/NAME           calls a function
  /async-function/NAME     has a function called later
  /healthz                 whether this node takes calls

Functions are deployed with faas-cli, or with `offramp up`.
";

/// Answers a request.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    peer: &HeaderValue,
    request: Request<Incoming>,
) -> Answer {
    let path = request.uri().path();
    if shared.is_stopping() {
        // Only on connections that came after the gateway was told to.
        return answer::stopping();
    }
    if path.starts_with(invoke::CALL) {
        return invoke::call(shared, peer, request).await;
    }
    if path.starts_with(invoke::CALL_LATER) {
        return invoke::call_later(shared, peer, request).await;
    }
    match (request.method(), path) {
        (&Method::GET | &Method::HEAD, "/healthz") => text(StatusCode::OK, "OK"),
        (_, "/healthz") => not_allowed("GET, HEAD"),
        (&Method::GET | &Method::HEAD, "/") => text(StatusCode::OK, PAGE),
        (_, "/metrics") => {
            text(StatusCode::NOT_FOUND, "metrics are served on an address of their own")
        }
        _ if path.starts_with("/system/") => system(shared, request).await,
        _ => answer::not_found(path),
    }
}

/// Answers what is below `/system/`.
async fn system(shared: &Arc<Shared>, request: Request<Incoming>) -> Answer {
    if shared.auth.as_ref().is_some_and(|auth| !auth.allows(request.headers())) {
        return answer::unauthorized();
    }
    let (head, body) = request.into_parts();
    let body = match body::read(body, &shared.room).await {
        Ok(body) => body,
        Err(answer) => return answer,
    };
    let path = head.uri.path().strip_prefix("/system/").unwrap_or_default();
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    let asked = Asked { shared, head: &head, body: &body.bytes, rest };
    match (first, rest) {
        ("functions", "") => functions::all(&asked).await,
        ("function", name) if !name.is_empty() => functions::one(&asked).await,
        ("scale-function", name) if !name.is_empty() => functions::scale(&asked),
        ("info", "") => asked.get(|| json(&Info::default())),
        ("secrets", "") => secrets::answer(&asked).await,
        ("logs", "") => asked.get(|| logs::answer(&asked)),
        ("namespaces", "") => asked.get(|| json(&shared.namespaces.names())),
        ("namespace", _) => namespaces::answer(&asked).await,
        ("alert", "") => text(
            StatusCode::NOT_IMPLEMENTED,
            "alerts have no effect: this runtime scales functions by the calls that it sees",
        ),
        _ => {
            let extra =
                shared.extra.as_ref().and_then(|extra| extra.route(&head, body.bytes.clone()));
            match extra {
                Some(extra) => extra.await.map(Body::from),
                None => answer::not_found(head.uri.path()),
            }
        }
    }
}

/// A request to `/system/`, read.
pub(super) struct Asked<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) head: &'a Parts,
    pub(super) body: &'a Bytes,
    /// The path after the route's own part.
    pub(super) rest: &'a str,
}

impl Asked<'_> {
    pub(super) fn method(&self) -> &Method {
        &self.head.method
    }

    pub(super) fn query(&self) -> Query<'_> {
        Query::of(&self.head.uri)
    }

    fn get(&self, answer: impl FnOnce() -> Answer) -> Answer {
        if self.method() == Method::GET { answer() } else { not_allowed("GET") }
    }

    /// The body as JSON, whatever its type is said to be.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        serde_json::from_slice(self.body).map_err(|error| {
            let problem = format_args!("the body is not what is expected here: {error}");
            text(StatusCode::BAD_REQUEST, problem).into()
        })
    }

    /// The namespace that is asked for, if it is there: in the body, or else in the query, or else the default one.
    pub(super) fn namespace(&self, in_body: &str) -> Result<String, Refusal> {
        let in_query = self.query().get("namespace");
        let namespace = match (in_body, in_query.as_deref()) {
            ("", None) => DEFAULT_NAMESPACE,
            ("", Some(namespace)) | (namespace, _) => namespace,
        };
        self.shared
            .namespaces
            .check(namespace)
            .map(|()| namespace.to_owned())
            .map_err(|problem| text(StatusCode::BAD_REQUEST, problem).into())
    }

    /// The key of the function that is asked for: `name.namespace`, or the namespace beside it.
    pub(super) fn key(&self, name: &str, namespace: &str) -> Result<String, Refusal> {
        match name.rsplit_once('.') {
            Some((name, namespace)) => Ok(key(name, &self.namespace(namespace)?)),
            None => Ok(key(name, &self.namespace(namespace)?)),
        }
    }
}

/// What a gateway tells of itself, with the parts that `faas-cli version` prints without a look whether they are there.
#[derive(Debug, Serialize)]
struct Info {
    provider: Provider,
    version: Version,
    arch: &'static str,
}

#[derive(Debug, Serialize)]
struct Provider {
    #[serde(rename = "provider")]
    name: &'static str,
    version: Version,
    orchestration: &'static str,
}

#[derive(Debug, Default, Serialize)]
struct Version {
    commit_message: &'static str,
    sha: &'static str,
    release: &'static str,
}

impl Default for Info {
    fn default() -> Self {
        let version = || Version { release: env!("CARGO_PKG_VERSION"), ..Version::default() };
        let provider = Provider { name: "offramp", version: version(), orchestration: "process" };
        Self { provider, version: version(), arch: std::env::consts::ARCH }
    }
}

/// Does what waits for a disk where that keeps nobody else waiting.
pub(super) async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("it does not panic, and nobody cancels it")
}

/// An empty answer.
pub(super) fn done(status: StatusCode) -> Answer {
    let mut answer = Response::new(Body::from(Bytes::new()));
    *answer.status_mut() = status;
    answer
}

//! Calls of functions: now, which is what the gateway is there for, and later.
//!
//! A function sees the path after its name, the query, the method, the body and the headers, but for those that are
//! about one connection alone. Its answer goes back as it is, with the call's id and times.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, StatusCode, Uri};
use tokio::time::Instant;

use super::Shared;
use super::answer::{Answer, no_function, not_allowed, not_called, text};
use super::body::{self, Body};
use super::queue::{Call, NotQueued};
use super::route::done;
use crate::deployment::DEFAULT_NAMESPACE;

/// Where functions are called.
pub(super) const CALL: &str = "/function/";
/// Where they are called later.
pub(super) const CALL_LATER: &str = "/async-function/";

pub(super) const CALL_ID: HeaderName = HeaderName::from_static("x-call-id");
const START_TIME: HeaderName = HeaderName::from_static("x-start-time");
pub(super) const DURATION: HeaderName = HeaderName::from_static("x-duration-seconds");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const CALLBACK: HeaderName = HeaderName::from_static("x-callback-url");

/// Headers about a connection (RFC 9110, 7.6.1), and one whose wish has been granted: the whole body is here.
const HOP_BY_HOP: [HeaderName; 9] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    EXPECT,
];

/// Calls a function.
pub(super) async fn call(
    shared: &Shared,
    peer: &HeaderValue,
    request: Request<Incoming>,
) -> Answer {
    let started = Instant::now();
    let (mut head, body) = request.into_parts();
    let uri = std::mem::take(&mut head.uri);
    let Some(target) = Target::of(&uri, CALL) else { return nameless() };
    head.uri = target.uri;
    let marks = Marks::set(&mut head.headers, peer);
    let body = match body::read(body, &shared.room).await {
        Ok(body) => body,
        Err(answer) => return marks.on(answer, started.elapsed()),
    };
    let request = Request::from_parts(head, body.bytes.clone());
    let called = shared.functions.call(target.key, request).await;
    let answer = match called {
        Some(Ok(response)) => {
            let mut answer = response.map(Body::from);
            drop_hop_by_hop(answer.headers_mut());
            answer
        }
        Some(Err(error)) => not_called(&error),
        None => no_function(target.key),
    };
    marks.on(answer, started.elapsed())
}

/// Has a function called later: answers once the call is on the disk.
pub(super) async fn call_later(
    shared: &Arc<Shared>,
    peer: &HeaderValue,
    request: Request<Incoming>,
) -> Answer {
    let started = Instant::now();
    if request.method() != Method::POST {
        return not_allowed("POST");
    }
    let (mut head, body) = request.into_parts();
    let uri = std::mem::take(&mut head.uri);
    let Some(target) = Target::of(&uri, CALL_LATER) else { return nameless() };
    let callback = match head.headers.remove(CALLBACK).map(|url| callback(&url)).transpose() {
        Ok(callback) => callback,
        Err(problem) => return text(StatusCode::BAD_REQUEST, problem),
    };
    if shared.functions.get(target.key).is_none() {
        return no_function(target.key);
    }
    let marks = Marks::set(&mut head.headers, peer);
    let body = match body::read(body, &shared.room).await {
        Ok(body) => body,
        Err(answer) => return marks.on(answer, started.elapsed()),
    };
    let call = Call {
        function: target.key.to_owned(),
        method: head.method,
        target: target.uri,
        headers: head.headers,
        callback,
        body: body.bytes.clone(),
    };
    let answer = match shared.queue.put(call).await {
        Ok(()) => done(StatusCode::ACCEPTED),
        Err(error) => not_queued(&error),
    };
    marks.on(answer, started.elapsed())
}

fn nameless() -> Answer {
    text(StatusCode::BAD_REQUEST, "the path has no function's name")
}

fn not_queued(error: &NotQueued) -> Answer {
    match error {
        NotQueued::Full { .. } => {
            let mut answer = text(StatusCode::TOO_MANY_REQUESTS, error);
            let wait = super::queue::RETRY_AFTER.as_secs();
            answer.headers_mut().insert(hyper::header::RETRY_AFTER, wait.into());
            answer
        }
        NotQueued::Store { .. } => text(StatusCode::INTERNAL_SERVER_ERROR, error),
    }
}

/// Where the answer to a call is to be sent.
fn callback(url: &HeaderValue) -> Result<Uri, String> {
    let shown = String::from_utf8_lossy(url.as_bytes());
    let parsed = Uri::try_from(url.as_bytes()).ok();
    parsed
        .filter(|uri| uri.scheme_str() == Some("http") && uri.host().is_some_and(|h| !h.is_empty()))
        .ok_or_else(|| format!("X-Callback-Url: `{shown}`, expected a URL as http://HOST/PATH"))
}

/// What a path names, and what is left of it for the function.
struct Target<'a> {
    key: &'a str,
    uri: Uri,
}

impl<'a> Target<'a> {
    fn of(uri: &'a Uri, prefix: &str) -> Option<Self> {
        let path = uri.path().strip_prefix(prefix)?;
        let end = path.find('/').unwrap_or(path.len());
        let (name, rest) = path.split_at(end);
        // `faas-cli invoke` writes out the default namespace.
        let key = match name.rsplit_once('.') {
            Some((name, DEFAULT_NAMESPACE)) => name,
            _ => name,
        };
        let left = match (rest, uri.query()) {
            ("" | "/", None) => PathAndQuery::from_static("/"),
            // A part of what was a path and a query is one.
            (rest, None) => rest.parse().ok()?,
            (rest, Some(query)) => {
                let rest = if rest.is_empty() { "/" } else { rest };
                PathAndQuery::try_from(format!("{rest}?{query}")).ok()?
            }
        };
        (!key.is_empty()).then(|| Self { key, uri: Uri::from(left) })
    }
}

/// What marks a call: its id, and when it came.
struct Marks {
    id: HeaderValue,
    start: HeaderValue,
}

impl Marks {
    /// Marks a call's headers, and leaves out those that end here.
    fn set(headers: &mut HeaderMap, peer: &HeaderValue) -> Self {
        drop_hop_by_hop(headers);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Good until the year 2554.
        let start = HeaderValue::from(since.as_nanos() as u64);
        headers.insert(START_TIME, start.clone());
        let id = headers.entry(CALL_ID).or_insert_with(call_id).clone();
        if !headers.contains_key(FORWARDED_HOST)
            && let Some(host) = headers.get(HOST).cloned()
        {
            headers.insert(FORWARDED_HOST, host);
        }
        let forwarded = match headers.get(FORWARDED_FOR) {
            None => peer.clone(),
            Some(before) => {
                let both = [before.as_bytes(), b", ", peer.as_bytes()].concat();
                HeaderValue::from_maybe_shared(Bytes::from(both)).expect("two legal headers")
            }
        };
        headers.insert(FORWARDED_FOR, forwarded);
        Self { id, start }
    }

    /// Marks the answer.
    fn on(self, mut answer: Answer, took: Duration) -> Answer {
        let headers = answer.headers_mut();
        headers.insert(CALL_ID, self.id);
        headers.insert(START_TIME, self.start);
        headers.insert(DURATION, seconds(took));
        answer
    }
}

/// A time as seconds.
pub(super) fn seconds(took: Duration) -> HeaderValue {
    let text = format!("{:.6}", took.as_secs_f64());
    HeaderValue::from_maybe_shared(Bytes::from(text)).expect("digits are a legal header")
}

/// A random UUID. Its bytes come from this thread's generator: an id has to differ, and not to be a secret.
fn call_id() -> HeaderValue {
    let id = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
    let mut text = uuid::Uuid::encode_buffer();
    let text = id.hyphenated().encode_lower(&mut text);
    HeaderValue::from_str(text).expect("letters and digits are a legal header")
}

/// Leaves out headers about a connection, and those that `Connection` says are.
pub(super) fn drop_hop_by_hop(headers: &mut HeaderMap) {
    if let Some(named) = headers.remove(CONNECTION) {
        let named = named.to_str().unwrap_or_default().split(',');
        for name in named.filter_map(|name| HeaderName::try_from(name.trim()).ok()) {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(uri: &str, expected: Option<(&str, &str)>) {
        let uri: Uri = uri.parse().unwrap();
        let target = Target::of(&uri, CALL);
        let found = target.as_ref().map(|target| (target.key, target.uri.to_string()));
        let expected = expected.map(|(key, left)| (key, left.to_owned()));
        assert_eq!(found, expected, "{uri}");
    }

    #[test]
    fn a_function_sees_the_path_after_its_name() {
        check("/function/echo", Some(("echo", "/")));
        check("/function/echo/", Some(("echo", "/")));
        check("/function/echo?a=b", Some(("echo", "/?a=b")));
        check("/function/echo/sub/path?a=b%20c&d", Some(("echo", "/sub/path?a=b%20c&d")));
        check("/function/echo.openfaas-fn/x", Some(("echo", "/x")));
        check("/function/echo.team", Some(("echo.team", "/")));
        check("/function/echo//x", Some(("echo", "//x")));
        check("/function/", None);
        check("/function//x", None);
        check("/function/.openfaas-fn", None);
    }

    #[test]
    fn headers_about_a_connection_are_left_out() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, X-Mine"),
            ("x-mine", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "x"),
            ("x-yours", "2"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        drop_hop_by_hop(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-yours"]);
    }

    #[test]
    fn who_forwarded_a_call_stays_known() {
        let mut headers = HeaderMap::new();
        headers.insert(FORWARDED_FOR, HeaderValue::from_static("192.0.2.1"));
        headers.insert(HOST, HeaderValue::from_static("edge"));
        let marks = Marks::set(&mut headers, &HeaderValue::from_static("192.0.2.2"));
        assert_eq!(headers[FORWARDED_FOR], "192.0.2.1, 192.0.2.2");
        assert_eq!(headers[FORWARDED_HOST], "edge");
        assert_eq!((headers[CALL_ID].len(), &headers[CALL_ID]), (36, &marks.id));
        let again = Marks::set(&mut headers, &HeaderValue::from_static("192.0.2.3"));
        assert_eq!(again.id, marks.id);
    }

    #[test]
    fn a_callback_is_a_url() {
        let parsed = |text: &'static str| callback(&HeaderValue::from_static(text)).is_ok();
        assert!(parsed("http://127.0.0.1:9000/done?x=1"));
        for wrong in ["", "/done", "ftp://host/", "https://host/", "http:///x", "http://"] {
            assert!(!parsed(wrong), "{wrong}");
        }
    }
}

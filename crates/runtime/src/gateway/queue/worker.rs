//! Carries one call out: once, to an end or to another attempt later.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{HeaderName, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};
use tokio::time::Instant;

use super::Shared;
use super::callback::Answered;
use super::schedule::Entry;
use super::store::Call;
use crate::functions::{DeployError, Functions};
use crate::gateway::invoke::CALL_ID;
use crate::gateway::route::on_disk;
use crate::pool::CallError;
use crate::spec::Retry;

/// How many attempts a call has behind it, and how many it has at most: for functions that look.
const ATTEMPT: HeaderName = HeaderName::from_static("x-retry");
const MAX_ATTEMPTS: HeaderName = HeaderName::from_static("x-retry-max");
/// Wait after a call to a function that was just being removed or updated.
const CLOSED_WAIT: Duration = Duration::from_secs(1);

/// How an attempt ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// It was answered for good.
    Done,
    /// It failed, and is not tried again.
    GivenUp,
    /// It is tried again after this time.
    Again(Duration),
}

pub(super) async fn carry_out(shared: &Arc<Shared>, functions: &Functions, entry: &Entry) -> End {
    let sequence = entry.sequence;
    let reading = Arc::clone(shared);
    let read = on_disk(move || {
        let read = reading.store.read(sequence);
        read.inspect_err(|error| reading.store.set_aside(sequence, error))
    });
    let Ok(call) = read.await else { return End::GivenUp };
    let end = attempt(shared, functions, entry, call).await;
    if !matches!(end, End::Again(_)) {
        let removing = Arc::clone(shared);
        on_disk(move || removing.store.remove(sequence)).await;
    }
    end
}

async fn attempt(shared: &Shared, functions: &Functions, entry: &Entry, call: Call) -> End {
    let started = Instant::now();
    let function = functions.get(&entry.function);
    let default = Retry::default();
    let retry = function.as_ref().map_or(&default, |function| &function.spec.retry);
    let id = call.headers.get(CALL_ID).cloned();
    let callback = call.callback.clone();
    let attempts = entry.attempts + 1;
    let request = request(call, entry.attempts, retry.attempts);
    let response = match functions.call(&entry.function, request).await {
        Some(Ok(response)) => response,
        // Another version takes its place, or none, which the next attempt sees.
        Some(Err(CallError::Closed { .. })) => return End::Again(CLOSED_WAIT),
        Some(Err(error)) => refused(error.status(), &error.to_string()),
        None => {
            let gone = DeployError::NotFound(entry.function.to_string());
            refused(StatusCode::NOT_FOUND, &gone.to_string())
        }
    };
    let status = response.status();
    let asked =
        response.headers().get(RETRY_AFTER).and_then(|wait| wait.to_str().ok()?.parse().ok());
    let asked = asked.map(Duration::from_secs);
    if let Some(wait) = retry.wait(attempts, status.as_u16(), asked, rand::random()) {
        return End::Again(wait);
    }
    let has_failed = retry.codes.contains(&status.as_u16()) || function.is_none();
    let shown = id
        .as_ref()
        .map_or_else(String::new, |id| String::from_utf8_lossy(id.as_bytes()).into_owned());
    let say = |text: String| {
        tracing::warn!(function = &*entry.function, "{text}");
        if let Some(function) = &function {
            function.logs.say(&text);
        }
    };
    if has_failed {
        say(format!("call {shown} is given up after {attempts} attempts, the last one: {status}"));
    }
    if let Some(url) = callback {
        let took = started.elapsed();
        let answered = Answered { function: &entry.function, id: id.as_ref(), took, response };
        if let Err(problem) = shared.callbacks.tell(&url, answered).await {
            shared.counts.lost_callbacks.fetch_add(1, Ordering::Relaxed);
            say(format!("call {shown}: callback {url} does not know of the answer: {problem}"));
        }
    }
    if has_failed { End::GivenUp } else { End::Done }
}

fn request(call: Call, behind: u32, max: u32) -> Request<Bytes> {
    let mut request = Request::new(call.body);
    *request.method_mut() = call.method;
    *request.uri_mut() = call.target;
    *request.headers_mut() = call.headers;
    if 0 < behind {
        request.headers_mut().insert(ATTEMPT, behind.into());
        request.headers_mut().insert(MAX_ATTEMPTS, max.into());
    }
    request
}

/// What a callback is told where the function answered nothing.
fn refused(status: StatusCode, reason: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::copy_from_slice(reason.as_bytes()));
    *response.status_mut() = status;
    response
}

//! Functions over HTTP: the paper's bodies, sent with POST.
//!
//! A call's status says what became of it:
//!
//! | status | meaning | the caller |
//! |---|---|---|
//! | 200 | the record met its fate, named in the body | goes on |
//! | 400, 413, 422 | the record can never succeed; `{"code", "reason"}` | dead-letters it |
//! | 424 | one in front of it failed, it was not carried out | goes on when that one has, not an attempt |
//! | 429 | too much to do; `Retry-After` | waits, not an attempt |
//! | 503 | not here at present (draining, broker away) | waits, not an attempt |
//! | other | the call failed | tries again, an attempt |
//!
//! A function that takes several records a call says so with `offramp-max-records` in its answers. It then takes
//! a list of bodies as well, carries the records out in their order, and answers 200 with a list of what became
//! of each, with the statuses above as `statusCode`.

mod callee;
pub mod client;
mod cloud_events;
pub(crate) mod function;
mod open_inference;
pub mod server;

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::HeaderName;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wire::{Reject, RejectCode};

use crate::connector::Called;
use crate::failure::{Failure, Fate};

pub(crate) use callee::Callee;
pub use callee::{BadUrl, Local};
pub use function::Function;

/// Largest body of a call, in bytes: base64 and JSON around the largest record that brokers take by default.
pub(crate) const MAX_BODY_BYTES: usize = 16 << 20;

/// Records of one call at most, whatever a function says that it takes.
pub(crate) const MAX_LIST: usize = 1024;

/// What a 429 without `Retry-After` is taken to ask for.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);
/// Longest wait that a `Retry-After` can ask for: a typing slip of a proxy must not stop a tier for a day.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// In an answer: how many records the function takes in one call.
pub(crate) const MAX_RECORDS: HeaderName = HeaderName::from_static("offramp-max-records");

/// What became of a record: the body of a 200, or an element of a list. `statusCode` is what the paper's
/// inference function answers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Done<'a> {
    #[serde(rename = "statusCode")]
    pub(crate) status_code: u16,
    /// The record's fate, where it has met one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fate: Option<Fate>,
    /// Why the record can never succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<RejectCode>,
    /// Why it has met none, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// When to come back.
    #[serde(rename = "retryAfterMs", skip_serializing_if = "Option::is_none")]
    pub(crate) retry_after_ms: Option<u64>,
    /// The answer, where the function has no exit destination.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(crate) answer: Option<&'a RawValue>,
    /// The features, where the function has no forward destination.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(crate) forward: Option<&'a RawValue>,
}

impl Done<'_> {
    /// What became of an element of a list.
    fn of(called: &Called) -> Self {
        let (status_code, failure) = match called {
            Ok(fate) => {
                return Self { status_code: 200, fate: Some(*fate), ..Self::default() };
            }
            Err(failure) => (status(failure).as_u16(), failure),
        };
        let (code, reason) = match failure {
            Failure::Reject(reject) => (Some(reject.code), reject.reason.clone()),
            Failure::Unavailable(reason) | Failure::Failed(reason) => (None, reason.clone()),
            Failure::Overloaded { .. } | Failure::Behind => (None, failure.to_string()),
        };
        let retry_after_ms = match failure {
            Failure::Overloaded { retry_after } => Some(retry_after.as_millis() as u64),
            _ => None,
        };
        Self { status_code, code, reason: Some(reason), retry_after_ms, ..Self::default() }
    }

    /// How the call ended for this element.
    fn called(self) -> Called {
        let status = StatusCode::from_u16(self.status_code);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status.is_success() {
            return Ok(self.fate.unwrap_or(Fate::Answered));
        }
        let reject =
            Reject::new(self.code.unwrap_or(RejectCode::Refused), self.reason.unwrap_or_default());
        Err(failure(status, reject, self.retry_after_ms.map(Duration::from_millis)))
    }
}

/// The status that says a failure.
fn status(failure: &Failure) -> StatusCode {
    match failure {
        Failure::Reject(_) => StatusCode::BAD_REQUEST,
        Failure::Overloaded { .. } => StatusCode::TOO_MANY_REQUESTS,
        Failure::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        Failure::Behind => StatusCode::FAILED_DEPENDENCY,
        Failure::Failed(_) => StatusCode::BAD_GATEWAY,
    }
}

/// The failure that a status says; the reverse of [`status`]. `reject` is why, for those that are final.
fn failure(status: StatusCode, reject: Reject, retry_after: Option<Duration>) -> Failure {
    match status {
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNPROCESSABLE_ENTITY => reject.into(),
        StatusCode::FAILED_DEPENDENCY => Failure::Behind,
        StatusCode::TOO_MANY_REQUESTS => {
            let retry_after = retry_after.unwrap_or(DEFAULT_RETRY_AFTER).min(MAX_RETRY_AFTER);
            Failure::Overloaded { retry_after }
        }
        StatusCode::SERVICE_UNAVAILABLE => Failure::Unavailable(reject.reason),
        _ => Failure::Failed(reject.reason),
    }
}

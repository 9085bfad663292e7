//! Answers of the gateway's own.

use std::fmt::Display;

use bytes::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::body::Body;
use crate::functions::DeployError;
use crate::pool::CallError;
use crate::secrets::SecretError;

use super::namespaces::NamespaceError;

pub(super) type Answer = Response<Body>;

/// An answer that says why there is no other.
#[derive(Debug)]
pub(super) struct Refusal(Box<Answer>);

impl From<Answer> for Refusal {
    fn from(answer: Answer) -> Self {
        Self(Box::new(answer))
    }
}

/// The answer, whichever it is.
pub(super) fn either(answered: Result<Answer, Refusal>) -> Answer {
    answered.unwrap_or_else(|Refusal(answer)| *answer)
}

/// Says that an answer is the gateway's, and not the function's.
const INTERNAL: HeaderName = HeaderName::from_static("x-openfaas-internal");

/// A sentence.
pub(super) fn text(status: StatusCode, text: impl Display) -> Answer {
    let mut answer = Response::new(Body::from(Bytes::from(text.to_string())));
    *answer.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, plain);
    answer
}

pub(super) fn json(value: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(value).expect("an answer is plain JSON");
    let mut answer = Response::new(Body::from(Bytes::from(body)));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

pub(super) fn not_found(path: &str) -> Answer {
    text(StatusCode::NOT_FOUND, format_args!("there is nothing at {path}"))
}

pub(super) fn no_function(key: &str) -> Answer {
    text(StatusCode::NOT_FOUND, DeployError::NotFound(key.to_owned()))
}

pub(super) fn not_allowed(allowed: &'static str) -> Answer {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let mut answer = text(status, format_args!("this is asked for with {allowed}"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

pub(super) fn unauthorized() -> Answer {
    let mut answer = text(StatusCode::UNAUTHORIZED, "invalid credentials");
    let realm = HeaderValue::from_static("Basic realm=\"Restricted\"");
    answer.headers_mut().insert(WWW_AUTHENTICATE, realm);
    answer
}

pub(super) fn stopping() -> Answer {
    text(StatusCode::SERVICE_UNAVAILABLE, "the gateway is stopping")
}

/// The answer to a call that the function gave none to.
pub(super) fn not_called(error: &CallError) -> Answer {
    let mut answer = text(error.status(), error);
    answer.headers_mut().insert(INTERNAL, HeaderValue::from_static("gateway"));
    if let CallError::Overloaded { retry_after, .. } = error {
        // The header counts whole seconds.
        let seconds = retry_after.as_secs_f64().ceil() as u64;
        answer.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    answer
}

impl From<DeployError> for Refusal {
    fn from(error: DeployError) -> Self {
        let status = match error {
            DeployError::Invalid(_) | DeployError::CanNotRun { .. } | DeployError::TooMany => {
                StatusCode::BAD_REQUEST
            }
            DeployError::Exists(_) => StatusCode::CONFLICT,
            DeployError::NotFound(_) => StatusCode::NOT_FOUND,
            DeployError::Store { .. } | DeployError::Stored { .. } => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        text(status, error).into()
    }
}

impl From<SecretError> for Refusal {
    fn from(error: SecretError) -> Self {
        let status = match error {
            SecretError::Name(_) | SecretError::Size { .. } | SecretError::TooMany => {
                StatusCode::BAD_REQUEST
            }
            SecretError::Exists(_) => StatusCode::CONFLICT,
            SecretError::NotFound(_) => StatusCode::NOT_FOUND,
            SecretError::Store { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        text(status, error).into()
    }
}

impl From<NamespaceError> for Refusal {
    fn from(error: NamespaceError) -> Self {
        let status = match error {
            NamespaceError::Name(_) | NamespaceError::Default | NamespaceError::TooMany => {
                StatusCode::BAD_REQUEST
            }
            NamespaceError::Exists(_) | NamespaceError::InUse { .. } => StatusCode::CONFLICT,
            NamespaceError::NotFound(_) => StatusCode::NOT_FOUND,
            NamespaceError::Store { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        text(status, error).into()
    }
}

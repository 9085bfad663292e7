//! Functions that a record goes through before its inference, or an answer after it: decode, crop, alert.
//!
//! A step is called with the record's value as the body, by POST, with what is known of the record in headers:
//! `offramp-id` and the other headers of ours, `offramp-topic`, `-partition` and `-offset` where it comes from a log,
//! and `offramp-timestamp-ms`. What it answers decides:
//!
//! | status | the record |
//! |---|---|
//! | 200 with a body | has this value from now on; `offramp-encoding` in the answer says how it is written |
//! | 200 without one, 204 | stays as it is |
//! | 400, 413, 422 | can never succeed: it becomes a dead letter, with the function's words |
//! | 429, 503 | waits, not an attempt |
//! | other, or none in time | is tried again, an attempt |

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Request, StatusCode};
use wire::{Header, Record, Source, header};

use crate::failure::{Failure, Fate};
use crate::http::{BadUrl, Callee, Local};

/// One of the functions that a record goes through.
#[derive(Debug, Clone)]
pub struct Step {
    callee: Callee,
    timeout: Duration,
}

impl Step {
    /// A step at a URL, `http://` or `h2c://`, that may take this long for a record.
    pub fn at(url: &str, timeout: Duration) -> Result<Self, BadUrl> {
        Ok(Self { callee: Callee::at(url)?, timeout })
    }

    /// A step that is a function of this process, called `name` in messages.
    pub fn local(name: &str, local: Arc<dyn Local>, timeout: Duration) -> Self {
        Self { callee: Callee::local(name, local), timeout }
    }

    /// Calls it with a record, which has met its fate once it answers.
    pub(crate) async fn call(
        &self,
        record: &Record,
        source: Option<&Source>,
    ) -> Result<Fate, Failure> {
        self.take(record, source).await.map(|_| Fate::Answered)
    }

    /// What becomes of a record; `None` if it stays as it is.
    async fn take(
        &self,
        record: &Record,
        source: Option<&Source>,
    ) -> Result<Option<Record>, Failure> {
        let response = self.callee.answer(self.request(record, source), self.timeout).await?;
        if !response.status().is_success() {
            return Err(self.callee.failure(&response));
        }
        if response.status() == StatusCode::NO_CONTENT || response.body().is_empty() {
            return Ok(None);
        }
        let encoding = response.headers().get(header::ENCODING);
        let mut changed = record.clone();
        if let Some(encoding) = encoding.and_then(|encoding| encoding.to_str().ok()) {
            changed.headers.retain(|header| header.name != header::ENCODING);
            changed.headers.push(Header::new(header::ENCODING, encoding.to_owned()));
        }
        changed.value = Some(response.into_body());
        Ok(Some(changed))
    }

    fn request(&self, record: &Record, source: Option<&Source>) -> Request<Bytes> {
        let mut request = Request::post(self.callee.uri())
            .body(record.value.clone().unwrap_or_default())
            .expect("the parts of the request are valid");
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let mut add = |name: &str, value: &[u8]| {
            // What HTTP can't carry, the function does not get; the record keeps it.
            if let Ok(name) = HeaderName::from_bytes(name.as_bytes())
                && let Ok(value) = HeaderValue::from_bytes(value)
            {
                headers.append(name, value);
            }
        };
        let ours = record.headers.iter().filter(|header| header.name.starts_with("offramp-"));
        for header in ours {
            add(&header.name, header.value.as_deref().unwrap_or_default());
        }
        if let Some(source) = source {
            add("offramp-topic", source.topic.as_bytes());
            add("offramp-partition", source.partition.to_string().as_bytes());
            add("offramp-offset", source.offset.to_string().as_bytes());
        }
        if let Some(at) = record.timestamp_ms {
            add("offramp-timestamp-ms", at.to_string().as_bytes());
        }
        request
    }
}

/// Takes a record through steps, in order; `None` if it stays as it is.
pub(crate) async fn through(
    steps: &[Step],
    record: &Record,
    source: Option<&Source>,
) -> Result<Option<Record>, Failure> {
    let mut changed = None;
    for step in steps {
        let now = changed.as_ref().unwrap_or(record);
        if let Some(next) = step.take(now, source).await? {
            changed = Some(next);
        }
    }
    Ok(changed)
}

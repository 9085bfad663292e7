//! Calls a function with records: over HTTP, or in this process as if it were.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::{Request, Response};
use wire::{Record, Reject, RejectCode, Source, body};

use crate::failure::{Failure, Fate};
use crate::http::callee::{BadUrl, Callee, Local};
use crate::http::{Done, MAX_BODY_BYTES, MAX_LIST, MAX_RECORDS};

/// The gateways' default for a synchronous call.
const CALL_TIMEOUT: Duration = Duration::from_mins(1);

/// A list of bodies larger than this goes as several. Each must fit the function's bound on a call's body.
const MAX_LIST_BYTES: usize = MAX_BODY_BYTES / 4;

/// A function that takes records in the paper's bodies. Clones share its connections.
#[derive(Debug, Clone)]
pub struct HttpFunction {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    callee: Callee,
    /// Records that it takes in one call, as it has said last.
    max_records: AtomicUsize,
}

impl HttpFunction {
    /// A function behind `url`: `http://` for HTTP/1.1, `h2c://` for HTTP/2 without TLS, which many calls at
    /// once share one connection of (TLS is a proxy's work).
    pub fn new(url: &str) -> Result<Self, BadUrl> {
        Ok(Self::of(Callee::at(url)?))
    }

    /// A function of this process, called `name` in messages: letters, digits, `-` and `_`.
    pub fn local(name: &str, local: Arc<dyn Local>) -> Self {
        Self::of(Callee::local(name, local))
    }

    fn of(callee: Callee) -> Self {
        Self { shared: Arc::new(Shared { callee, max_records: AtomicUsize::new(1) }) }
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
        let callee = &self.shared.callee;
        let request = Request::post(callee.uri())
            .header(CONTENT_TYPE, "application/json")
            .body(body)
            .expect("the parts of the request are valid");
        let response = callee.answer(request, CALL_TIMEOUT).await?;
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
        Err(match self.shared.callee.failure(response) {
            Failure::Reject(refused) => serde_json::from_slice(body).unwrap_or(refused).into(),
            said => said,
        })
    }
}

//! What a function answers to a request, wherever it runs.
//!
//! | request | answer |
//! |---|---|
//! | `GET /_/health`, `GET /_/ready` | 200 `OK` |
//! | `/v2`, `/v2/…`, where it is an inference function | Open Inference Protocol ([`open_inference`]) |
//! | `POST` of a CloudEvent | a record ([`cloud_events`]) |
//! | `POST` that a platform's trigger made of a record | a record ([`trigger`]) |
//! | `POST` of `application/octet-stream` | a record of that value |
//! | `POST` of anything else | a call with the paper's body, or a list of such (see [`wire::body`] and [`crate::http`]) |
//!
//! What a request is, its headers say; its path says nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout, timeout_at};
use wire::{Record, Reject, RejectCode, Source, body};

use crate::connector::{Called, Lane};
use crate::failure::{Failure, Fate};
use crate::funnel::Funnel;
use crate::http::{Done, MAX_LIST, MAX_RECORDS, cloud_events, open_inference, status};
use crate::inference::{Incoming, Inference, Outcome};
use crate::platform::trigger;

/// Records that a funnel takes in one call.
const MAX_FUNNELED: usize = 256;
/// Time that a function waits for what it writes to be durable. Below the callers' own 60 s, so that they hear 503,
/// which they wait out, and not silence, which they count as an attempt.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(20);

/// A function that can be called.
#[derive(Debug, Clone)]
pub enum Function {
    /// Sub-model → exit or forward.
    Inference(Arc<Inference>),
    /// Function → Kafka.
    Funnel(Funnel),
    /// Only probes: for a connector, which nobody calls.
    Probes,
    /// Gives back what it gets after this time: to try with what calls and scales functions.
    Wait(Duration),
}

pub(crate) type Answer = Response<Bytes>;

impl Function {
    /// Answers a request whose body has been read.
    pub async fn answer(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let path = request.uri().path();
        if let Self::Inference(inference) = self
            && open_inference::is_route(path)
        {
            return open_inference::answer(inference, request).await;
        }
        match (request.method(), self) {
            (&Method::GET, _) if matches!(path, "/_/health" | "/_/ready") => {
                text(StatusCode::OK, "OK")
            }
            (&Method::POST, Self::Wait(time)) => {
                tokio::time::sleep(*time).await;
                Response::new(request.body().clone())
            }
            (&Method::POST, Self::Probes) => {
                text(StatusCode::NOT_FOUND, "a connector takes no calls")
            }
            (&Method::POST, _) => {
                if let Some(mode) = cloud_events::Mode::of(request.headers()) {
                    return cloud_events::answer(self, mode, request).await;
                }
                let mut answer = match trigger::record(request) {
                    Some(record) => self.call_with(record).await,
                    None => self.call(request.body()).await,
                };
                answer.headers_mut().insert(MAX_RECORDS, self.max_records().into());
                answer
            }
            _ => {
                let mut answer =
                    text(StatusCode::METHOD_NOT_ALLOWED, "a function is called with POST");
                answer.headers_mut().insert(ALLOW, "POST".parse().expect("a legal header"));
                answer
            }
        }
    }

    /// Carries out what a body of the paper's says, or a list of such bodies.
    pub(crate) async fn call(&self, body: &[u8]) -> Answer {
        let is_list = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
        let called = if is_list {
            self.call_list(body).await
        } else {
            match body::decode(body) {
                Ok(record) => return self.call_with(record).await,
                Err(reject) => Err(reject.into()),
            }
        };
        called.unwrap_or_else(|failure| refuse(&failure))
    }

    /// Carries out one record.
    async fn call_with(&self, record: (Record, Option<Source>)) -> Answer {
        let mut carried_out = self.carry_out(vec![record]).await;
        let (returned, called) = carried_out.pop().expect("one for one");
        match called {
            Ok(_) => json(StatusCode::OK, &returned.bodies().done(&called)),
            Err(failure) => refuse(&failure),
        }
    }

    async fn call_list(&self, body: &[u8]) -> Result<Answer, Failure> {
        let reject = |reason: String| Reject::new(RejectCode::NotJson, reason);
        let list: Vec<&RawValue> = serde_json::from_slice(body)
            .map_err(|error| reject(format!("the list of bodies is not JSON: {error}")))?;
        if MAX_LIST < list.len() {
            let reason = format!("the list has {} bodies, expected at most {MAX_LIST}", list.len());
            return Err(Reject::new(RejectCode::TooLarge, reason).into());
        }
        let mut called: Vec<Option<(Returned, Called)>> = Vec::with_capacity(list.len());
        let mut records = Vec::with_capacity(list.len());
        for body in list {
            match body::decode(body.get().as_bytes()) {
                Ok(record) => {
                    records.push(record);
                    called.push(None);
                }
                Err(reject) => called.push(Some((Returned::default(), Err(reject.into())))),
            }
        }
        let mut carried_out = self.carry_out(records).await.into_iter();
        for called in called.iter_mut().filter(|called| called.is_none()) {
            *called = carried_out.next();
        }
        let called = called.into_iter().flatten();
        let called: Vec<_> = called.map(|(back, called)| (back.bodies(), called)).collect();
        let done: Vec<Done<'_>> =
            called.iter().map(|(bodies, called)| bodies.done(called)).collect();
        Ok(json(StatusCode::OK, &done))
    }

    /// Carries out records, in their order. One that failed and may succeed later holds those behind it back:
    /// which of them have to wait for it, their caller knows and the function does not.
    pub(crate) async fn carry_out(
        &self,
        records: Vec<(Record, Option<Source>)>,
    ) -> Vec<(Returned, Called)> {
        match self {
            Self::Inference(inference) => infer_many(inference, &records).await,
            Self::Funnel(funnel) => {
                let records: Vec<Record> = records.into_iter().map(|(record, _)| record).collect();
                let called = funnel_many(funnel, &records).await;
                called.into_iter().map(|called| (Returned::default(), called)).collect()
            }
            Self::Probes | Self::Wait(_) => unreachable!("it takes no records"),
        }
    }

    /// Records that it takes in one call.
    fn max_records(&self) -> usize {
        match self {
            Self::Inference(inference) => inference.max_batch(),
            Self::Funnel(_) => MAX_FUNNELED,
            Self::Probes | Self::Wait(_) => 1,
        }
    }
}

async fn infer_many(
    inference: &Inference,
    records: &[(Record, Option<Source>)],
) -> Vec<(Returned, Called)> {
    let incoming = records.iter();
    let incoming: Vec<_> =
        incoming.map(|(record, source)| Incoming::now(record, source.as_ref())).collect();
    let outcomes = inference.infer_many(&incoming).await;
    let returned = outcomes.iter().map(|outcome| {
        outcome.as_ref().map_or_else(|_| Returned::default(), |o| Returned::of(inference, o))
    });
    let returned: Vec<Returned> = returned.collect();
    let lanes = vec![Some(Lane::Partition(0)); outcomes.len()];
    let delivered = async {
        let mut called = inference.deliver_many(outcomes, &lanes).await;
        inference.bury_refused(records, &mut called).await;
        called
    };
    let called = timeout(DELIVERY_TIMEOUT, delivered).await.unwrap_or_else(|_| {
        let seconds = DELIVERY_TIMEOUT.as_secs();
        let reason = format!("the results were not durable within {seconds} s");
        vec![Err(Failure::Unavailable(reason)); records.len()]
    });
    returned.into_iter().zip(called).collect()
}

/// Has records stored, in their order.
async fn funnel_many(funnel: &Funnel, records: &[Record]) -> Vec<Called> {
    let mut called = Vec::with_capacity(records.len());
    // The broker may be away for long; the caller should hear that before it gives up.
    let deadline = Instant::now() + DELIVERY_TIMEOUT;
    let away = |_| {
        let (topic, waited) = (funnel.topic(), DELIVERY_TIMEOUT.as_secs());
        Failure::Unavailable(format!("topic `{topic}`: no delivery report within {waited} s"))
    };
    let mut sending = Vec::with_capacity(records.len());
    for record in records {
        let last: Option<&Result<_, Failure>> = sending.last();
        let is_stuck =
            last.is_some_and(|sending| sending.as_ref().is_err_and(Failure::may_succeed_later));
        sending.push(if is_stuck {
            Err(Failure::Behind)
        } else {
            timeout_at(deadline, funnel.enqueue(record))
                .await
                .unwrap_or_else(|late| Err(away(late)))
        });
    }
    for sending in sending {
        called.push(match sending {
            Ok(sending) => timeout_at(deadline, sending.confirmed())
                .await
                .unwrap_or_else(|late| Err(away(late)))
                .map(|()| Fate::Answered),
            Err(failure) => Err(failure),
        });
    }
    called
}

/// The parts of an outcome that go back to the caller.
#[derive(Debug, Default)]
pub(crate) struct Returned {
    pub(crate) answer: Option<Record>,
    pub(crate) forward: Option<Record>,
}

/// The same as bodies.
#[derive(Debug)]
struct Bodies {
    answer: Option<Box<RawValue>>,
    forward: Option<Box<RawValue>>,
}

impl Returned {
    fn of(inference: &Inference, outcome: &Outcome) -> Self {
        let (answer, forward) = inference.returned(outcome);
        Self { answer, forward }
    }

    fn bodies(&self) -> Bodies {
        let body = |record: &Option<Record>| {
            let body = body::encode(record.as_ref()?, None);
            let body = String::from_utf8(body).expect("a body is text");
            Some(RawValue::from_string(body).expect("a body is JSON"))
        };
        Bodies { answer: body(&self.answer), forward: body(&self.forward) }
    }
}

impl Bodies {
    fn done(&self, called: &Called) -> Done<'_> {
        let mut done = Done::of(called);
        if called.is_ok() {
            done.answer = self.answer.as_deref();
            done.forward = self.forward.as_deref();
        }
        done
    }
}

/// The answer that says a failure.
pub(crate) fn refuse(failure: &Failure) -> Answer {
    match failure {
        Failure::Reject(reject) => rejected(status(failure), reject),
        Failure::Overloaded { retry_after } => {
            let mut answer = text(status(failure), &failure.to_string());
            // The header counts whole seconds.
            let seconds = retry_after.as_secs_f64().ceil() as u64;
            answer.headers_mut().insert(RETRY_AFTER, seconds.into());
            answer
        }
        _ => text(status(failure), &failure.to_string()),
    }
}

pub(crate) fn rejected(status: StatusCode, reject: &Reject) -> Answer {
    json(status, reject)
}

/// An answer of JSON.
pub(crate) fn json(status: StatusCode, body: &impl serde::Serialize) -> Answer {
    let body = serde_json::to_vec(body).expect("an answer is plain JSON");
    of_type(status, "application/json", body)
}

/// An answer of text.
pub(crate) fn text(status: StatusCode, body: &str) -> Answer {
    of_type(status, "text/plain; charset=utf-8", body.to_owned())
}

/// An answer of this media type.
pub(crate) fn of_type(
    status: StatusCode,
    media_type: &'static str,
    body: impl Into<Bytes>,
) -> Answer {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, media_type)
        .body(body.into())
        .expect("the parts of the answer are valid")
}

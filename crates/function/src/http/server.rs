//! Serves one function over HTTP/1.1, and HTTP/2 without TLS where a caller begins with it.
//!
//! | route | answer |
//! |---|---|
//! | `GET /_/health`, `GET /_/ready` | 200 `OK`; 503 while draining |
//! | `POST` anything else | a call with the paper's body, or a list of such (see [`wire::body`] and [`crate::http`]) |
//!
//! Connections, bodies and the time to send a request's head are bounded. Told to stop, the server answers
//! probes on open connections with 503, finishes the calls that are under way, and closes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming as IncomingBody;
use hyper::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use serde_json::value::RawValue;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use wire::{Record, Reject, RejectCode, Source, body};

use crate::connector::{Called, Lane};
use crate::failure::{Failure, Fate};
use crate::funnel::Funnel;
use crate::http::{Done, MAX_BODY_BYTES, MAX_LIST, MAX_RECORDS, status};
use crate::inference::{Incoming, Inference, Outcome};
use crate::stop::Stop;

/// Connections at once; further ones wait in the listener's backlog.
const MAX_CONNECTIONS: usize = 1024;
/// Calls of one HTTP/2 connection at once.
const MAX_STREAMS: u32 = 256;
/// Records that a funnel takes in one call.
const MAX_FUNNELED: usize = 256;
/// Time to send a request's head; then the connection is closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// What is read of a body that is too large, and thrown away, so that its sender hears that it is.
const MAX_DISCARDED_BYTES: usize = MAX_BODY_BYTES;
/// Time to send a request's body.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Time that a funnel waits for a delivery report. Below the callers' own 60 s, so that they hear 503, which
/// they wait out, and not silence, which they count as an attempt.
const FUNNEL_TIMEOUT: Duration = Duration::from_secs(20);
/// Calls under way get this long to finish; see the connector's deadline.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

/// What a server serves.
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

impl Function {
    /// Carries out records, in their order. One that failed and may succeed later holds those behind it back:
    /// which of them have to wait for it, their caller knows and the function does not.
    async fn carry_out(&self, records: Vec<(Record, Option<Source>)>) -> Vec<(Returned, Called)> {
        match self {
            Self::Inference(inference) => {
                let incoming = records.iter();
                let incoming: Vec<_> = incoming
                    .map(|(record, source)| Incoming::now(record, source.as_ref()))
                    .collect();
                let outcomes = inference.infer_many(&incoming).await;
                let returned = outcomes.iter().map(|outcome| {
                    let outcome = outcome.as_ref().ok();
                    outcome.map_or_else(Returned::default, |o| Returned::of(inference, o))
                });
                let returned: Vec<Returned> = returned.collect();
                let lanes = vec![Some(Lane::Partition(0)); outcomes.len()];
                returned.into_iter().zip(inference.deliver_many(outcomes, &lanes).await).collect()
            }
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

/// A server could not listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; expected a free port (port 0 takes any)")]
pub struct CannotListen {
    address: SocketAddr,
    source: std::io::Error,
}

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Listens on an address.
    pub async fn bind(address: SocketAddr) -> Result<Self, CannotListen> {
        let failed = |source| CannotListen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `function` until told to stop and drained.
    pub async fn serve(self, function: Function, mut stop: Stop) {
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            let accepted = async {
                let permit = Arc::clone(&room).acquire_owned().await.expect("never closed");
                (permit, self.listener.accept().await)
            };
            tokio::select! {
                (permit, accepted) = accepted => match accepted {
                    Ok((stream, _)) => {
                        let (function, stop) = (function.clone(), stop.clone());
                        connections.spawn(async move {
                            serve_connection(stream, function, stop).await;
                            drop(permit);
                        });
                    }
                    // Out of file descriptors, most likely: closing connections give some back.
                    Err(error) => {
                        tracing::warn!("connection not accepted: {error}");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(_) = connections.join_next() => {}
                () = stop.said() => break,
            }
        }
        drop(self.listener);
        let drain = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_TIMEOUT, drain).await.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "connections closed while calls were under way"
            );
        }
    }
}

async fn serve_connection(stream: TcpStream, function: Function, mut stop: Stop) {
    // Answers are small and must not wait for more.
    let _ = stream.set_nodelay(true);
    let draining = stop.clone();
    let service = service_fn(move |request| respond(function.clone(), draining.is_said(), request));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .keep_alive_interval(Some(HEAD_TIMEOUT));
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.said() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("connection ended: {error}");
    }
}

type Answer = Response<Bytes>;

async fn respond(
    function: Function,
    draining: bool,
    request: Request<IncomingBody>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_probe = matches!(request.uri().path(), "/_/health" | "/_/ready");
    let answer = if draining && is_probe && request.method() == Method::GET {
        text(StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else {
        let (head, body) = request.into_parts();
        let body =
            if head.method == Method::POST { read_body(body).await } else { Ok(Bytes::new()) };
        match body {
            Ok(body) => function.answer(&Request::from_parts(head, body)).await,
            Err(answer) => answer,
        }
    };
    Ok(answer.map(Full::new))
}

impl Function {
    async fn wait(&self, request: &Request<Bytes>) -> Answer {
        if let Self::Wait(time) = self {
            tokio::time::sleep(*time).await;
        }
        Response::new(request.body().clone())
    }

    /// Answers a request whose body has been read.
    pub async fn answer(&self, request: &Request<Bytes>) -> Response<Bytes> {
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/_/health" | "/_/ready") => text(StatusCode::OK, "OK"),
            (&Method::POST, _) if matches!(self, Self::Wait(_)) => self.wait(request).await,
            (&Method::POST, _) if matches!(self, Self::Probes) => {
                text(StatusCode::NOT_FOUND, "a connector takes no calls")
            }
            (&Method::POST, _) => {
                let body = request.body();
                let is_list = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
                let called =
                    if is_list { call_many(self, body).await } else { call(self, body).await };
                let mut answer = called.unwrap_or_else(|failure| refuse(&failure));
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
}

async fn read_body(mut body: IncomingBody) -> Result<Bytes, Answer> {
    let read = async {
        let read = Limited::new(&mut body, MAX_BODY_BYTES).collect().await;
        // Whoever is still sending when the connection closes gets a broken pipe, and not the answer.
        let mut discarded = 0;
        while discarded < MAX_DISCARDED_BYTES
            && let Some(Ok(frame)) = body.frame().await
        {
            discarded += frame.data_ref().map_or(0, Bytes::len);
        }
        read
    };
    match tokio::time::timeout(BODY_TIMEOUT, read).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let reason = format!("the body is larger than {MAX_BODY_BYTES} bytes");
            Err(rejected(StatusCode::PAYLOAD_TOO_LARGE, &Reject::new(RejectCode::TooLarge, reason)))
        }
        Ok(Err(error)) => {
            let reason = format!("the body broke off: {error}");
            Err(rejected(StatusCode::BAD_REQUEST, &Reject::new(RejectCode::NotJson, reason)))
        }
        Err(_) => Err(text(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")),
    }
}

async fn call(function: &Function, body: &[u8]) -> Result<Answer, Failure> {
    let mut carried_out = function.carry_out(vec![body::decode(body)?]).await;
    let (returned, called) = carried_out.pop().expect("one for one");
    let fate = called?;
    Ok(json(StatusCode::OK, &returned.done(&Ok(fate))))
}

async fn call_many(function: &Function, body: &[u8]) -> Result<Answer, Failure> {
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
    let mut carried_out = function.carry_out(records).await.into_iter();
    for called in called.iter_mut().filter(|called| called.is_none()) {
        *called = carried_out.next();
    }
    let done: Vec<Done<'_>> =
        called.iter().flatten().map(|(returned, called)| returned.done(called)).collect();
    Ok(json(StatusCode::OK, &done))
}

/// Has records stored, in their order.
async fn funnel_many(funnel: &Funnel, records: &[Record]) -> Vec<Called> {
    let mut called = Vec::with_capacity(records.len());
    // The broker may be away for long; the caller should hear that before it gives up.
    let deadline = Instant::now() + FUNNEL_TIMEOUT;
    let away = |_| {
        let (topic, waited) = (funnel.topic(), FUNNEL_TIMEOUT.as_secs());
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

/// The parts of an outcome that go back to the caller, as bodies.
#[derive(Debug, Default)]
struct Returned {
    answer: Option<Box<RawValue>>,
    forward: Option<Box<RawValue>>,
}

impl Returned {
    fn of(inference: &Inference, outcome: &Outcome) -> Self {
        let (answer, forward) = inference.returned(outcome);
        let body = |record: Option<Record>| {
            let body = String::from_utf8(body::encode(&record?, None)).expect("a body is text");
            Some(RawValue::from_string(body).expect("a body is JSON"))
        };
        Self { answer: body(answer), forward: body(forward) }
    }

    fn done(&self, called: &Called) -> Done<'_> {
        let mut done = Done::of(called);
        if called.is_ok() {
            done.answer = self.answer.as_deref();
            done.forward = self.forward.as_deref();
        }
        done
    }
}

fn refuse(failure: &Failure) -> Answer {
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

fn rejected(status: StatusCode, reject: &Reject) -> Answer {
    json(status, reject)
}

fn json(status: StatusCode, body: &impl serde::Serialize) -> Answer {
    let body = serde_json::to_vec(body).expect("an answer is plain JSON");
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/json")
        .body(Bytes::from(body))
        .expect("the parts of the answer are valid")
}

fn text(status: StatusCode, body: &str) -> Answer {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "text/plain; charset=utf-8")
        .body(Bytes::from(body.to_owned()))
        .expect("the parts of the answer are valid")
}

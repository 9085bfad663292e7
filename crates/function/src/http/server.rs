//! Serves one function over HTTP/1.1.
//!
//! | route | answer |
//! |---|---|
//! | `GET /_/health`, `GET /_/ready` | 200 `OK`; 503 while draining |
//! | `POST` anything else | a call with the paper's body (see [`wire::body`] and [`crate::http`]) |
//!
//! Connections, bodies and the time to send a request's head are bounded. Told to stop, the server answers
//! probes on open connections with 503, finishes the calls that are under way, and closes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use wire::{Reject, RejectCode, body};

use crate::failure::{Failure, Fate};
use crate::funnel::Funnel;
use crate::http::{Done, MAX_BODY_BYTES};
use crate::inference::Inference;
use crate::stop::Stop;

/// Connections at once; further ones wait in the listener's backlog.
const MAX_CONNECTIONS: usize = 1024;
/// Time to send a request's head; then the connection is closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
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
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
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

type Answer = Response<Full<Bytes>>;

async fn respond(
    function: Function,
    draining: bool,
    request: Request<Incoming>,
) -> Result<Answer, Infallible> {
    Ok(match (request.method(), request.uri().path()) {
        (&Method::GET, "/_/health" | "/_/ready") if draining => {
            text(StatusCode::SERVICE_UNAVAILABLE, "draining")
        }
        (&Method::GET, "/_/health" | "/_/ready") => text(StatusCode::OK, "OK"),
        (&Method::POST, _) => match read_body(request).await {
            Ok(body) => call(&function, &body).await.unwrap_or_else(|failure| refuse(&failure)),
            Err(answer) => answer,
        },
        _ => {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "a function is called with POST");
            answer.headers_mut().insert(ALLOW, "POST".parse().expect("a legal header"));
            answer
        }
    })
}

async fn read_body(request: Request<Incoming>) -> Result<Bytes, Answer> {
    let body = Limited::new(request.into_body(), MAX_BODY_BYTES).collect();
    match tokio::time::timeout(BODY_TIMEOUT, body).await {
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
    let (record, source) = body::decode(body)?;
    match function {
        Function::Inference(inference) => {
            let outcome = inference.infer(&record, source.as_ref()).await?;
            let fate = inference.deliver(&outcome).await?;
            let (answer, forward) = inference.returned(&outcome);
            let answer = answer.map(|record| body::encode(record, None));
            let forward = forward.map(|record| body::encode(record, None));
            Ok(done(fate, answer.as_deref(), forward.as_deref()))
        }
        Function::Funnel(funnel) => {
            // The broker may be away for long; the caller should hear that before it gives up.
            let sent = tokio::time::timeout(FUNNEL_TIMEOUT, funnel.send(&record));
            sent.await.map_err(|_| {
                let topic = funnel.topic();
                let waited = FUNNEL_TIMEOUT.as_secs();
                Failure::Unavailable(format!(
                    "topic `{topic}`: no delivery report within {waited} s"
                ))
            })??;
            Ok(done(Fate::Answered, None, None))
        }
        Function::Probes => Ok(text(StatusCode::NOT_FOUND, "a connector takes no calls")),
    }
}

fn done(fate: Fate, answer: Option<&[u8]>, forward: Option<&[u8]>) -> Answer {
    let raw = |body| serde_json::from_slice(body).expect("an encoded body is JSON");
    let done = Done { status_code: 200, fate, answer: answer.map(raw), forward: forward.map(raw) };
    json(StatusCode::OK, &done)
}

fn refuse(failure: &Failure) -> Answer {
    match failure {
        Failure::Reject(reject) => rejected(StatusCode::BAD_REQUEST, reject),
        Failure::Overloaded { retry_after } => {
            let mut answer = text(StatusCode::TOO_MANY_REQUESTS, &failure.to_string());
            // The header counts whole seconds.
            let seconds = retry_after.as_secs_f64().ceil() as u64;
            answer.headers_mut().insert(RETRY_AFTER, seconds.into());
            answer
        }
        Failure::Unavailable(_) | Failure::Behind => {
            text(StatusCode::SERVICE_UNAVAILABLE, &failure.to_string())
        }
        Failure::Failed(_) => text(StatusCode::BAD_GATEWAY, &failure.to_string()),
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
        .body(Full::from(body))
        .expect("the parts of the answer are valid")
}

fn text(status: StatusCode, body: &str) -> Answer {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "text/plain; charset=utf-8")
        .body(Full::from(body.to_owned()))
        .expect("the parts of the answer are valid")
}

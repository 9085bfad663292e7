//! Serves over HTTP/1.1, and HTTP/2 without TLS where a caller begins with it.
//!
//! Connections, bodies and the time to send a request's head are bounded. Told to stop, the server goes on for a
//! grace in which what it serves knows that it drains, so that whoever sends calls can turn away; then it finishes the
//! calls that are under way, and closes.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming as IncomingBody;
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use wire::{Reject, RejectCode};

use crate::http::function::{rejected, text};
use crate::http::{Function, MAX_BODY_BYTES};
use crate::stop::{self, Stop};

/// Connections at once; further ones wait in the listener's backlog.
const MAX_CONNECTIONS: usize = 1024;
/// Calls of one HTTP/2 connection at once.
const MAX_STREAMS: u32 = 256;
/// Time to send a request's head; then the connection is closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// What is read of a body that is too large, and thrown away, so that its sender hears that it is.
const MAX_DISCARDED_BYTES: usize = MAX_BODY_BYTES;
/// Time to send a request's body.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Calls under way get this long to finish; see the connector's deadline.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

/// What a server serves.
pub trait Service: Send + Sync + 'static {
    /// Answers a request. Bodies are read for `POST` only; `draining` says that the process is about to end.
    fn answer(
        &self,
        request: Request<Bytes>,
        draining: bool,
    ) -> impl Future<Output = Response<Bytes>> + Send;

    /// Bytes that the body of a request may have.
    fn max_body_bytes(&self, _: &Parts) -> usize {
        MAX_BODY_BYTES
    }
}

impl Service for Function {
    async fn answer(&self, request: Request<Bytes>, draining: bool) -> Response<Bytes> {
        let is_probe = matches!(request.uri().path(), "/_/health" | "/_/ready");
        if draining && is_probe && request.method() == Method::GET {
            return text(StatusCode::SERVICE_UNAVAILABLE, "draining");
        }
        Self::answer(self, &request).await
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

    /// Serves until told to stop and drained, after going on for `grace`.
    pub async fn serve(self, service: Arc<impl Service>, mut stop: Stop, grace: Duration) {
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        let (closer, closing) = stop::channel();
        let draining = stop.clone();
        let over = async {
            stop.said().await;
            tokio::time::sleep(grace).await;
        };
        tokio::pin!(over);
        loop {
            let accepted = async {
                let permit = Arc::clone(&room).acquire_owned().await.expect("never closed");
                (permit, self.listener.accept().await)
            };
            tokio::select! {
                (permit, accepted) = accepted => match accepted {
                    Ok((stream, _)) => {
                        let service = Arc::clone(&service);
                        let (draining, closing) = (draining.clone(), closing.clone());
                        connections.spawn(async move {
                            serve_connection(stream, service, draining, closing).await;
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
                () = &mut over => break,
            }
        }
        drop(self.listener);
        closer.stop();
        let drain = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_TIMEOUT, drain).await.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "connections closed while calls were under way"
            );
        }
    }
}

async fn serve_connection(
    stream: TcpStream,
    service: Arc<impl Service>,
    draining: Stop,
    mut closing: Stop,
) {
    // Answers are small and must not wait for more.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let (service, draining) = (Arc::clone(&service), draining.is_said());
        async move { respond(&*service, draining, request).await }
    });
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
        () = closing.said() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("connection ended: {error}");
    }
}

async fn respond(
    service: &impl Service,
    draining: bool,
    request: Request<IncomingBody>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = if head.method == Method::POST {
        read_body(body, service.max_body_bytes(&head)).await
    } else {
        Ok(Bytes::new())
    };
    let answer = match body {
        Ok(body) => service.answer(Request::from_parts(head, body), draining).await,
        Err(answer) => answer,
    };
    Ok(answer.map(Full::new))
}

async fn read_body(mut body: IncomingBody, max_bytes: usize) -> Result<Bytes, Response<Bytes>> {
    let read = async {
        let read = Limited::new(&mut body, max_bytes).collect().await;
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
            let reason = format!("the body is larger than {max_bytes} bytes");
            Err(rejected(StatusCode::PAYLOAD_TOO_LARGE, &Reject::new(RejectCode::TooLarge, reason)))
        }
        Ok(Err(error)) => {
            let reason = format!("the body broke off: {error}");
            Err(rejected(StatusCode::BAD_REQUEST, &Reject::new(RejectCode::NotJson, reason)))
        }
        Err(_) => Err(text(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")),
    }
}

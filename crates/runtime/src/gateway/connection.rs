//! Connections: accepted up to a bound, served, and ended when the gateway stops.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::{Shared, route, told};

/// Connections at once; further ones wait in the listener's backlog. More than calls of a function that wait, so that
/// it can say that it has too many.
const MAX_CONNECTIONS: usize = 2048;
/// Time to send a request's head, and until the next one; then the connection is closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// The largest head.
const MAX_HEAD_BYTES: usize = 256 << 10;
/// Calls that are under way when the gateway is told to stop get this long to finish.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);
/// Wait after a connection that could not be accepted: out of file descriptors, most likely, and those that close
/// give some back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts and serves connections until the gateway has stopped. While it is stopping it goes on to accept them, so
/// that whoever asks hears that it is.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut stopping = shared.stopping.clone();
    let mut deadline = None;
    // While it is stopping, those that are not waited for.
    let mut refused = JoinSet::new();
    while deadline.is_none() || !connections.is_empty() {
        let accepted = async {
            let permit = Arc::clone(&room).acquire_owned().await.expect("never closed");
            (permit, listener.accept().await)
        };
        let is_over = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            (permit, accepted) = accepted => match accepted {
                Ok((stream, peer)) => {
                    let shared = Arc::clone(&shared);
                    let serving = async move {
                        serve(stream, peer, shared).await;
                        drop(permit);
                    };
                    match deadline {
                        None => connections.spawn(serving),
                        Some(_) => refused.spawn(serving),
                    };
                }
                Err(error) => {
                    tracing::warn!("connection not accepted: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            Some(_) = refused.join_next() => {}
            () = told(&mut stopping), if deadline.is_none() => {
                deadline = Some(Instant::now() + DRAIN_TIMEOUT);
            }
            () = is_over => {
                let connections = connections.len();
                tracing::warn!(connections, "connections closed while calls were under way");
                return;
            }
        }
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>) {
    // Answers are small and must not wait for more.
    let _ = stream.set_nodelay(true);
    let peer = HeaderValue::try_from(peer.ip().to_string()).expect("an address is a legal header");
    let mut stopping = shared.stopping.clone();
    let is_stopping = *stopping.borrow();
    let service = service_fn(|request| {
        let answered = route::answer(&shared, &peer, request);
        async { Ok::<_, Infallible>(answered.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .keep_alive(!is_stopping)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = if is_stopping {
        let deadline = Instant::now() + DRAIN_TIMEOUT;
        timeout_at(deadline, connection).await.unwrap_or(Ok(()))
    } else {
        tokio::select! {
            ended = &mut connection => ended,
            () = told(&mut stopping) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!("connection ended: {error}");
    }
}

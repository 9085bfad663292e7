//! The gateway: what deploys functions, calls them, and tells about them, over HTTP/1.1. It answers as `OpenFaaS` does,
//! so that `faas-cli` and others' programs work with it unchanged.
//!
//! | route | answer |
//! |---|---|
//! | `ANY /function/NAME[.NAMESPACE][/PATH][?QUERY]` | the function's own; 429, 502, 503, 504 where it gave none, 404 |
//! | `POST /async-function/NAME[.NAMESPACE][/PATH][?QUERY]` | 202 once the call is on the disk; 400, 404, 429 |
//! | `GET /healthz` | 200 `OK`; 503 while stopping |
//! | `GET /` | what this is |
//! | `GET /system/functions?namespace=` | 200, their statuses; 400 |
//! | `POST /system/functions` | 202 deployed; 400, 409 |
//! | `PUT /system/functions` | 202 updated; 400, 404 |
//! | `DELETE /system/functions` | 202 removed; 400, 404 |
//! | `GET /system/function/NAME?usage=&namespace=` | 200, its status; 400, 404 |
//! | `POST /system/scale-function/NAME?namespace=` | 202 and what it became, within the function's bounds; 400, 404 |
//! | `GET /system/info` | 200, versions |
//! | `GET POST PUT DELETE /system/secrets` | 200 names, 201, 202, 202; 400, 404, 409 |
//! | `GET /system/logs?name=&namespace=&tail=&follow=&since=&instance=` | 200, lines of JSON; 404, 422 |
//! | `GET /system/namespaces` | 200, names |
//! | `POST /system/namespace/`, `GET PUT DELETE /system/namespace/NAME` | 201, 200, 202, 202; 400, 404, 409 |
//! | `POST /system/alert` | 501: the runtime scales functions itself |
//! | anything else below `/system/` | what [`Extra`] answers, or 404 |
//!
//! Errors are plain text. With [`Auth`], all of `/system` asks for it; functions are open, as they are everywhere else.
//! Connections, heads, bodies and the time for both are bounded. Told to stop, the gateway answers new calls with 503
//! and finishes those that are under way.

mod answer;
mod auth;
mod body;
mod connection;
mod functions;
mod invoke;
mod logs;
mod namespaces;
mod query;
pub mod queue;
mod route;
mod secrets;
mod status;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hyper::http::request::Parts;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use auth::Auth;
pub use body::MAX_BODY_BYTES;
pub use namespaces::NamespaceError;
pub use queue::{Bounds, Queue, QueueStatus};

use crate::driver::Response;
use crate::functions::Functions;
use crate::secrets::Secrets;
use namespaces::Namespaces;

/// What a gateway is to be.
#[derive(Debug)]
pub struct Config {
    /// Where it listens; port 0 takes any.
    pub listen: SocketAddr,
    /// Who may ask it for more than calls; everybody without.
    pub auth: Option<Auth>,
    /// Folder of what it keeps: calls that wait, namespaces. It is made.
    pub state_dir: PathBuf,
    /// How much waits to be carried out later.
    pub queue: Bounds,
    /// Further routes below `/system/`.
    pub extra: Option<Arc<dyn Extra>>,
}

/// Routes below `/system/` that the program adds. They ask for the same authorization as the others.
pub trait Extra: fmt::Debug + Send + Sync {
    /// The answer to a request that no other route takes; `None` for 404.
    fn route(&self, head: &Parts, body: Bytes) -> Option<BoxFuture<'static, Response>>;
}

/// Why there is no gateway.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message is its documentation")]
pub enum GatewayError {
    #[error("cannot listen on {address}: {source}; expected a free port (port 0 takes any)")]
    CannotListen { address: SocketAddr, source: std::io::Error },
    #[error(transparent)]
    Namespaces(#[from] NamespaceError),
    #[error("{}: the calls that wait can't be read: {source}", path.display())]
    Queue { path: PathBuf, source: std::io::Error },
}

/// A gateway that listens.
#[derive(Debug)]
pub struct Gateway {
    listener: TcpListener,
    address: SocketAddr,
    parts: GatewayParts,
}

#[derive(Debug)]
struct GatewayParts {
    functions: Functions,
    secrets: Secrets,
    namespaces: Namespaces,
    queue: Queue,
    auth: Option<Auth>,
    extra: Option<Arc<dyn Extra>>,
}

/// What all connections have in common.
#[derive(Debug)]
struct Shared {
    parts: GatewayParts,
    room: body::Room,
    stopping: watch::Receiver<bool>,
}

impl Config {
    /// A gateway that everybody may ask for everything.
    pub fn new(listen: SocketAddr, state_dir: PathBuf) -> Self {
        Self { listen, auth: None, state_dir, queue: Bounds::default(), extra: None }
    }
}

impl Gateway {
    /// Listens, and takes up what was kept in earlier runs. No call is answered before [`Gateway::serve`].
    pub async fn bind(
        config: Config,
        functions: Functions,
        secrets: Secrets,
    ) -> Result<Self, GatewayError> {
        let Config { listen, auth, state_dir, queue: bounds, extra } = config;
        let namespaces = Namespaces::open(&state_dir)?;
        let calls = state_dir.join("calls");
        let queue = Queue::open(calls.clone(), bounds)
            .map_err(|source| GatewayError::Queue { path: calls, source })?;
        let failed = |source| GatewayError::CannotListen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let parts = GatewayParts { functions, secrets, namespaces, queue, auth, extra };
        Ok(Self { listener, address, parts })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The calls that are carried out later, for those who count them.
    pub fn queue(&self) -> Queue {
        self.parts.queue.clone()
    }

    /// Serves until `stop` is ready, and what was under way then has been finished, or [`DRAIN_TIMEOUT`] is over.
    ///
    /// [`DRAIN_TIMEOUT`]: connection::DRAIN_TIMEOUT
    pub async fn serve(self, stop: impl Future<Output = ()> + Send) {
        let (say_stop, stopping) = watch::channel(false);
        let (queue, functions) = (self.parts.queue.clone(), self.parts.functions.clone());
        let shared = Arc::new(Shared {
            parts: self.parts,
            room: body::Room::default(),
            stopping: stopping.clone(),
        });
        let stop = async {
            stop.await;
            say_stop.send_replace(true);
        };
        tokio::join!(
            stop,
            connection::accept(self.listener, shared),
            queue.work(&functions, stopping)
        );
    }
}

impl std::ops::Deref for Shared {
    type Target = GatewayParts;

    fn deref(&self) -> &GatewayParts {
        &self.parts
    }
}

impl Shared {
    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }
}

/// Returns when the gateway is told to stop.
async fn told(stopping: &mut watch::Receiver<bool>) {
    // Nobody left to tell it: it has ended.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

//! A function over HTTP that answers as a test tells it to.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use wire::{Record, body};

/// A call as the function saw it, and how many calls were under way with it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) record: Record,
    pub(crate) at_once: usize,
}

/// Answers a call: from the call and the number of calls so far with the same value.
pub(crate) type Script = dyn Fn(&Record, usize) -> (u16, &'static str) + Send + Sync;

/// A running function.
#[derive(Debug)]
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<Call>,
    under_way: usize,
}

impl Scripted {
    /// Starts on an address; each call takes `takes`.
    pub(crate) async fn start(
        address: SocketAddr,
        takes: std::time::Duration,
        script: Arc<Script>,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (state, script) = (Arc::clone(&shared), Arc::clone(&script));
                tokio::spawn(http1::Builder::new().serve_connection(
                    TokioIo::new(stream),
                    service_fn(move |request| {
                        answer(request, Arc::clone(&state), Arc::clone(&script), takes)
                    }),
                ));
            }
        });
        Self { address, state, server }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.state.lock().unwrap().calls.clone()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
    script: Arc<Script>,
    takes: std::time::Duration,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let bytes = request.into_body().collect().await.unwrap().to_bytes();
    let (record, _) = body::decode(&bytes).unwrap();
    let earlier = {
        let mut state = state.lock().unwrap();
        let earlier = state.calls.iter().filter(|call| call.record.value == record.value).count();
        state.under_way += 1;
        let at_once = state.under_way;
        state.calls.push(Call { record: record.clone(), at_once });
        earlier
    };
    tokio::time::sleep(takes).await;
    state.lock().unwrap().under_way -= 1;
    let (status, text) = script(&record, earlier);
    let mut response = Response::builder().status(status);
    if status == 429 {
        response = response.header("Retry-After", "0");
    }
    Ok(response.body(Full::from(text)).unwrap())
}

//! A gateway with scripted functions, and a client of it.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Method, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use runtime::functions::Drivers;
use runtime::gateway::{Config, Queue};
use runtime::{Driver, Functions, Gateway, Secrets};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::scripted::{Does, SOON, Scripted};

/// A gateway that serves.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) functions: Functions,
    pub(crate) queue: Queue,
    /// Calls of `slow` end once they may.
    pub(crate) slow: Arc<Semaphore>,
    /// Instances of `sleepy` start once they may.
    pub(crate) sleepy: Arc<Semaphore>,
    /// What `flaky` answers.
    pub(crate) flaky: Arc<Mutex<VecDeque<u16>>>,
    address: String,
    client: Client<HttpConnector, Full<Bytes>>,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
    dir: Arc<TempDir>,
}

/// An answer, read.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// A sentence, and not JSON.
    pub(crate) fn says(&self, status: u16, part: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.text.contains(part), "{self:?}, expected {part}");
        assert_eq!(self.header("content-type"), "text/plain; charset=utf-8");
    }
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(configure: impl FnOnce(&mut Config)) -> Self {
        Self::at(Arc::new(TempDir::new().unwrap()), configure).await
    }

    /// With what an earlier one has left.
    pub(crate) async fn at(dir: Arc<TempDir>, configure: impl FnOnce(&mut Config)) -> Self {
        let slow = Arc::new(Semaphore::new(0));
        let sleepy = Arc::new(Semaphore::new(0));
        let flaky = Arc::new(Mutex::default());
        let built_in = [
            ("echo", Does::Echo),
            ("slow", Does::Waits(Arc::clone(&slow))),
            ("sleepy", Does::Starts(Arc::clone(&sleepy))),
            ("flaky", Does::Answers(Arc::clone(&flaky))),
            ("breaking", Does::Breaks),
            ("panicking", Does::Panics),
        ];
        let driver = |does| -> Arc<dyn Driver> { Arc::new(Scripted(does)) };
        let drivers = Drivers {
            built_in: BTreeMap::from(built_in.map(|(name, does)| (name.to_owned(), driver(does)))),
            program: driver(Does::Nothing),
        };
        let functions = Functions::open(dir.path().join("functions"), drivers).unwrap();
        let secrets = Secrets::open(dir.path().join("secrets")).unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let mut config = Config::new(any, dir.path().join("gateway"));
        configure(&mut config);
        let gateway = Gateway::bind(config, functions.clone(), secrets).await.unwrap();
        let (address, queue) = (format!("http://{}", gateway.address()), gateway.queue());
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(gateway.serve(async {
            let _ = stopped.await;
        }));
        let client = Client::builder(TokioExecutor::new()).build_http();
        let stop = Some(stop);
        Self { functions, queue, slow, sleepy, flaky, address, client, stop, serving, dir }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn address(&self) -> &str {
        self.address.strip_prefix("http://").unwrap()
    }

    /// What tells the gateway to stop.
    pub(crate) fn stop(&mut self) -> oneshot::Sender<()> {
        self.stop.take().unwrap()
    }

    /// Waits until the gateway has stopped.
    pub(crate) async fn stopped(self) {
        timeout(SOON, self.serving).await.expect("it stops").unwrap();
    }

    /// Ends the gateway as a killed process does: nothing is finished.
    pub(crate) async fn kill(self) -> Arc<TempDir> {
        self.serving.abort();
        let _ = self.serving.await;
        self.functions.close().await;
        self.dir
    }

    pub(crate) async fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> hyper::Response<Incoming> {
        let mut request = hyper::Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(format!("{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        timeout(SOON, self.client.request(request)).await.expect("an answer").unwrap()
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        let (head, body) = self.open(method, path, headers, body).await.into_parts();
        let body = timeout(SOON, body.collect()).await.expect("a whole answer").unwrap();
        let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
        Reply { status: head.status.as_u16(), headers: head.headers, text }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<Bytes>) -> Reply {
        self.send("POST", path, &[], body).await
    }

    /// Sends JSON.
    pub(crate) async fn json(&self, method: &str, path: &str, body: &Value) -> Reply {
        self.send(method, path, &[], body.to_string()).await
    }

    /// Deploys a function whose name is its image's.
    pub(crate) async fn deploy(&self, image: &str) {
        self.deploy_as(json!({"service": image, "image": image})).await;
    }

    pub(crate) async fn deploy_as(&self, deployment: Value) {
        let reply = self.json("POST", "/system/functions", &deployment).await;
        assert_eq!((reply.status, reply.text.as_str()), (202, ""));
    }

    /// Asks until the answer is as it should be.
    pub(crate) async fn until(&self, path: &str, is_so: impl Fn(&Reply) -> bool) -> Reply {
        let asking = async {
            loop {
                let reply = self.get(path).await;
                if is_so(&reply) {
                    return reply;
                }
                sleep(PAUSE).await;
            }
        };
        timeout(SOON, asking).await.expect("it becomes so")
    }
}

const PAUSE: std::time::Duration = std::time::Duration::from_millis(5);

/// Waits until something is so.
pub(crate) async fn eventually(is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            sleep(PAUSE).await;
        }
    };
    timeout(SOON, waiting).await.expect("it becomes so");
}

/// A callback that answers with these statuses, then with 200, and keeps what it was told.
#[derive(Debug)]
pub(crate) struct Callback {
    pub(crate) url: String,
    pub(crate) told: Arc<Mutex<Vec<Reply>>>,
    _serving: JoinHandle<()>,
}

impl Callback {
    pub(crate) async fn new(statuses: &[u16]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/done?x=1", listener.local_addr().unwrap());
        let told: Arc<Mutex<Vec<Reply>>> = Arc::default();
        let statuses = Arc::new(Mutex::new(VecDeque::from(statuses.to_vec())));
        let keeping = Arc::clone(&told);
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (told, statuses) = (Arc::clone(&keeping), Arc::clone(&statuses));
                let service = hyper::service::service_fn(move |request| {
                    let (told, statuses) = (Arc::clone(&told), Arc::clone(&statuses));
                    keep(request, told, statuses)
                });
                let stream = hyper_util::rt::TokioIo::new(stream);
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(stream, service),
                );
            }
        });
        Self { url, told, _serving: serving }
    }

    pub(crate) async fn told(&self, times: usize) {
        eventually(|| times <= self.told.lock().unwrap().len()).await;
    }
}

async fn keep(
    request: hyper::Request<Incoming>,
    told: Arc<Mutex<Vec<Reply>>>,
    statuses: Arc<Mutex<VecDeque<u16>>>,
) -> Result<hyper::Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    assert_eq!((head.method, head.uri.to_string()), (Method::POST, "/done?x=1".to_owned()));
    let text = String::from_utf8(body.collect().await?.to_bytes().to_vec()).unwrap();
    told.lock().unwrap().push(Reply { status: 0, headers: head.headers, text });
    let mut response = hyper::Response::default();
    let status = statuses.lock().unwrap().pop_front().unwrap_or(200);
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    Ok(response)
}

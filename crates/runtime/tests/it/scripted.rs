//! Functions that do what a test tells them to, by their images.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use runtime::driver::{Broken, Grace, Usage};
use runtime::logs::Logs;
use runtime::{Driver, Instance, Request, Response, Spec};
use serde_json::json;
use tokio::sync::Semaphore;

/// What functions do.
#[derive(Debug, Clone)]
pub(crate) enum Does {
    /// Answers with what it was called with, as JSON; the status is that of the query.
    Echo,
    /// Answers once it may.
    Waits(Arc<Semaphore>),
    /// Answers with these statuses, then with 200.
    Answers(Arc<Mutex<VecDeque<u16>>>),
    /// Ends under every call.
    Breaks,
    /// Panics under every call.
    Panics,
    /// Starts once it may.
    Starts(Arc<Semaphore>),
    /// Can't be.
    Nothing,
}

#[derive(Debug)]
pub(crate) struct Scripted(pub(crate) Does);

#[derive(Debug)]
struct Running {
    does: Does,
    name: Arc<str>,
    logs: Logs,
}

impl Driver for Scripted {
    fn check(&self, spec: &Spec) -> Result<(), String> {
        match self.0 {
            Does::Nothing => Err(format!("image `{}` is nowhere", spec.image)),
            _ => Ok(()),
        }
    }

    fn start<'a>(
        &'a self,
        spec: &'a Spec,
        number: u64,
        logs: &'a Logs,
    ) -> BoxFuture<'a, Result<Box<dyn Instance>, String>> {
        let name = format!("{}-{number}", spec.name).into();
        let instance = Running { does: self.0.clone(), name, logs: logs.clone() };
        let starting = async move {
            if let Does::Starts(may) = &instance.does {
                may.acquire().await.unwrap().forget();
            }
            Ok(Box::new(instance) as Box<dyn Instance>)
        };
        starting.boxed()
    }
}

impl Instance for Running {
    fn call(&self, request: Request) -> BoxFuture<'_, Result<Response, Broken>> {
        let called = async move {
            self.logs.write(&self.name, &format!("{} {}", request.method(), request.uri()));
            let status = match &self.does {
                Does::Breaks => return Err(Broken("it ended".to_owned())),
                Does::Panics => panic!("as it is to"),
                Does::Waits(may) => {
                    may.acquire().await.unwrap().forget();
                    200
                }
                Does::Answers(statuses) => statuses.lock().unwrap().pop_front().unwrap_or(200),
                _ => {
                    let query = request.uri().query().unwrap_or_default();
                    query.strip_prefix("status=").map_or(200, |status| status.parse().unwrap())
                }
            };
            Ok(told(&request, status))
        };
        called.boxed()
    }

    fn healthy(&self) -> BoxFuture<'_, Result<(), String>> {
        async { Ok(()) }.boxed()
    }

    fn ended(&self) -> BoxFuture<'_, String> {
        std::future::pending().boxed()
    }

    fn stop(&self, _: Grace) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }

    fn usage(&self) -> Option<Usage> {
        Some(Usage { cpu_seconds: 1.0, memory_bytes: 1 << 20 })
    }
}

/// An answer that tells of the request, with headers that are to go on and others that are not.
fn told(request: &Request, status: u16) -> Response {
    let headers = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), json!(String::from_utf8_lossy(value.as_bytes()))));
    let told = json!({
        "method": request.method().as_str(),
        "uri": request.uri().to_string(),
        "headers": headers.collect::<serde_json::Map<_, _>>(),
        "body": String::from_utf8_lossy(request.body()),
    });
    let mut response = Response::new(Bytes::from(told.to_string()));
    *response.status_mut() = status.try_into().unwrap();
    for (name, value) in [
        ("content-type", "application/json"),
        ("x-mine", "1"),
        ("keep-alive", "timeout=5"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
    ] {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    if status == 429 {
        response.headers_mut().insert("retry-after", "1".parse().unwrap());
    }
    response
}

/// How long a test waits for what has to come.
pub(crate) const SOON: Duration = Duration::from_secs(20);

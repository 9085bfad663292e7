//! A container of a platform: from its start until it is told to stop.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hyper::header::{ALLOW, RETRY_AFTER};
use hyper::http::HeaderValue;
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::{Mutex, watch};

use super::counts::{Counters, Counts};
use super::limits::{BadVariable, Limits, parse_duration};
use super::{Platform, Variables, fission, openwhisk};
use crate::http::Function;
use crate::http::function::{Answer, text};
use crate::http::server::Service;

/// A call waits this long for a function that is starting.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// What a platform says of the function that a container is to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Given {
    /// Which function; `None` where it does not say.
    pub function: Option<String>,
    /// Variables that go before those of the process.
    pub variables: Variables,
}

/// Makes functions.
pub trait Start: fmt::Debug + Send + Sync {
    /// Makes the function; errors are for people.
    fn start(&self, given: Given) -> BoxFuture<'_, Result<Function, String>>;
}

/// A container.
#[derive(Debug)]
pub struct Container {
    platform: Platform,
    starter: Box<dyn Start>,
    limits: Limits,
    /// The system's root, but for tests.
    pub(super) root: PathBuf,
    function: OnceLock<Function>,
    phase: watch::Sender<Phase>,
    /// Held while a platform tells which function this is.
    pub(super) telling: Mutex<bool>,
    /// Of the logs of `OpenWhisk`'s activations.
    pub(super) ends: Arc<openwhisk::Ends>,
    counters: Counters,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nobody has said which function this is.
    Blank,
    Starting,
    Ready,
}

impl Container {
    /// A container by a platform's contract, whose bounds are among the variables.
    ///
    /// # Errors
    ///
    /// A variable is not what it should be.
    pub fn new(
        platform: Platform,
        starter: Box<dyn Start>,
        variables: &Variables,
    ) -> Result<Self, BadVariable> {
        Ok(Self {
            platform,
            starter,
            limits: Limits::of(platform, variables)?,
            root: PathBuf::from("/"),
            function: OnceLock::new(),
            phase: watch::Sender::new(Phase::Blank),
            telling: Mutex::new(false),
            ends: Arc::default(),
            counters: Counters::default(),
        })
    }

    /// The same in a system whose root is elsewhere.
    #[must_use]
    pub fn at_root(self, root: &Path) -> Self {
        Self { root: root.to_owned(), ..self }
    }

    /// The platform.
    pub fn platform(&self) -> Platform {
        self.platform
    }

    /// What has been counted of its calls.
    pub fn counts(&self) -> Counts {
        self.counters.counts()
    }

    /// Starts the function. Calls wait until it is there.
    ///
    /// # Errors
    ///
    /// It does not start; in words for people. The container is as blank as before.
    pub async fn start(&self, given: Given) -> Result<(), String> {
        self.phase.send_replace(Phase::Starting);
        match self.starter.start(given).await {
            Ok(function) => {
                // The first stays: a platform that tells twice is refused before this.
                let _ = self.function.set(function);
                self.phase.send_replace(Phase::Ready);
                Ok(())
            }
            Err(error) => {
                self.phase.send_replace(Phase::Blank);
                Err(error)
            }
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.function.get().is_some()
    }

    /// The function, once it has started; `None` where nobody has said which one.
    async fn function(&self) -> Option<&Function> {
        if let Some(function) = self.function.get() {
            return Some(function);
        }
        let mut phase = self.phase.subscribe();
        let started = phase.wait_for(|phase| *phase != Phase::Starting);
        let _ = tokio::time::timeout(START_TIMEOUT, started).await;
        self.function.get()
    }

    /// Answers a probe; `None` where this is no probe's route.
    fn probe(&self, path: &str, draining: bool) -> Option<Answer> {
        let alive = || text(StatusCode::OK, "OK");
        let ready = || match (draining, self.is_ready()) {
            (true, _) => text(StatusCode::SERVICE_UNAVAILABLE, "draining"),
            (false, false) => text(StatusCode::SERVICE_UNAVAILABLE, "starting"),
            (false, true) => alive(),
        };
        let is_full =
            || self.limits.in_flight.is_some_and(|most| most <= self.counters.in_flight());
        Some(match (self.platform, path) {
            (Platform::OpenFaas, "/_/ready") if !draining && is_full() => full(),
            (Platform::Plain | Platform::OpenFaas, "/_/health" | "/_/ready")
            | (Platform::Plain | Platform::Knative, "/-/ready")
            | (Platform::Nuclio, "/__internal/health")
            | (Platform::TinyFaas, "/health") => ready(),
            (Platform::Plain | Platform::Knative, "/-/live") | (Platform::Fission, "/healthz") => {
                alive()
            }
            _ => return None,
        })
    }

    async fn route(&self, request: &Request<Bytes>, draining: bool) -> Answer {
        let path = request.uri().path();
        let method = request.method();
        if method == Method::GET
            && let Some(answer) = self.probe(path, draining)
        {
            return answer;
        }
        match self.platform {
            Platform::Fission if method == Method::POST && fission::is_control(path) => {
                fission::specialize(self, path, request.body()).await
            }
            Platform::OpenWhisk => openwhisk::answer(self, request, draining).await,
            Platform::Knative if method == Method::OPTIONS => {
                let mut answer = Answer::new(Bytes::new());
                answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST, OPTIONS"));
                answer
            }
            Platform::TinyFaas if path != "/fn" => {
                text(StatusCode::NOT_FOUND, "a function is called at /fn")
            }
            _ => self.call(request).await,
        }
    }

    /// Has the function answer.
    pub(super) async fn call(&self, request: &Request<Bytes>) -> Answer {
        let Some(function) = self.function().await else {
            let why = match self.platform {
                Platform::Fission => "not specialized: a call came before `/v2/specialize`",
                _ => "not initialised: a call came before `/init`",
            };
            return text(StatusCode::INTERNAL_SERVER_ERROR, why);
        };
        let (_under_way, now) = self.counters.begin();
        if self.limits.in_flight.is_some_and(|most| most < now) {
            return full();
        }
        let asked = (self.platform == Platform::OpenFaas)
            .then(|| request.headers().get("x-timeout")?.to_str().ok().and_then(parse_duration))
            .flatten();
        let timeout = match (self.limits.timeout, asked) {
            (Some(most), Some(asked)) => Some(most.min(asked)),
            (one, other) => one.or(other),
        };
        let Some(timeout) = timeout else { return function.answer(request).await };
        tokio::time::timeout(timeout, function.answer(request)).await.unwrap_or_else(|_| {
            let seconds = timeout.as_secs_f64();
            let late = format!("the call took longer than {seconds} s (exec_timeout, X-Timeout)");
            text(StatusCode::GATEWAY_TIMEOUT, &late)
        })
    }
}

fn full() -> Answer {
    let mut answer =
        text(StatusCode::TOO_MANY_REQUESTS, "as many calls as max_inflight are under way");
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

impl Service for Container {
    async fn answer(&self, request: Request<Bytes>, draining: bool) -> Response<Bytes> {
        let started = Instant::now();
        let mut answer = self.route(&request, draining).await;
        let took = started.elapsed();
        self.counters.ended(request.method().as_str(), answer.status().as_u16(), took);
        if self.platform == Platform::OpenFaas {
            let seconds = HeaderValue::try_from(format!("{:.6}", took.as_secs_f64()));
            answer.headers_mut().insert("x-duration-seconds", seconds.expect("digits"));
        }
        answer
    }

    fn max_body_bytes(&self, head: &Parts) -> usize {
        openwhisk::max_body_bytes(self.platform, head.uri.path())
    }
}

/// The probes of a container alone, for platforms that look for them on a port of their own.
#[derive(Debug)]
pub struct Probes(pub std::sync::Arc<Container>);

impl Service for Probes {
    async fn answer(&self, request: Request<Bytes>, draining: bool) -> Response<Bytes> {
        match request.uri().path() {
            "/ready" if draining || !self.0.is_ready() => {
                text(StatusCode::SERVICE_UNAVAILABLE, "not ready")
            }
            "/live" | "/ready" => text(StatusCode::OK, "OK"),
            _ => text(StatusCode::NOT_FOUND, "expected /live or /ready"),
        }
    }
}

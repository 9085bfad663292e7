use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::sleep;

use super::*;
use crate::deployment::Deployment;
use crate::driver::Grace;

/// Starts instances that do as the path of a call says, and as all of them are told.
#[derive(Debug, Default)]
struct Script {
    start: Duration,
    starts: AtomicU64,
    fails_to_start: AtomicBool,
    hang: Arc<AtomicBool>,
    carried_out: Arc<AtomicU64>,
    stopped: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Scripted {
    ends: watch::Sender<bool>,
    hang: Arc<AtomicBool>,
    /// Only the first instance hangs.
    is_first: bool,
    carried_out: Arc<AtomicU64>,
    stopped: Arc<AtomicU64>,
}

impl Driver for Script {
    fn check(&self, _: &Spec) -> Result<(), String> {
        Ok(())
    }

    fn start<'a>(
        &'a self,
        _: &'a Spec,
        number: u64,
        _: &'a Logs,
    ) -> BoxFuture<'a, Result<Box<dyn Instance>, String>> {
        self.starts.fetch_add(1, Ordering::Relaxed);
        async move {
            sleep(self.start).await;
            if self.fails_to_start.load(Ordering::Relaxed) {
                return Err("it is broken".to_owned());
            }
            let scripted = Scripted {
                ends: watch::Sender::new(false),
                hang: Arc::clone(&self.hang),
                is_first: number == 1,
                carried_out: Arc::clone(&self.carried_out),
                stopped: Arc::clone(&self.stopped),
            };
            Ok(Box::new(scripted) as Box<dyn Instance>)
        }
        .boxed()
    }
}

impl Instance for Scripted {
    fn call(&self, request: Request) -> BoxFuture<'_, Result<Response, Broken>> {
        async move {
            let path = request.uri().path().to_owned();
            let mut ends = self.ends.subscribe();
            let work = async {
                if self.hang.load(Ordering::Relaxed) && self.is_first {
                    std::future::pending::<()>().await;
                }
                if let Some(ms) = path.strip_prefix("/wait/") {
                    sleep(Duration::from_millis(ms.parse().unwrap())).await;
                }
                if path == "/break" || (path == "/break-first" && self.is_first) {
                    self.ends.send_replace(true);
                }
            };
            work.now_or_never_or(&mut ends).await?;
            self.carried_out.fetch_add(1, Ordering::Relaxed);
            Ok(Response::new(request.into_body()))
        }
        .boxed()
    }

    fn healthy(&self) -> BoxFuture<'_, Result<(), String>> {
        async move {
            if self.hang.load(Ordering::Relaxed) && self.is_first {
                std::future::pending::<()>().await;
            }
            if *self.ends.borrow() { Err("it has ended".to_owned()) } else { Ok(()) }
        }
        .boxed()
    }

    fn ended(&self) -> BoxFuture<'_, String> {
        let mut ends = self.ends.subscribe();
        async move {
            let _ = ends.wait_for(|ends| *ends).await;
            "it ended".to_owned()
        }
        .boxed()
    }

    fn stop(&self, _: Grace) -> BoxFuture<'_, ()> {
        self.ends.send_replace(true);
        self.stopped.fetch_add(1, Ordering::Relaxed);
        async {}.boxed()
    }
}

trait OrEnds: Future<Output = ()> + Sized {
    /// Does the work unless the instance ends first.
    async fn now_or_never_or(self, ends: &mut watch::Receiver<bool>) -> Result<(), Broken> {
        tokio::select! {
            biased;
            () = self => {}
            _ = ends.wait_for(|ends| *ends) => {}
        }
        if *ends.borrow() { Err(Broken("connection reset".to_owned())) } else { Ok(()) }
    }
}

impl<F: Future<Output = ()>> OrEnds for F {}

fn pool(script: &Arc<Script>, labels: &[(&str, &str)], concurrency: u32) -> Arc<Pool> {
    let labels = labels
        .iter()
        .map(|(key, value)| (format!("com.openfaas.scale.{key}"), (*value).to_owned()));
    let deployment = Deployment {
        service: "echo".into(),
        image: "echo".into(),
        labels: labels.collect(),
        env_vars: [("max_inflight".to_owned(), concurrency.to_string())].into(),
        ..Deployment::default()
    };
    let spec = Arc::new(Spec::of(&deployment).unwrap());
    let driver: Arc<dyn Driver> = Arc::<Script>::clone(script);
    Arc::new(Pool::new(spec, driver, Logs::default()))
}

fn call(path: &str) -> Request {
    Request::new(Bytes::from(path.to_owned())).map_uri(path)
}

trait MapUri {
    fn map_uri(self, path: &str) -> Self;
}

impl MapUri for Request {
    fn map_uri(mut self, path: &str) -> Self {
        *self.uri_mut() = path.parse().unwrap();
        self
    }
}

const TO_ZERO: [(&str, &str); 2] = [("min", "0"), ("max", "3")];

#[tokio::test(start_paused = true)]
async fn a_call_at_zero_waits_for_an_instance() {
    let script = Arc::new(Script { start: Duration::from_millis(20), ..Script::default() });
    let pool = pool(&script, &TO_ZERO, 4);
    assert_eq!(pool.status().wanted, 0);
    let started = Instant::now();
    let answer = pool.call(call("/hello")).await.unwrap();
    assert_eq!((answer.body().as_ref(), started.elapsed()), (&b"/hello"[..], script.start));
    let status = pool.status();
    assert_eq!((status.wanted, status.ready, status.answered, status.in_flight), (1, 1, 1, 0));
    assert_eq!(pool.scale_to(0), 0);
    pool.close().await;
    assert_eq!(script.stopped.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_wait_than_may() {
    let script = Arc::new(Script { start: Duration::from_secs(1), ..Script::default() });
    let pool = pool(&script, &TO_ZERO, 100);
    let calls = (0..MAX_WAITING + 3).map(|_| pool.call(call("/")));
    let called = futures_util::future::join_all(calls).await;
    let refused =
        called.iter().filter(|called| matches!(called, Err(CallError::Overloaded { .. })));
    assert_eq!(refused.count(), 3);
    assert_eq!(called.iter().filter(|called| called.is_ok()).count(), MAX_WAITING);
}

#[tokio::test(start_paused = true)]
async fn an_instance_has_no_more_calls_than_it_may() {
    let script = Arc::new(Script::default());
    let pool = pool(&script, &[], 2);
    pool.ready(1, 1, Duration::from_secs(1)).await.unwrap();
    let started = Instant::now();
    let calls = (0..6).map(|_| pool.call(call("/wait/100")));
    let called = futures_util::future::join_all(calls).await;
    assert!(called.iter().all(Result::is_ok));
    assert_eq!(started.elapsed(), Duration::from_millis(300));
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_instance_broke_off_goes_to_the_next() {
    let script = Arc::new(Script::default());
    let pool = pool(&script, &[], 4);
    let other = pool.call(call("/wait/50"));
    let (broken, other) = tokio::join!(pool.call(call("/break-first")), other);
    assert!(broken.is_ok() && other.is_ok());
    let status = pool.status();
    assert_eq!((status.broken_instances, status.ready, status.failed), (1, 1, 0));
    assert_eq!(status.last_failure.as_deref(), Some("it ended"));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_breaks_every_instance_is_given_up() {
    let script = Arc::new(Script::default());
    let pool = pool(&script, &[], 4);
    let error = pool.call(call("/break")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "function `echo`: 4 instances broke off under the call, the last one: connection reset"
    );
    assert!(pool.call(call("/")).await.is_ok(), "the next one is carried out");
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_hangs_is_replaced_and_its_calls_are_not_lost() {
    let script = Arc::new(Script::default());
    script.hang.store(true, Ordering::Relaxed);
    let pool = pool(&script, &[], 8);
    let calls = (0..5).map(|_| pool.call(call("/")));
    let called = futures_util::future::join_all(calls).await;
    assert!(called.iter().all(Result::is_ok));
    let status = pool.status();
    assert_eq!((status.broken_instances, status.answered), (1, 5));
    assert_eq!(status.last_failure.as_deref(), Some("it does not answer probes"));
}

#[tokio::test(start_paused = true)]
async fn a_crash_loop_is_slowed_down_and_said() {
    let script = Arc::new(Script::default());
    script.fails_to_start.store(true, Ordering::Relaxed);
    let pool = pool(&script, &[], 8);
    let error = pool.call(call("/")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "function `echo`: no instance took the call within 60 s: it is broken"
    );
    // 0, 0.1, 0.2, … 25.6 s apart: ten of them fit into the minute.
    let starts = script.starts.load(Ordering::Relaxed);
    assert!((8..=12).contains(&starts), "{starts} starts");
    script.fails_to_start.store(false, Ordering::Relaxed);
    assert!(pool.call(call("/")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn those_that_are_too_many_finish_their_calls() {
    let script = Arc::new(Script::default());
    let pool = pool(&script, &[("max", "4")], 1);
    pool.scale_to(4);
    pool.ready(4, 1, Duration::from_secs(1)).await.unwrap();
    let calls = futures_util::future::join_all((0..4).map(|_| pool.call(call("/wait/500"))));
    let scale = async {
        sleep(Duration::from_millis(100)).await;
        assert_eq!(pool.scale_to(0), 1, "the function has an instance at least");
        pool.status()
    };
    let (called, status) = tokio::join!(calls, scale);
    assert!(called.iter().all(Result::is_ok));
    let draining = status.instances.iter().filter(|instance| instance.phase == Phase::Draining);
    assert_eq!((draining.count(), status.ready, status.in_flight), (3, 1, 4));
    let mut changed = pool.shared.changed.subscribe();
    while pool.status().instances.len() > 1 {
        changed.changed().await.unwrap();
    }
    assert_eq!(script.stopped.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn callers_that_go_leave_their_room_to_others() {
    let script = Arc::new(Script { start: Duration::from_millis(5), ..Script::default() });
    let pool = pool(&script, &TO_ZERO, 2);
    for round in 0..50 {
        let calls = (0..10).map(|at| {
            // Some give up while they wait, some while they are carried out, some when they are just given room.
            let patience = Duration::from_millis((round * 7 + at * 3) % 23);
            tokio::time::timeout(patience, pool.call(call("/wait/10")))
        });
        futures_util::future::join_all(calls).await;
    }
    let status = pool.status();
    assert_eq!((status.in_flight, status.waiting), (0, 0));
    assert!(pool.call(call("/")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_closes_tells_those_who_wait() {
    let script = Arc::new(Script { start: Duration::from_secs(5), ..Script::default() });
    let pool = pool(&script, &TO_ZERO, 2);
    let close = async {
        sleep(Duration::from_millis(10)).await;
        pool.close().await;
    };
    let (called, ()) = tokio::join!(pool.call(call("/")), close);
    assert_eq!(called.unwrap_err().to_string(), "function `echo` is being removed");
    assert_eq!(pool.scale_to(3), 3);
    assert!(pool.status().instances.is_empty(), "nothing starts in a closed pool");
}

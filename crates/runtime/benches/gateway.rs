//! What a call through the gateway costs, with a function in this process that answers what it is called with.
//!
//! `cargo bench -p runtime --bench gateway` prints, for connections that each send a call when the one before it was
//! answered: calls a second, what each took of the gateway's threads, and latencies. The callers' threads, in the same
//! process, are not in the second one.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt as _, join_all};
use runtime::driver::{Broken, Grace};
use runtime::functions::Drivers;
use runtime::gateway::Config;
use runtime::logs::Logs;
use runtime::{Deployment, Driver, Functions, Gateway, Instance, Request, Response, Secrets, Spec};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const OUT: &str = "standard output is there";
const WARM_UP: Duration = Duration::from_millis(500);
const MEASURED: Duration = Duration::from_secs(4);
/// A record of 784 bytes is what the README's figures are about.
const BODY_BYTES: [usize; 2] = [0, 784];
const CONNECTIONS: [usize; 3] = [1, 8, 64];
/// Threads' names, by which their time is told apart.
const GATEWAY: &str = "gateway";

#[derive(Debug)]
struct Echo;

impl Driver for Echo {
    fn check(&self, _: &Spec) -> Result<(), String> {
        Ok(())
    }

    fn start<'a>(
        &'a self,
        _: &'a Spec,
        _: u64,
        _: &'a Logs,
    ) -> BoxFuture<'a, Result<Box<dyn Instance>, String>> {
        async { Ok(Box::new(Self) as Box<dyn Instance>) }.boxed()
    }
}

impl Instance for Echo {
    fn call(&self, request: Request) -> BoxFuture<'_, Result<Response, Broken>> {
        async { Ok(Response::new(request.into_body())) }.boxed()
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
}

fn main() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let of_gateway = threads(GATEWAY);
    let (address, serving) = of_gateway.block_on(gateway(dir.path()));
    of_gateway.spawn(serving);
    let of_callers = threads("callers");
    let mut out = std::io::stdout().lock();
    writeln!(out, "| connections, bytes | calls/s | CPU, µs a call | p50 | p99 | p99.9, µs |")
        .expect(OUT);
    writeln!(out, "|---|---|---|---|---|---|").expect(OUT);
    for bytes in BODY_BYTES {
        for connections in CONNECTIONS {
            let mut figures = of_callers.block_on(measure(address, connections, bytes));
            let rate = figures.times.len() as f64 / figures.elapsed.as_secs_f64();
            let cpu = figures.cpu.as_secs_f64() * 1e6 / figures.times.len() as f64;
            figures.times.sort_unstable();
            let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|part| {
                let at = (figures.times.len() - 1) as f64 * part;
                figures.times[at.round() as usize].as_secs_f64() * 1e6
            });
            writeln!(
                out,
                "| {connections}, {bytes} | {rate:.0} | {cpu:.1} | {p50:.0} | {p99:.0} | {p999:.0} |"
            )
            .expect(OUT);
        }
    }
}

fn threads(name: &str) -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).thread_name(name).enable_all().build().expect("a runtime")
}

async fn gateway(dir: &std::path::Path) -> (SocketAddr, BoxFuture<'static, ()>) {
    let echo: Arc<dyn Driver> = Arc::new(Echo);
    let drivers = Drivers { built_in: BTreeMap::new(), program: echo };
    let functions = Functions::open(dir.join("functions"), drivers).expect("an empty folder");
    let deployment = Deployment {
        service: "echo".to_owned(),
        image: "echo".to_owned(),
        ..Deployment::default()
    };
    functions.deploy(deployment).expect("a function that can be");
    let secrets = Secrets::open(dir.join("secrets")).expect("an empty folder");
    let any = "127.0.0.1:0".parse().expect("an address");
    let gateway = Gateway::bind(Config::new(any, dir.to_owned()), functions, secrets);
    let gateway = gateway.await.expect("a free port");
    (gateway.address(), gateway.serve(std::future::pending()).boxed())
}

struct Figures {
    times: Vec<Duration>,
    elapsed: Duration,
    cpu: Duration,
}

async fn measure(address: SocketAddr, connections: usize, bytes: usize) -> Figures {
    let call = |until: Instant| {
        let callers = (0..connections).map(move |_| tokio::spawn(caller(address, bytes, until)));
        async move { join_all(callers.collect::<Vec<_>>()).await }
    };
    call(Instant::now() + WARM_UP).await;
    let (started, cpu) = (Instant::now(), thread_time());
    let times = call(started + MEASURED).await;
    let times = times.into_iter().flat_map(|times| times.expect("a caller does not panic"));
    Figures {
        times: times.collect(),
        elapsed: started.elapsed(),
        cpu: thread_time().saturating_sub(cpu),
    }
}

/// Calls one after the other.
async fn caller(address: SocketAddr, bytes: usize, until: Instant) -> Vec<Duration> {
    let mut stream = TcpStream::connect(address).await.expect("the gateway listens");
    stream.set_nodelay(true).expect("a socket");
    let head =
        "POST /function/echo HTTP/1.1\r\nHost: edge\r\nContent-Type: application/octet-stream";
    let mut request = format!("{head}\r\nContent-Length: {bytes}\r\n\r\n").into_bytes();
    request.resize(request.len() + bytes, b'x');
    let (mut times, mut answer) = (Vec::new(), vec![0; 4096]);
    while Instant::now() < until {
        let started = Instant::now();
        stream.write_all(&request).await.expect("the gateway reads");
        let mut read = 0;
        loop {
            let more = stream.read(&mut answer[read..]).await.expect("the gateway answers");
            assert_ne!(more, 0, "the gateway closed the connection");
            read += more;
            let head = answer[..read].windows(4).position(|end| end == b"\r\n\r\n");
            if head.is_some_and(|head| head + 4 + bytes == read) {
                break;
            }
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"), "an echo answers");
        times.push(started.elapsed());
    }
    times
}

/// What the gateway's threads have taken (`/proc/self/task/*/schedstat`, nanoseconds).
fn thread_time() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux has it");
    let nanoseconds = tasks.filter_map(|task| {
        let task = task.ok()?.path();
        let name = std::fs::read_to_string(task.join("comm")).ok()?;
        let time = std::fs::read_to_string(task.join("schedstat")).ok()?;
        (name.trim() == GATEWAY).then(|| time.split(' ').next()?.parse::<u64>().ok()).flatten()
    });
    Duration::from_nanos(nanoseconds.sum())
}

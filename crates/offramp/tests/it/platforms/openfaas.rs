//! `OpenFaaS`: faas-netes' probes, of-watchdog's variables, headers and drain.

use std::time::{Duration, Instant};

use super::{Container, body, check_answer, check_calls, model, until};
use crate::process::free_address;

const OPENFAAS: (&str, &str) = ("OFFRAMP_PLATFORM", "openfaas");

#[test]
fn probes_calls_and_metrics() {
    let metrics = free_address().to_string();
    let container =
        Container::start(&[OPENFAAS, ("OFFRAMP_MODEL", &model()), ("OFFRAMP_METRICS", &metrics)]);
    for path in ["/_/health", "/_/ready"] {
        let answer = container.get(path);
        assert_eq!((answer.status, answer.text().as_str()), (200, "OK"));
    }
    for path in ["/", "/any/path?x=y", "/healthz", "/init", "/specialize"] {
        check_calls(&container, path);
    }
    let answer = container.post("/", &body(0));
    let seconds: f64 = answer.header("x-duration-seconds").unwrap().parse().unwrap();
    assert!((0.0..10.0).contains(&seconds), "{seconds}");
    assert_eq!(container.get("/").status, 405);
    assert_eq!(container.send("DELETE", "/_/health", &[], b"").status, 405);
    let scraped = ureq::get(format!("http://{metrics}/metrics")).call().unwrap();
    let scraped = scraped.into_body().read_to_string().unwrap();
    for part in [
        "http_requests_total{code=\"200\",method=\"post\"}",
        "http_requests_total{code=\"405\",method=\"delete\"} 1",
        "http_request_duration_seconds_bucket{le=\"0.01\",code=\"200\",method=\"post\"}",
        "http_requests_in_flight 0",
    ] {
        assert!(scraped.contains(part), "{part} is not in\n{scraped}");
    }
}

#[test]
fn calls_are_bounded_in_number_and_time() {
    let container = Container::start(&[
        OPENFAAS,
        ("OFFRAMP_FUNCTION", "wait"),
        ("OFFRAMP_WAIT_MS", "1500"),
        ("max_inflight", "1"),
        ("exec_timeout", "1m"),
    ]);
    let begun = Instant::now();
    let late = container.send("POST", "/", &[("X-Timeout", "200ms")], b"x");
    assert_eq!(late.status, 504, "{late:?}");
    assert!(begun.elapsed() < Duration::from_millis(1400));
    let port = container.port;
    std::thread::scope(|scope| {
        let first = scope.spawn(move || port.post("/", "first"));
        until(|| port.get("/_/ready").status == 429);
        let second = container.post("/", "second");
        assert_eq!((second.status, second.header("retry-after")), (429, Some("1")));
        assert_eq!(container.get("/_/health").status, 200);
        assert_eq!(first.join().unwrap().text(), "first");
    });
}

#[test]
fn it_drains_before_it_ends() {
    let container =
        Container::start(&[OPENFAAS, ("OFFRAMP_MODEL", &model()), ("healthcheck_interval", "2s")]);
    let Container { service, port } = container;
    std::thread::scope(|scope| {
        let ended = scope.spawn(move || service.terminate());
        until(|| port.get("/_/health").status == 503);
        assert_eq!(port.post("/", &body(0)).status, 200);
        ended.join().unwrap();
    });
}

#[test]
fn a_bad_variable_is_refused() {
    let mut command =
        super::entry_point(&[OPENFAAS, ("OFFRAMP_MODEL", &model()), ("max_inflight", "lots")]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("variable `max_inflight` is `lots`; expected a whole number"), "{said}");
}

#[test]
fn the_papers_body_is_answered_as_the_papers_function_does() {
    let container = Container::start(&[OPENFAAS, ("OFFRAMP_MODEL", &model())]);
    let done = container.post("/", &body(0)).json();
    check_answer(&done);
    assert_eq!(done["statusCode"], 200);
}

#[test]
fn a_probe_that_runs_cat_finds_one() {
    // In the image /bin/cat is a link to the program; here the link is made.
    let dir = tempfile::tempdir().unwrap();
    let cat = dir.path().join("cat");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_offramp"), &cat).unwrap();
    let lock = dir.path().join("lock");
    let run = || std::process::Command::new(&cat).arg(&lock).output().unwrap();
    assert!(!run().status.success());
    std::fs::write(&lock, "there").unwrap();
    assert_eq!((run().status.success(), run().stdout), (true, b"there".to_vec()));
}

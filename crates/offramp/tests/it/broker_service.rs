//! `offramp broker` as an operator runs it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::process::{DEADLINE, Service, run_ok};

/// What a GET answers: the status line, and the body.
fn get(address: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[test]
fn metrics_are_served_on_an_address_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().to_str().unwrap();
    let listen = ["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--flush", "5"];
    let mut broker = Service::start(&[&["broker", "--dir", dir][..], &listen].concat());
    let url = broker.wait_for("metrics")["url"].clone();
    let servers = broker.wait_for("broker ready")["listening"].clone();
    run_ok(&["topic", "create", "t", "-p", "2", "-b", &servers]);
    let address = url.strip_prefix("http://").unwrap().strip_suffix("/metrics").unwrap();
    let (status, body) = get(address, "/metrics");
    assert_eq!(status, "HTTP/1.1 200 OK");
    for line in [
        "# TYPE offramp_broker_records_in counter",
        "offramp_broker_topics 1.0",
        "offramp_broker_partition_end_offset{topic=\"t\",partition=\"1\"} 0.0",
        "# EOF",
    ] {
        assert!(body.lines().any(|found| found == line), "no `{line}` in:\n{body}");
    }
    assert_eq!(get(address, "/").0, "HTTP/1.1 404 Not Found");
    let said = broker.terminate();
    assert!(said.iter().any(|line| line.contains("the broker has stopped")), "{said:?}");
}

#[test]
fn a_thousand_connections_leave_it_serving() {
    rlimit::increase_nofile_limit(4096).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (_broker, servers) = crate::process::broker(dir.path(), "127.0.0.1:0");
    let open: Vec<TcpStream> = (0..1000).map(|_| TcpStream::connect(&servers).unwrap()).collect();
    run_ok(&["topic", "create", "t", "-b", &servers]);
    assert!(run_ok(&["topic", "list", "-b", &servers]).contains("t  "));
    drop(open);
}

#[test]
fn an_address_that_others_reach_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().to_str().unwrap();
    let mut broker = Service::start(&["broker", "--dir", dir, "--listen", "0.0.0.0:0"]);
    broker.wait_for("whoever reaches it can read and write everything");
    broker.wait_for("broker ready");
}

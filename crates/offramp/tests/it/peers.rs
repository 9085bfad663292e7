//! Other people's clients: they read the outputs while it runs, and call a function.

use std::process::{Command, Stdio};

use crate::images::{digits, record};
use crate::process::Service;
use crate::whole::send;

const RECORDS: usize = 200;

/// Starts the demo's pipeline with its embedded broker; returns its address.
fn up(dir: &std::path::Path) -> (Service, String) {
    crate::process::run_ok(&["init", dir.to_str().unwrap()]);
    let file = dir.join("offramp.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace("# listen = \"127.0.0.1:8080\"", "listen = \"127.0.0.1:0\"");
    std::fs::write(&file, format!("{text}\n[broker]\nlisten = \"127.0.0.1:0\"\n")).unwrap();
    let mut up = Service::start(&["up", file.to_str().unwrap()]);
    let address = up.wait_for("embedded broker")["listening"].clone();
    up.wait_for("ready");
    (up, address)
}

async fn send_digits(servers: &str) {
    let dataset = digits(RECORDS);
    send(
        servers,
        "mnist.edge-input",
        (0..RECORDS).map(|at| record(&dataset, at, &format!("r{at}"))),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kcat: cargo xtask peers"]
async fn kcat_reads_answers_while_they_are_made() {
    let dir = tempfile::tempdir().unwrap();
    let (_up, servers) = up(dir.path());
    let kcat = std::env::var("OFFRAMP_KCAT").unwrap();
    let reader = Command::new(kcat)
        .args(["-b", &servers, "-C", "-t", "mnist.edge-output", "-o", "beginning", "-c", "100"])
        .args(["-f", "%k %h %s\n"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    send_digits(&servers).await;
    let output = tokio::task::spawn_blocking(|| reader.wait_with_output().unwrap()).await.unwrap();
    assert!(output.status.success());
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(lines.lines().count(), 100);
    assert!(
        lines.lines().all(|line| line.starts_with("key-r") && line.contains("offramp-tier=edge"))
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs confluent-kafka: cargo xtask peers"]
async fn confluent_kafka_reads_all_answers_in_a_group() {
    let dir = tempfile::tempdir().unwrap();
    let (_up, servers) = up(dir.path());
    let python = std::env::var("OFFRAMP_PYTHON").unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/read_answers.py");
    let reader = Command::new(python)
        .args([script, &servers, &RECORDS.to_string()])
        .args(["mnist.edge-output", "mnist.fog-output", "mnist.cloud-output"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    send_digits(&servers).await;
    let output = tokio::task::spawn_blocking(|| reader.wait_with_output().unwrap()).await.unwrap();
    assert!(output.status.success());
    let mut ids: Vec<String> =
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    ids.sort();
    let mut expected: Vec<String> = (0..RECORDS).map(|at| format!("r{at}")).collect();
    expected.sort();
    assert_eq!(ids, expected);
}

/// Runs a script of this folder against an inference function.
fn call_function(script: &str, more: &[&str]) {
    let model = crate::images::demo_models()[0].display().to_string();
    let mut function =
        Service::start(&["function", "inference", "--model", &model, "--listen", "127.0.0.1:0"]);
    let address = function.wait_for("inference ready")["listening"].clone();
    let python = std::env::var("OFFRAMP_PYTHON").unwrap();
    let script = format!("{}/tests/it/{script}", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(python).arg(script).arg(address).args(more).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && output.stdout == b"ok\n", "{stderr}");
}

#[test]
#[ignore = "needs tritonclient: cargo xtask peers"]
fn tritonclient_infers_in_json_and_in_binary() {
    call_function("infer_tensors.py", &["edge"]);
}

#[test]
#[ignore = "needs the CloudEvents SDK: cargo xtask peers"]
fn the_cloud_events_sdk_reads_replies() {
    call_function("send_events.py", &[]);
}

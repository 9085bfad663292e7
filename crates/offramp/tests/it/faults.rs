//! kill -9 at a bad moment.

use std::fmt::Write as _;

use crate::images::{demo_models, digits, record};
use crate::process::{Service, broker, free_address};
use crate::whole::{collect, send};

const RECORDS: usize = 3000;

/// A pipeline of the demo's models on a broker in another process.
fn pipeline_file(dir: &std::path::Path, servers: &str) -> String {
    let mut text = "[pipeline]\nname = \"p\"\n".to_owned();
    for (tier, model) in ["edge", "fog", "cloud"].iter().zip(demo_models()) {
        let model = model.display();
        writeln!(
            text,
            "[[tier]]\nname = \"{tier}\"\nmodel = \"{model}\"\nbootstrap_servers = \"{servers}\""
        )
        .unwrap();
    }
    let file = dir.join("offramp.toml");
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

const OUTPUTS: [&str; 3] = ["p.edge-output", "p.fog-output", "p.cloud-output"];

fn records(from: usize, to: usize) -> Vec<wire::Record> {
    let dataset = digits(100);
    (from..to).map(|at| record(&dataset, at % 100, &format!("r{at}"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_in_mid_run_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let listen = free_address().to_string();
    let (mut first, servers) = broker(&log, &listen);
    let mut up = Service::start(&["up", &pipeline_file(dir.path(), &servers)]);
    up.wait_for("ready");
    send(&servers, "p.edge-input", records(0, RECORDS / 2)).await;
    let before = collect(&servers, &OUTPUTS, 10).await;
    first.kill();
    // What is sent while it is away waits in the clients.
    let sending = {
        let servers = servers.clone();
        tokio::spawn(
            async move { send(&servers, "p.edge-input", records(RECORDS / 2, RECORDS)).await },
        )
    };
    let (_second, _) = broker(&log, &listen);
    sending.await.unwrap();
    let after = collect(&servers, &OUTPUTS, RECORDS).await;
    eprintln!("{} read before, {} duplicated after", before.records.len(), after.duplicated);
    for id in before.records.keys() {
        assert!(after.records.contains_key(id), "{id} was answered before the kill and is gone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tiers_that_are_killed_in_mid_run_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (_broker, servers) = broker(&dir.path().join("log"), "127.0.0.1:0");
    let file = pipeline_file(dir.path(), &servers);
    let mut first = Service::start(&["up", &file]);
    first.wait_for("ready");
    send(&servers, "p.edge-input", records(0, RECORDS)).await;
    collect(&servers, &OUTPUTS, 10).await;
    first.kill();
    let mut second = Service::start(&["up", &file]);
    second.wait_for("ready");
    let arrived = collect(&servers, &OUTPUTS, RECORDS).await;
    eprintln!("{} duplicated", arrived.duplicated);
}

//! `offramp tail`, beside running tiers and beside topics that somebody else writes.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use bytes::Bytes;
use serde_json::{Value, json};
use wire::{Header, Record, header};

use crate::images::{demo_models, digits, record};
use crate::place::Place;
use crate::process::{Service, offramp, run, run_ok};
use crate::whole::send;

const RECORDS: usize = 200;

/// Starts the demo's tiers on a broker; returns their pipeline file.
fn up(place: &Place) -> (Service, String) {
    let mut text = "[pipeline]\nname = \"p\"\n".to_owned();
    for (tier, model) in ["edge", "fog", "cloud"].iter().zip(demo_models()) {
        let (model, servers) = (model.display(), &place.servers);
        writeln!(text, "[[tier]]\nname = \"{tier}\"\nmodel = \"{model}\"").unwrap();
        writeln!(text, "bootstrap_servers = \"{servers}\"").unwrap();
    }
    let file = place.dir.path().join("offramp.toml");
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let mut up = Service::start(&["up", &file]);
    up.wait_for("ready");
    (up, file)
}

/// Starts the command; returns it once it reads.
fn tail(arguments: &[&str]) -> (Child, std::io::Lines<BufReader<std::process::ChildStdout>>) {
    let mut child =
        offramp(&[&["tail"], arguments].concat()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let heading = lines.next().unwrap().unwrap();
    assert!(heading.starts_with("sent (UTC)") && heading.contains("confidence"), "{heading}");
    (child, lines)
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_and_dead_letters_are_joined_to_what_was_sent() {
    let place = Place::new();
    let (_up, file) = up(&place);
    let dataset = digits(RECORDS);
    let mut records: Vec<_> =
        (0..RECORDS).map(|at| record(&dataset, at, &format!("r{at}"))).collect();
    for (at, record) in records.iter_mut().enumerate() {
        match at % 20 {
            0 => record.value = Some(Bytes::from_static(b"no image")),
            // Then the first tier gives it one.
            1 => record.headers.retain(|header| header.name != header::ID),
            _ => {}
        }
    }
    send(&place.servers, "p.edge-input", records).await;
    let tail = ["tail", &file, "--from-beginning", "--until-answered", "-o", "json"];
    // The first one ends when all is answered, so that all is there before the second one starts.
    run_ok(&tail);
    let printed = run_ok(&tail);
    let mut lines: Vec<Value> =
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = lines.pop().unwrap()["summary"].take();
    assert_eq!(lines.len(), RECORDS);
    let of_tier = |at: usize| summary["answered"][at]["records"].as_u64().unwrap();
    assert_eq!(of_tier(0) + of_tier(1) + of_tier(2), 190, "{summary}");
    assert!(100 < of_tier(0), "{summary}");
    for (name, count) in [
        ("sent", RECORDS as u64),
        ("dead_lettered", 10),
        ("lost", 0),
        ("waiting", 0),
        ("unknown", 0),
    ] {
        assert_eq!(summary[name], count, "{name} in {summary}");
    }
    let of_id = |id: &str| lines.iter().find(|line| line["id"] == id).unwrap();
    assert_eq!(of_id("r20")["dead_letter"]["code"], "not-json");
    assert_eq!(of_id("r20")["latency_ms"], Value::Null, "it was there before");
    let answer = of_id("r22");
    let class = answer["classes"][0].as_u64().unwrap();
    assert!(class < 10 && answer["classes"].as_array().unwrap().len() == 1, "{answer}");
    assert!(0.0 < answer["confidences"][0].as_f64().unwrap(), "{answer}");
    let nameless = lines.iter().filter(|line| {
        line["id"].as_str().unwrap().starts_with("p.edge-input/0/") && line["classes"].is_array()
    });
    assert_eq!(nameless.count(), RECORDS / 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_shown_as_they_come() {
    let place = Place::new();
    let (_up, file) = up(&place);
    let (mut child, lines) = tail(&[&file, "-n", "3", "--window-s", "60"]);
    let dataset = digits(3);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let records = (0..3).map(|at| {
        let mut record = record(&dataset, at, &format!("r{at}"));
        record.timestamp_ms = Some(now.as_millis() as i64);
        record
    });
    send(&place.servers, "p.edge-input", records).await;
    let lines: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(child.wait().unwrap().success());
    let (shown, summary) = lines.split_at(3);
    for line in shown {
        let words: Vec<_> = line.split_whitespace().collect();
        assert!(["edge", "fog", "cloud"].contains(&words[1]), "{line}");
        assert!(words[3].parse::<f32>().is_ok_and(|c| (0.0..=1.0).contains(&c)), "{line}");
        assert!(words[5] == "ms" && words[4].parse::<u32>().is_ok(), "{line}");
        assert!(words[6].starts_with('r') && words[7].starts_with("key-r"), "{line}");
    }
    assert!(summary[1].contains("answered: edge ") && summary[1].contains(" 0 duplicated"));
    assert_eq!(summary[2], "(ids are kept for 60 s, at most 500000 of them)");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_and_what_comes_twice_is_counted() {
    let place = Place::new();
    let (sent, out) = (place.topic("sent", 1), place.topic("out", 1));
    let with_id = |id: &str| Record {
        headers: vec![Header::new(header::ID, id.to_owned())],
        timestamp_ms: Some(1),
        value: Some(Bytes::from_static(b"[[0.25, 0.75]]")),
        ..Record::default()
    };
    send(&place.servers, &sent, ["a", "b", "c"].map(with_id)).await;
    send(&place.servers, &out, ["a", "a", "x"].map(with_id)).await;
    let arguments = ["tail", "--out", &out, "--sent", &sent, "-b", &place.servers];
    let more = ["--from-beginning", "--until-answered", "--silence-s", "1", "-o", "json"];
    let output = run(&[&arguments[..], &more].concat());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("error: 2 of 3 records were lost"), "{stderr}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> =
        stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3, "{stdout}");
    let summary = &lines[2]["summary"];
    assert_eq!(summary["answered"], json!([{ "tier": out, "records": 1 }]));
    assert_eq!((&summary["duplicated"], &summary["unknown"]), (&json!(1), &json!(1)));
}

#[test]
fn what_cannot_be_tailed_is_said() {
    for (arguments, code, expected) in [
        (&["tail", "no-such.toml"][..], 78, "no-such.toml"),
        (&["tail", "--out", "t", "--until-answered"], 78, "--sent TOPIC"),
        (&["tail", "--out", "t", "--window-s", "5"], 78, "at least --silence-s, which is 20"),
        (&["tail", "file.toml", "--out", "t"], 2, "cannot be used with"),
    ] {
        let output = run(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
    }
    let place = Place::new();
    let error = place.fails(&["tail", "--out", "nowhere"]);
    assert!(error.contains("topic `nowhere` does not exist"), "{error}");
}

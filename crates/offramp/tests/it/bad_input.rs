//! Records that can never succeed, and those behind them.

use bytes::Bytes;
use wire::{Header, Record};

use crate::images::{demo_models, digits, json, record};
use crate::process::{Service, broker};
use crate::whole::{collect, send};

fn bad(id: &str, value: impl Into<Bytes>) -> Record {
    Record {
        key: Some(Bytes::from_static(b"\xfe\xff")),
        headers: vec![Header::new("offramp-id", id.to_owned())],
        timestamp_ms: Some(1),
        value: Some(value.into()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_goes_to_the_dead_letters_and_the_rest_flows_on() {
    let dir = tempfile::tempdir().unwrap();
    let (_broker, servers) = broker(&dir.path().join("log"), "127.0.0.1:0");
    // One tier is enough, and being the last it answers everything.
    let edge = demo_models()[0].display().to_string();
    let text = format!(
        "[pipeline]\nname = \"p\"\n[[tier]]\nname = \"only\"\nmodel = \"{edge}\"\n\
         bootstrap_servers = \"{servers}\"\n"
    );
    let file = dir.path().join("offramp.toml");
    std::fs::write(&file, text).unwrap();
    let mut up = Service::start(&["up", file.to_str().unwrap()]);
    up.wait_for("ready");

    let dataset = digits(20);
    let image = json(&dataset, 0);
    let huge = format!("[[{}0]]", "0, ".repeat(300_000));
    let cases: Vec<(&str, &str, Record)> = vec![
        ("text", "not-json", bad("text", "hello")),
        ("cut", "not-json", bad("cut", image[..image.len() / 2].to_owned())),
        ("binary", "not-json", bad("binary", vec![0xff, 0x00, 0x80])),
        ("small", "wrong-shape", bad("small", "[[[1, 2], [3, 4]]]")),
        ("object", "wrong-shape", bad("object", "{\"value\": 1}")),
        ("nan", "not-finite", bad("nan", image.replacen('0', "NaN", 1))),
        ("infinite", "not-finite", bad("infinite", image.replacen('0', "1e99", 1))),
        ("huge", "wrong-shape", bad("huge", huge)),
        ("null", "not-json", Record { value: None, ..bad("null", "") }),
    ];
    let good: Vec<Record> = (0..20).map(|at| record(&dataset, at, &format!("good{at}"))).collect();
    let mut all: Vec<Record> = cases.iter().map(|(_, _, record)| record.clone()).collect();
    all.extend(good.clone());
    send(&servers, "p.only-input", all).await;

    let answers = collect(&servers, &["p.only-output"], good.len()).await;
    assert!(good.iter().all(|record| answers.records.contains_key(record.id().unwrap())));
    let letters = collect(&servers, &["p.only-dead-letter"], cases.len()).await;
    for (id, code, sent) in &cases {
        let (_, letter) = &letters.records[*id];
        assert_eq!((&letter.key, &letter.value), (&sent.key, &sent.value), "{id}");
        assert_eq!(letter.timestamp_ms, sent.timestamp_ms, "{id}");
        assert_eq!(letter.headers[..1], sent.headers, "{id}");
        let header =
            |name| letter.header(name).map(|value| String::from_utf8_lossy(value).into_owned());
        assert_eq!(header("offramp-dead-letter-code").as_deref(), Some(*code), "{id}");
        assert!(
            header("offramp-dead-letter-reason").is_some_and(|reason| reason.len() > 10),
            "{id}"
        );
        assert!(
            header("offramp-dead-letter-source").unwrap().starts_with("p.only-input/0/"),
            "{id}"
        );
    }
    let said = up.terminate().join("\n");
    assert!(said.contains("dead_lettered=9") && said.contains("in_flight=0"), "{said}");
}

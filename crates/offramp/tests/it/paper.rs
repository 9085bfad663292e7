//! The paper's experiment, run through the whole system, in one process and with every function as its own.
//!
//! With the paper's data beside the project: its three models and MNIST test images 0-99, four times; the exit
//! counts must be the published ones. Without: the demo's models and drawn digits; the counts must be those of
//! the bare engine.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use model::dataset::Dataset;
use model::dataset::idx::{self, Split};
use wire::Header;

use crate::images::{demo_models, digits, expected_counts, record, shared_data};
use crate::process::{Service, broker, run_ok};
use crate::whole::{collect, send};

const IMAGES: usize = 100;
const ROUNDS: usize = 4;
const TIERS: [&str; 3] = ["edge", "fog", "cloud"];

/// One setting of the experiment.
struct Setting {
    models: Vec<PathBuf>,
    dataset: Dataset,
    thresholds: [f64; 2],
    counts: Vec<u64>,
}

/// Imports the paper's models into `dir`; the published counts with them.
fn settings(dir: &Path) -> Vec<Setting> {
    let Some(data) = shared_data() else {
        let (models, dataset) = (demo_models().to_vec(), digits(IMAGES));
        let thresholds = [0.9, 0.8];
        let counts = expected_counts(&models, &thresholds, &dataset)
            .into_iter()
            .map(|count| count * ROUNDS as u64)
            .collect();
        return vec![Setting { models, dataset, thresholds, counts }];
    };
    let models: Vec<PathBuf> = TIERS
        .iter()
        .map(|tier| {
            let from = data.join(format!("paper/models/{tier}.h5"));
            let to = dir.join(format!("{tier}.onnx"));
            run_ok(&["model", "import", from.to_str().unwrap(), "-o", to.to_str().unwrap()]);
            to
        })
        .collect();
    let dataset = idx::read(&data.join("mnist"), Split::Test).unwrap().take(IMAGES);
    [([0.65, 0.50], vec![144, 56, 200]), ([0.50, 0.50], vec![200, 0, 200])]
        .into_iter()
        .map(|(thresholds, counts)| Setting {
            models: models.clone(),
            dataset: dataset.clone(),
            thresholds,
            counts,
        })
        .collect()
}

fn pipeline_file(dir: &Path, setting: &Setting, servers: &str) -> PathBuf {
    let mut text = "[pipeline]\nname = \"paper\"\n".to_owned();
    for (at, tier) in TIERS.iter().enumerate() {
        let model = setting.models[at].display();
        write!(
            text,
            "[[tier]]\nname = \"{tier}\"\nmodel = \"{model}\"\nbootstrap_servers = \"{servers}\"\n"
        )
        .unwrap();
        if let Some(threshold) = setting.thresholds.get(at) {
            writeln!(text, "exit = {{ threshold = {threshold} }}").unwrap();
        }
    }
    let file = dir.join("offramp.toml");
    std::fs::write(&file, text).unwrap();
    file
}

async fn check_counts(servers: &str, setting: &Setting) {
    let all = IMAGES * ROUNDS;
    let sent: Vec<_> =
        (0..all).map(|at| record(&setting.dataset, at % IMAGES, &format!("r{at}"))).collect();
    send(servers, "paper.edge-input", sent.clone()).await;
    let outputs = TIERS.map(|tier| format!("paper.{tier}-output"));
    let topics: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let arrived = collect(servers, &topics, all).await;
    assert_eq!(arrived.duplicated, 0);
    let counts: Vec<u64> = topics.iter().map(|topic| arrived.count(topic)).collect();
    assert_eq!(counts, setting.counts, "thresholds {:?}", setting.thresholds);
    for sent in &sent {
        let (source, answer) = &arrived.records[sent.id().unwrap()];
        assert_eq!(answer.key, sent.key);
        assert_eq!(answer.timestamp_ms, sent.timestamp_ms);
        let (kept, added) = answer.headers.split_at(sent.headers.len());
        assert_eq!(kept, sent.headers);
        let hops: Vec<&Header> =
            added.iter().filter(|header| header.name == "offramp-tier").collect();
        let last = hops.last().unwrap().value.as_deref().unwrap();
        assert_eq!(source.topic, format!("paper.{}-output", String::from_utf8_lossy(last)));
        let value: Vec<Vec<f32>> =
            serde_json::from_slice(answer.value.as_deref().unwrap()).unwrap();
        assert_eq!((value.len(), value[0].len()), (1, 10));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_gives_the_published_exit_counts() {
    let dir = tempfile::tempdir().unwrap();
    for (at, setting) in settings(dir.path()).iter().enumerate() {
        let (_broker, servers) = broker(&dir.path().join(format!("log{at}")), "127.0.0.1:0");
        let file = pipeline_file(dir.path(), setting, &servers);
        let mut up = Service::start(&["up", file.to_str().unwrap()]);
        up.wait_for("ready");
        check_counts(&servers, setting).await;
        let said = up.terminate().join("\n");
        assert!(said.contains("in_flight=0"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_function_as_its_own_process_gives_the_same_counts() {
    let dir = tempfile::tempdir().unwrap();
    for (at, setting) in settings(dir.path()).iter().enumerate() {
        let (_broker, servers) = broker(&dir.path().join(format!("log{at}")), "127.0.0.1:0");
        let funnel = |topic: &str| {
            let mut funnel = Service::start(&[
                "function",
                "funnel",
                "--bootstrap-servers",
                &servers,
                "--topic",
                topic,
                "--listen",
                "127.0.0.1:0",
            ]);
            let address = funnel.wait_for("funnel ready")["listening"].clone();
            (funnel, format!("http://{address}/"))
        };
        let mut running = Vec::new();
        for (at, tier) in TIERS.iter().enumerate() {
            let (exit, exit_url) = funnel(&format!("paper.{tier}-output"));
            running.push(exit);
            let threshold = setting.thresholds.get(at).map(f64::to_string);
            let mut arguments = vec![
                "function",
                "inference",
                "--model",
                setting.models[at].to_str().unwrap(),
                "--tier",
                tier,
                "--exit-url",
                &exit_url,
                "--listen",
                "127.0.0.1:0",
            ];
            let forward_url;
            if let (Some(threshold), Some(next)) = (&threshold, TIERS.get(at + 1)) {
                let (forward, url) = funnel(&format!("paper.{next}-input"));
                running.push(forward);
                forward_url = url;
                arguments.extend(["--threshold", threshold, "--forward-url", &forward_url]);
            }
            let mut inference = Service::start(&arguments);
            let address = inference.wait_for("inference ready")["listening"].clone();
            let url = format!("http://{address}/");
            let topic = format!("paper.{tier}-input");
            let mut connector = Service::start(&[
                "function",
                "connector",
                "--bootstrap-servers",
                &servers,
                "--topic",
                &topic,
                "--url",
                &url,
            ]);
            connector.wait_for("connector ready");
            running.extend([inference, connector]);
        }
        check_counts(&servers, setting).await;
        for service in running {
            service.terminate();
        }
    }
}

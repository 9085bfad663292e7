//! `offramp function kafka-ml` in the place of Kafka-ML's inference container: its environment, and what is in topics.
//!
//! With the paper's data beside the project: its models and MNIST test images 0-99, whose exits are published. Without:
//! the demo's models and drawn digits.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use kafka::Consumer;
use model::dataset::Dataset;
use model::dataset::idx::{self, Split};
use serde_json::Value;
use wire::{Header, Record};

use crate::images::{demo_models, digits, expected_counts, shared_data};
use crate::place::Place;
use crate::process::{Service, offramp};
use crate::whole::send;

const IMAGES: usize = 100;
const RAW: &str = r#"{"data_type": "uint8", "label_type": "uint8", "data_reshape": "28 28", "label_reshape": "1"}"#;

struct Setting {
    models: Vec<PathBuf>,
    dataset: Dataset,
    limits: [f64; 2],
    counts: Vec<u64>,
}

fn setting() -> Setting {
    let limits = [0.65, 0.50];
    let Some(data) = shared_data() else {
        let (models, dataset) = (demo_models().to_vec(), digits(IMAGES));
        let counts = expected_counts(&models, &limits, &dataset);
        return Setting { models, dataset, limits, counts };
    };
    let model = |tier| data.join(format!("paper/models/{tier}.h5"));
    Setting {
        models: ["edge", "fog", "cloud"].map(model).to_vec(),
        dataset: idx::read(&data.join("mnist"), Split::Test).unwrap().take(IMAGES),
        limits,
        counts: vec![36, 14, 50],
    }
}

/// A container with this environment.
fn container(environment: &BTreeMap<&str, String>) -> Service {
    let mut command = offramp(&["function"]);
    command.env("OFFRAMP_FUNCTION", "kafka-ml").envs(environment);
    let mut service = Service::spawn(&mut command);
    service.wait_for(" ready");
    service
}

fn environment<'e>(
    place: &Place,
    model: &std::path::Path,
    from: &str,
    to: &str,
) -> BTreeMap<&'e str, String> {
    BTreeMap::from([
        ("INPUT_BOOTSTRAP_SERVERS", place.servers.clone()),
        ("OUTPUT_BOOTSTRAP_SERVERS", place.servers.clone()),
        ("MODEL_URL", format!("file://{}", model.display())),
        ("INPUT_FORMAT", "RAW".to_owned()),
        ("INPUT_CONFIG", RAW.to_owned()),
        ("INPUT_TOPIC", from.to_owned()),
        ("OUTPUT_TOPIC", to.to_owned()),
        ("GROUP_ID", format!("inf-{from}")),
    ])
}

fn with_upper(environment: &mut BTreeMap<&str, String>, place: &Place, topic: &str, limit: &str) {
    environment.insert("UPPER_BOOTSTRAP_SERVERS", place.servers.clone());
    environment.insert("OUTPUT_UPPER", topic.to_owned());
    environment.insert("LIMIT", limit.to_owned());
}

fn raw(dataset: &Dataset, at: usize) -> Record {
    Record {
        key: Some(Bytes::from(format!("key-{at}"))),
        headers: vec![Header::new("camera", at.to_string())],
        timestamp_ms: Some(1_681_899_936_418),
        value: Some(Bytes::copy_from_slice(dataset.sample(at))),
    }
}

/// Reads `count` records of a topic.
async fn read(place: &Place, topic: &str, count: usize) -> Vec<Record> {
    let group = format!("reader-{}", uuid::Uuid::new_v4());
    let consumer = Consumer::subscribe(&place.servers, &group, &[topic]).unwrap();
    let mut records = Vec::new();
    while records.len() < count {
        let next = tokio::time::timeout(crate::process::DEADLINE, consumer.recv());
        let next =
            next.await.unwrap_or_else(|_| panic!("{topic}: {} of {count} came", records.len()));
        records.push(next.unwrap().record);
    }
    records
}

fn values(record: &Record) -> Vec<f64> {
    let answer: Value = serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
    assert_eq!(answer.as_object().unwrap().len(), 1, "{answer}");
    answer["values"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_three_gives_what_kafka_ml_gives() {
    let place = Place::of_parity();
    let Setting { models, dataset, limits, counts } = setting();
    let topics: Vec<String> = ["edge-in", "fog-in", "cloud-in", "edge-out", "fog-out", "cloud-out"]
        .map(|name| place.topic(name, 1))
        .to_vec();
    let mut running = Vec::new();
    for tier in 0..3 {
        let mut environment = environment(&place, &models[tier], &topics[tier], &topics[tier + 3]);
        if 0 < tier {
            let config = r#"{"data_type": "float32", "label_type": "uint8", "label_reshape": "1"}"#;
            environment.insert("INPUT_CONFIG", config.to_owned());
        }
        match limits.get(tier) {
            Some(limit) => {
                with_upper(&mut environment, &place, &topics[tier + 1], &limit.to_string());
            }
            // As the authors' manifests have the last one.
            None => {
                environment.extend([("OUTPUT_UPPER", String::new()), ("LIMIT", "None".to_owned())]);
            }
        }
        running.push(container(&environment));
    }
    send(&place.servers, &topics[0], (0..IMAGES).map(|at| raw(&dataset, at))).await;
    for (tier, &count) in counts.iter().enumerate() {
        for answer in read(&place, &topics[tier + 3], count as usize).await {
            let values = values(&answer);
            assert_eq!(values.len(), 10);
            assert!((values.iter().sum::<f64>() - 1.0).abs() < 1e-3);
            if let Some(&limit) = limits.get(tier) {
                assert!(values.iter().copied().fold(0.0, f64::max) >= limit, "{values:?}");
            }
            let key = String::from_utf8(answer.key.clone().unwrap().to_vec()).unwrap();
            let camera = answer.header("camera").unwrap();
            assert_eq!(key.as_bytes(), [b"key-", &camera[..]].concat());
        }
    }
    let is_the_papers = models[0].extension().is_some_and(|extension| extension == "h5");
    // 32 and 16 units of the paper's models, as 32-bit floats.
    let expected = is_the_papers.then_some([128, 64]);
    for (tier, count) in [(0, counts[1] + counts[2]), (1, counts[2])] {
        for record in read(&place, &topics[tier + 1], count as usize).await {
            let bytes = record.value.as_ref().unwrap().len();
            assert!(
                bytes.is_multiple_of(4) && expected.is_none_or(|sizes| bytes == sizes[tier]),
                "{bytes}"
            );
            assert!(record.key.is_some());
        }
    }
    for service in running {
        service.terminate();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_equals_the_limit_answers_and_poison_is_kept() {
    let place = Place::of_parity();
    let Setting { models, dataset, .. } = setting();
    let [from, all, dead] = ["in", "all", "dead"].map(|name| place.topic(name, 1));
    // Without a limit all are answered, which tells a sample's largest value.
    let service = container(&environment(&place, &models[0], &from, &all));
    let sample = raw(&dataset, 0);
    send(&place.servers, &from, [sample.clone()]).await;
    let most = values(&read(&place, &all, 1).await[0]).into_iter().fold(0.0, f64::max);
    service.terminate();
    for (limit, answers) in [(most, true), (most.next_up(), false)] {
        let [from, out, up] = ["in", "out", "up"].map(|name| place.topic(name, 1));
        let mut environment = environment(&place, &models[0], &from, &out);
        environment.insert("OFFRAMP_DEAD_LETTER_TOPIC", dead.clone());
        with_upper(&mut environment, &place, &up, &limit.to_string());
        let service = container(&environment);
        let poison = Record { value: Some(Bytes::from_static(b"short")), ..sample.clone() };
        send(&place.servers, &from, [poison, sample.clone()]).await;
        read(&place, if answers { &out } else { &up }, 1).await;
        service.terminate();
    }
    for letter in read(&place, &dead, 2).await {
        assert_eq!(letter.value.as_deref(), Some(&b"short"[..]));
        let reason = letter.header("offramp-dead-letter-reason").unwrap();
        assert!(reason.starts_with(b"the value has 5 bytes, expected 784"), "{reason:?}");
    }
}

#[test]
fn a_bad_environment_is_refused() {
    let place = Place::new();
    let model = &demo_models()[2];
    let check = |name: &str, value: &str, words: &str| {
        let mut environment = environment(&place, model, "in", "out");
        environment.insert(Box::leak(name.to_owned().into_boxed_str()), value.to_owned());
        if name == "LIMIT" {
            environment.insert("UPPER_BOOTSTRAP_SERVERS", place.servers.clone());
            environment.insert("OUTPUT_UPPER", "up".to_owned());
        }
        let mut command = offramp(&["function"]);
        let output =
            command.env("OFFRAMP_FUNCTION", "kafka-ml").envs(&environment).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains(words), "{words}: {said}");
    };
    check("INPUT_FORMAT", "CSV", "INPUT_FORMAT is `CSV`");
    check("INPUT_CONFIG", "{}", "`data_type` of INPUT_CONFIG");
    check("MODEL_URL", "file:///nowhere.h5", "/nowhere.h5");
    check("LIMIT", "__import__('os')", "LIMIT is `__import__('os')`, expected a number or None");
    // The cloud's model has nothing for another one.
    check("LIMIT", "0.5", "has one output, expected two");
}

//! `offramp train`, from files and from a topic, interrupted and not.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use kafka::Producer;
use model::dataset::Dataset;
use wire::Record;

use crate::images::digits;
use crate::place::Place;
use crate::process::{Service, run, run_ok};

/// Some seconds of training, most of them for starting.
const RECIPE: &str = r#"
name = "small"
labels = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
epochs = 3
batch_size = 32
input = { shape = [28, 28], scale = 0.003921568627 }
augment = { shift_pixels = 1 }
[[tier]]
name = "edge"
layers = [{ kind = "conv", channels = 4, kernel = 4, stride = 4 }, { kind = "exit" }]
[[tier]]
name = "cloud"
layers = [{ kind = "dense", width = 16 }, { kind = "exit" }]
"#;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn recipe(dir: &Path) -> PathBuf {
    let path = dir.join("recipe.toml");
    std::fs::write(&path, RECIPE).unwrap();
    path
}

/// Writes digits as MNIST's training images are.
fn write_idx(dir: &Path, dataset: &Dataset) {
    let head = |dimensions: &[u32]| -> Vec<u8> {
        let sizes = dimensions.iter().flat_map(|size| size.to_be_bytes());
        [0, 0, 8, dimensions.len() as u8].into_iter().chain(sizes).collect()
    };
    let count = dataset.len() as u32;
    let images = [head(&[count, 28, 28]), dataset.samples.clone()].concat();
    std::fs::write(dir.join("train-images-idx3-ubyte"), images).unwrap();
    let labels = [head(&[count]), dataset.labels.clone()].concat();
    std::fs::write(dir.join("train-labels-idx1-ubyte"), labels).unwrap();
}

fn files(dir: &Path) -> [Vec<u8>; 2] {
    ["edge", "cloud"].map(|tier| std::fs::read(dir.join(format!("{tier}.onnx"))).unwrap())
}

async fn produce(servers: &str, topic: &str, key: Option<Vec<u8>>, value: &[u8]) {
    let value = Some(Bytes::copy_from_slice(value));
    let record = Record { key: key.map(Bytes::from), value, ..Record::default() };
    Producer::new(servers).unwrap().send(topic, &record).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_labelled_topic_trains_what_files_train() {
    let place = Place::new();
    let (dir, dataset) = (place.dir.path(), digits(120));
    let recipe = recipe(dir);
    write_idx(dir, &dataset);
    place.run(&["topic", "create", "digits"]);
    let producer = Producer::new(&place.servers).unwrap();
    for at in 0..dataset.len() {
        // Both ways to write a label: as text, and as Kafka-ML does.
        let label = dataset.labels[at];
        let key = if at % 2 == 0 { label.to_string().into_bytes() } else { vec![label] };
        let value = Bytes::copy_from_slice(dataset.sample(at));
        let record = Record { key: Some(key.into()), value: Some(value), ..Record::default() };
        producer.send("digits", &record).await.unwrap();
    }
    let (from_files, from_topic) = (dir.join("files"), dir.join("topic"));
    let train = ["train", "--recipe", text(&recipe), "-o"];
    run_ok(&[&train[..], &[text(&from_files), "--data", text(dir)]].concat());
    place.run(&[&train[..], &[text(&from_topic), "--topic", "digits"]].concat());
    assert_eq!(files(&from_files), files(&from_topic));
    assert!(!from_topic.join("train.checkpoint").exists());

    for (topic, key, value, expected) in [
        (
            "keyless",
            None,
            &[0; 784][..],
            "partition 0, offset 0: the record has no key, expected its label",
        ),
        (
            "eleven",
            Some(b"11".to_vec()),
            &[0; 784],
            "the key is \"11\", expected a label: one of 0, 1, 2",
        ),
        ("short", Some(vec![3]), &[0; 783], "the value has 783 bytes, expected 784"),
    ] {
        place.run(&["topic", "create", topic]);
        produce(&place.servers, topic, key, value).await;
        let arguments = ["-o", text(dir), "--topic", topic, "-b", &place.servers];
        let output = run(&[&train[..3], &arguments].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains(&format!("topic `{topic}`")) && said.contains(expected), "{said}");
    }
}

#[test]
fn a_killed_run_is_resumed_and_gives_the_same_files() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = recipe(dir.path());
    let (whole, killed) = (dir.path().join("whole"), dir.path().join("killed"));
    let train = ["train", "-r", text(&recipe), "--drawn", "1500", "--epochs", "8", "-o"];
    run_ok(&[&train[..], &[text(&whole)]].concat());
    let mut run = Service::start(&[&train[..], &[text(&killed)]].concat());
    run.wait_for_line("epoch 2/8");
    run.kill();
    assert!(killed.join("train.checkpoint").exists());
    run_ok(&[&train[..], &[text(&killed), "--resume"]].concat());
    assert_eq!(files(&whole), files(&killed));

    let output = crate::process::run(&[&train[..], &[text(&killed), "--resume"]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("train.checkpoint"), "{said}");
}

#[test]
fn what_is_wrong_with_a_recipe_or_its_data_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = recipe(dir.path());
    let check = |arguments: &[&str], code, expected: &[&str]| {
        let output = run(&[&["train", "-o", text(dir.path())], arguments].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        for expected in expected {
            assert!(said.contains(expected), "{said}");
        }
    };
    check(
        &["--recipe", "mnist-wide", "--drawn", "9"],
        78,
        &["`mnist-wide`", "mnist-dense, mnist-conv"],
    );
    check(&["--recipe", text(&path)], 2, &["--data", "--topic", "--drawn"]);
    let npz = dir.path().join("data.npz");
    std::fs::write(&npz, "hello").unwrap();
    check(&["--data", text(&npz)], 78, &["data.npz", "it is no ZIP archive"]);
    std::fs::write(&path, RECIPE.replace("epochs = 3", "epochs = 0\nepoch = 3")).unwrap();
    check(
        &["--recipe", text(&path), "--drawn", "9"],
        78,
        &[
            "2 problems",
            "line 4: `epochs` is 0",
            "line 5: `epoch` is not a known key; did you mean `epochs`?",
        ],
    );
}

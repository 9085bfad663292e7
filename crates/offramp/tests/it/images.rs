//! Images, sub-models and what is to be expected of them.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use model::SubModel;
use model::dataset::{Dataset, drawn};
use model::evaluate::{Stage, evaluate};
use pipeline::ExitSettings;
use wire::{Header, Record};

/// The folder with MNIST and the paper's models, if it stands beside the project.
pub(crate) fn shared_data() -> Option<PathBuf> {
    let dir = root().parent()?.join("shared").join("data");
    let found = dir.is_dir().then_some(dir);
    match &found {
        Some(dir) => eprintln!("data: {}", dir.display()),
        None => eprintln!("data: generated; ../shared/data is not there"),
    }
    found
}

/// The root of the project.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// The demo's sub-models, in the order of the tiers.
pub(crate) fn demo_models() -> [PathBuf; 3] {
    ["edge", "fog", "cloud"].map(|tier| root().join(format!("models/mnist-conv/{tier}.onnx")))
}

/// Drawn digits.
pub(crate) fn digits(count: usize) -> Dataset {
    drawn::draw(count, 11)
}

/// How many of `dataset` leave at each tier, computed without any broker or function.
pub(crate) fn expected_counts(
    models: &[PathBuf],
    thresholds: &[f64],
    dataset: &Dataset,
) -> Vec<u64> {
    let mut stages: Vec<Stage> =
        models.iter().map(|path| Stage::new(SubModel::load(path).unwrap())).collect();
    for (stage, &threshold) in stages.iter_mut().zip(thresholds) {
        let settings = ExitSettings::threshold(threshold);
        stage.exit = Some(function::tier::exit_of(&stage.sub_model, &settings).unwrap().1);
    }
    let evaluation = evaluate(&stages, dataset, |_| ()).unwrap();
    evaluation.tiers.iter().map(|tier| tier.answered as u64).collect()
}

/// The JSON that a device sends for image `at`.
pub(crate) fn json(dataset: &Dataset, at: usize) -> String {
    let rows = dataset.sample(at).chunks(dataset.shape[1]).map(|row| format!("{row:?}"));
    format!("[[{}]]", rows.collect::<Vec<_>>().join(", "))
}

/// A record for image `at`, with what must survive every hop.
pub(crate) fn record(dataset: &Dataset, at: usize, id: &str) -> Record {
    Record {
        key: Some(Bytes::from(format!("key-{id}-\u{fc}").into_bytes())),
        headers: vec![
            Header::new("X-INFERENCE-TS", format!("1681899936.{at:06}")),
            Header::new("offramp-id", id.to_owned()),
            Header::new("twice", "first"),
            Header::new("twice", &b"\xff\x00binary"[..]),
            Header { name: "null".into(), value: None },
        ],
        timestamp_ms: Some(1_681_899_936_418 + at as i64),
        value: Some(Bytes::from(json(dataset, at))),
    }
}

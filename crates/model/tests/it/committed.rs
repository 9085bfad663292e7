//! The sub-models that are part of the project do what its documentation says of them.

use std::path::Path;

use model::dataset::{Dataset, drawn, idx};
use model::evaluate::{Evaluation, Stage, evaluate};
use model::{ExitCriterion, SubModel};
use wire::Encoding;

/// A seed that no training used.
const UNSEEN: u64 = 987_654_321;

pub(crate) fn stages(name: &str) -> Vec<Stage> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models").join(name);
    ["edge", "fog", "cloud"]
        .iter()
        .map(|tier| {
            Stage::new(SubModel::load(&directory.join(tier).with_extension("onnx")).unwrap())
        })
        .collect()
}

/// The least accuracies and the largest shares that leave the edge and the fog.
struct Promise {
    accuracy: f64,
    last_exit: f64,
    leaving_edge: f64,
    leaving_fog: f64,
}

const DENSE: Promise =
    Promise { accuracy: 0.969, last_exit: 0.969, leaving_edge: 0.06, leaving_fog: 0.06 };
const CONV: Promise =
    Promise { accuracy: 0.988, last_exit: 0.992, leaving_edge: 0.055, leaving_fog: 0.02 };

fn check(name: &str, dataset: &Dataset, promise: &Promise) {
    let evaluation: Evaluation = evaluate(&stages(name), dataset, |_| ()).unwrap();
    let [edge, fog, cloud] = &evaluation.tiers[..] else { panic!("{evaluation:?}") };
    let left = [edge.answered, edge.answered + fog.answered].map(|n| 1.0 - evaluation.share(n));
    assert!(evaluation.accuracy() >= promise.accuracy, "{evaluation:?}");
    assert!(evaluation.share(cloud.exit_correct) >= promise.last_exit, "{evaluation:?}");
    assert!(left[0] <= promise.leaving_edge && left[1] <= promise.leaving_fog, "{evaluation:?}");
}

#[test]
fn the_demos_recognise_digits_that_the_program_draws() {
    let promise = Promise { accuracy: 0.99, ..CONV };
    check("mnist-conv", &drawn::draw(3000, UNSEEN), &promise);
}

#[test]
fn they_recognise_mnist() {
    let Some(mnist) = super::shared_data("mnist") else { return };
    let images = idx::read(&mnist, idx::Split::Test).unwrap();
    check("mnist-dense", &images, &DENSE);
    check("mnist-conv", &images, &CONV);
}

#[test]
fn features_lose_nothing_as_bytes() {
    let images = drawn::draw(1000, UNSEEN);
    let stages = stages("mnist-conv");
    let mut right = [0; 2];
    let mut rows = [images.values(0..images.len()), images.values(0..images.len())];
    for stage in &stages {
        let mut engine = stage.sub_model.engine().unwrap();
        for (at, values) in rows.iter_mut().enumerate() {
            let output = engine.run(values).unwrap();
            let Some(features) = output.features else {
                let classes = output.exit.chunks(10).zip(&images.labels);
                right[at] = classes.filter(|(row, label)| largest(row) == **label).count();
                continue;
            };
            let shape = stage.sub_model.features_shape().unwrap();
            let bytes = Encoding::Int8.encode(features.chunks(shape[0]));
            assert_eq!(bytes.len(), images.len() * (4 + shape[0]));
            // The second cascade gets what is left of them.
            *values =
                if at == 0 { features } else { Encoding::Int8.decode(&bytes, shape).unwrap().0 };
        }
    }
    let [whole, bytes] = right;
    assert!(whole >= 990 && bytes + 2 >= whole, "{whole} right, {bytes} with bytes");
}

fn largest(row: &[f32]) -> u8 {
    let largest = (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]));
    largest.unwrap() as u8
}

#[test]
fn they_fit_each_other_and_the_devices() {
    for name in ["mnist-dense", "mnist-conv"] {
        let stages = stages(name);
        assert!(stages[0].sub_model.accepts(&[28, 28]));
        for pair in stages.windows(2) {
            assert!(pair[1].sub_model.accepts(pair[0].sub_model.features_shape().unwrap()));
            assert_eq!(pair[0].exit.as_ref().unwrap().criterion, ExitCriterion::MaxSoftmax);
        }
        let bytes: usize = stages.iter().map(|stage| stage.sub_model.bytes()).sum();
        assert!(bytes < 2_000_000, "{name}: {bytes}");
    }
}

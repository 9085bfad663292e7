//! The sub-models that are part of the project do what its documentation says of them.

use std::path::Path;

use model::dataset::{Dataset, drawn, idx};
use model::evaluate::{Evaluation, Stage, evaluate};
use model::{ExitCriterion, SubModel};

/// A seed that no training used.
const UNSEEN: u64 = 987_654_321;

pub(crate) fn stages() -> Vec<Stage> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/mnist-wide");
    ["edge", "fog", "cloud"]
        .iter()
        .map(|tier| {
            Stage::new(SubModel::load(&directory.join(tier).with_extension("onnx")).unwrap())
        })
        .collect()
}

fn check(dataset: &Dataset, accuracy: f64, answered_at_the_edge: f64) {
    let evaluation: Evaluation = evaluate(&stages(), dataset, |_| ()).unwrap();
    assert!(evaluation.accuracy() >= accuracy, "{evaluation:?}");
    let share = evaluation.share(evaluation.tiers[0].answered);
    assert!(share >= answered_at_the_edge, "{evaluation:?}");
}

#[test]
fn they_recognise_digits_that_the_program_draws() {
    check(&drawn::draw(5000, UNSEEN), 0.98, 0.9);
}

#[test]
fn they_recognise_mnist() {
    let Some(mnist) = super::shared_data("mnist") else { return };
    check(&idx::read(&mnist, idx::Split::Test).unwrap(), 0.98, 0.9);
}

#[test]
fn they_fit_each_other_and_the_devices() {
    let stages = stages();
    assert!(stages[0].sub_model.accepts(&[28, 28]));
    for pair in stages.windows(2) {
        assert!(pair[1].sub_model.accepts(pair[0].sub_model.features_shape().unwrap()));
        let exit = pair[0].exit.clone().unwrap();
        assert_eq!((exit.criterion, exit.threshold), (ExitCriterion::MaxSoftmax, 0.8));
    }
    let bytes: usize = stages.iter().map(|stage| stage.sub_model.bytes()).sum();
    assert!(bytes < 2_000_000, "{bytes}");
}

//! Cascades are measured as they run: per sample, and never across a gap between tiers.

use model::dataset::Dataset;
use model::evaluate::{Stage, evaluate};
use model::{Artefact, Dense, Exit, ExitCriterion, Metadata, SubModel, TierLayers};

/// A tier that takes two values and whose logits are those values times `gain`.
fn tier(name: &str, gain: f32, forwards: bool) -> SubModel {
    let identity = Dense { kernel: vec![1.0, 0.0, 0.0, 1.0], bias: vec![0.0; 2] };
    let exit = Dense { kernel: vec![gain, 0.0, 0.0, gain], bias: vec![0.0; 2] };
    let metadata = Metadata {
        tier: name.to_owned(),
        input_shape: vec![2],
        exit: forwards.then(|| Exit::new(ExitCriterion::MaxSoftmax, 0.9)),
        ..Metadata::default()
    };
    let tier = TierLayers::of_dense(vec![identity], exit, forwards);
    Artefact::from_layers(&tier, &metadata).unwrap().sub_model().clone()
}

/// Three samples: sure and right, sure and wrong, and unsure, which the last tier gets right.
fn samples() -> Dataset {
    Dataset { shape: vec![2], samples: vec![9, 0, 9, 0, 1, 2], labels: vec![0, 1, 1] }
}

#[test]
fn each_sample_is_answered_once_and_each_exit_is_measured_over_all() {
    let stages = [Stage::new(tier("edge", 1.0, true)), Stage::new(tier("cloud", -1.0, false))];
    let mut reports = Vec::new();
    let evaluation = evaluate(&stages, &samples(), |done| reports.push(done)).unwrap();
    let [edge, cloud] = &evaluation.tiers[..] else { panic!() };
    assert_eq!((edge.answered, edge.answered_correct, edge.exit_correct), (2, 1, 2));
    // The last tier's logits are negated: of all it would get only the second right.
    assert_eq!((cloud.answered, cloud.answered_correct, cloud.exit_correct), (1, 0, 1));
    assert!((evaluation.accuracy() - 1.0 / 3.0).abs() < 1e-12);
    assert_eq!(reports, [3]);
    // Two of class 0 and 1 got the answer 0 at the edge; one of class 1 got it in the cloud.
    assert_eq!((&edge.confusion[..], &cloud.confusion[..]), (&[1, 0, 1, 0][..], &[0, 0, 1, 0][..]));
    assert_eq!(evaluation.confusion(), [1, 0, 2, 0]);
    // One sample was forwarded, as the JSON of its two features.
    assert_eq!((edge.bytes_up, cloud.bytes_up), ("[[1.0,2.0]]".len() as u64, 0));
    assert_eq!(edge.reliability.bins.iter().map(|bin| bin.count).sum::<usize>(), 3);
}

#[test]
fn a_threshold_of_0_answers_everything_at_the_first_tier() {
    let mut first = Stage::new(tier("edge", 1.0, true));
    first.exit = Some(Exit::new(ExitCriterion::MaxSoftmax, 0.0));
    let stages = [first, Stage::new(tier("cloud", 1.0, false))];
    let evaluation = evaluate(&stages, &samples(), |_| ()).unwrap();
    assert_eq!(evaluation.tiers[0].answered, 3);
    assert_eq!(evaluation.tiers[1].answered, 0);
}

#[test]
fn a_gap_between_tiers_is_named() {
    let error = |stages: &[Stage]| evaluate(stages, &samples(), |_| ()).unwrap_err().to_string();
    let (edge, cloud) =
        (Stage::new(tier("edge", 1.0, true)), Stage::new(tier("cloud", 1.0, false)));
    assert_eq!(
        error(&[cloud.clone(), edge.clone()]),
        "sub-model `cloud`: its exit's threshold is missing, expected one at every tier before the \
         last"
    );
    let exit = edge.exit.clone();
    assert_eq!(
        error(&[Stage { exit, ..cloud.clone() }, edge.clone()]),
        "sub-model `cloud`: its output of features is missing, expected one for the next \
         tier"
    );
    let digits = Dataset { shape: vec![28, 28], samples: vec![0; 784], labels: vec![0] };
    assert_eq!(
        evaluate(&[edge, cloud.clone()], &digits, |_| ()).unwrap_err().to_string(),
        "sub-model `edge`: its input's shape is [2], expected [28, 28], as is given"
    );
    let three = Dataset { labels: vec![0, 1, 2], ..samples() };
    assert_eq!(
        evaluate(&[cloud], &three, |_| ()).unwrap_err().to_string(),
        "sub-model `cloud`: its number of classes is 2, expected 3 or more, as the dataset has"
    );
}

#[test]
fn no_samples_give_no_accuracy() {
    let stages = [Stage::new(tier("edge", 1.0, false))];
    let evaluation = evaluate(&stages, &samples().take(0), |_| ()).unwrap();
    assert!(evaluation.accuracy().abs() < f64::EPSILON);
}

#[test]
fn an_engine_takes_whole_samples_in_any_number() {
    let mut engine = tier("edge", 1.0, true).engine().unwrap();
    assert_eq!(engine.run(&[]).unwrap().samples, 0);
    let output = engine.run(&[1.0; 2 * 137]).unwrap();
    assert_eq!((output.samples, output.exit.len()), (137, 274));
    assert_eq!(output.features_row(136), Some(&[1.0, 1.0][..]));
    assert_eq!(
        engine.run(&[1.0; 3]).unwrap_err().to_string(),
        "sub-model `edge`: 3 values are not a whole number of samples of 2"
    );
}

//! Calibration as its callers see it: goals, files, and what both do together.

use std::time::Duration;

use model::calibrate::{
    Calibration, CalibrationError, Costs, Goal, Objective, Recording, Settings, calibrate,
    service_times,
};
use model::dataset::drawn;
use model::evaluate::{Stage, evaluate};
use model::{Artefact, ExitCriterion};

/// Digits that no training saw.
fn recording(samples: usize) -> (Vec<Stage>, model::dataset::Dataset, Recording) {
    let stages = super::committed::stages("mnist-conv");
    let dataset = drawn::draw(samples, 4711);
    let recording = Recording::new(&stages, &dataset, &[], |_| ()).unwrap();
    (stages, dataset, recording)
}

fn settings(goal: Goal) -> Settings {
    Settings {
        goal,
        criterion: ExitCriterion::MaxSoftmax,
        temperatures: vec![None; 3],
        per_class: false,
        objective: Objective::Hops,
        costs: Costs {
            service: vec![Duration::from_millis(1); 3],
            hop: vec![Duration::from_millis(10), Duration::from_millis(50)],
            bandwidth: vec![f64::INFINITY; 2],
            features_bytes: vec![64.0, 128.0],
        },
        seed: 1,
    }
}

/// The cascade with what was found.
fn applied(stages: &[Stage], calibration: &Calibration) -> Vec<Stage> {
    let tiers = stages.iter().zip(&calibration.tiers);
    tiers
        .map(|(stage, tier)| Stage {
            sub_model: stage.sub_model.with_temperature(tier.temperature),
            exit: tier.exit.clone(),
            features: stage.features,
        })
        .collect()
}

#[test]
fn an_evaluation_finds_what_the_calibration_says() {
    let (stages, dataset, recording) = recording(3000);
    for criterion in ExitCriterion::ALL {
        for (per_class, goal) in [
            (false, Goal::Offload { most: vec![0.05] }),
            (false, Goal::Offload { most: vec![0.05, 0.01] }),
            (true, Goal::Offload { most: vec![0.03] }),
            (false, Goal::AccuracyLoss { most: 0.01, confidence: 0.9 }),
            (false, Goal::Latency { most: Duration::from_millis(2) }),
        ] {
            let settings = Settings { criterion, per_class, ..settings(goal) };
            let calibration = calibrate(&recording, &settings).unwrap();
            let found = evaluate(&applied(&stages, &calibration), &dataset, |_| ()).unwrap();
            let chosen = &calibration.chosen;
            assert!((found.accuracy() - chosen.accuracy).abs() < 1e-9, "{settings:?}");
            for (tier, share) in found.tiers.iter().zip(chosen.answered()) {
                assert!((found.share(tier.answered) - share).abs() < 1e-9, "{settings:?}");
            }
            match &settings.goal {
                Goal::Offload { most } => {
                    assert!(most.iter().zip(&chosen.reach[1..]).all(|(most, share)| share <= most));
                }
                Goal::Latency { most } => assert!(chosen.time <= *most),
                Goal::AccuracyLoss { .. } => {
                    let promise = calibration.promise.unwrap();
                    assert!(promise.harmed <= promise.most_harmed);
                    assert_eq!(promise.tested, 2000);
                }
            }
        }
    }
}

#[test]
fn what_is_written_is_what_is_read_and_nothing_else_changes() {
    let (stages, _, recording) = recording(600);
    let goal = Goal::Offload { most: vec![0.05] };
    let settings = Settings { per_class: true, ..settings(goal) };
    let calibration = calibrate(&recording, &settings).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("edge.onnx");
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/mnist-conv/edge.onnx");
    let before = Artefact::load(root.as_ref()).unwrap();
    let mut metadata = before.sub_model().metadata().clone();
    metadata.temperature = calibration.tiers[0].temperature;
    metadata.exit.clone_from(&calibration.tiers[0].exit);
    metadata.histogram.clone_from(&calibration.tiers[0].histogram);
    metadata.calibration.insert("goal".to_owned(), "a test".to_owned());
    before.with_calibration(&metadata).unwrap().write(&path).unwrap();
    let after = Artefact::load(&path).unwrap();
    assert_eq!(*after.sub_model().metadata(), metadata);
    assert_eq!(metadata.exit.as_ref().unwrap().class_thresholds.len(), 10);
    assert_eq!(metadata.histogram.unwrap().count.iter().sum::<u32>(), 600);
    // With what it had before it is what it was, but for the order of its entries.
    let again = after.with_calibration(stages[0].sub_model.metadata()).unwrap();
    assert_eq!(again.sub_model().metadata(), stages[0].sub_model.metadata());
    let sorted = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes.sort_unstable();
        bytes
    };
    assert_eq!(sorted(again.bytes()), sorted(before.bytes()));
}

#[test]
fn goals_out_of_reach_are_explained() {
    let (_, _, recording) = recording(300);
    let error = |goal: Goal| calibrate(&recording, &settings(goal)).unwrap_err().to_string();
    assert_eq!(
        error(Goal::AccuracyLoss { most: 0.01, confidence: 0.95 }),
        "an accuracy loss of at most 0.01 with confidence 0.95 needs 299 or more samples to test on, but of 300 only \
         200 do that: give more samples, or ask for less"
    );
    assert_eq!(
        error(Goal::Latency { most: Duration::from_micros(10) }),
        "an answer takes 1ms at least, in the mean, expected at most 10µs"
    );
    let mut one = recording.clone();
    one.exits.truncate(1);
    let goal = Goal::Offload { most: vec![0.1] };
    assert_eq!(calibrate(&one, &settings(goal.clone())), Err(CalibrationError::Tiers { found: 1 }));
    let mut none = recording;
    none.labels.clear();
    assert_eq!(calibrate(&none, &settings(goal)), Err(CalibrationError::NoSamples));
}

#[test]
fn every_tier_is_timed() {
    let (stages, dataset, _) = recording(10);
    let times = service_times(&stages, &dataset).unwrap();
    assert!(times.len() == 3 && times.iter().all(|time| !time.is_zero()));
}

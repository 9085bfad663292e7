//! The paper's published weights, imported, give the numbers that its authors' stack gives.
//!
//! The reference is a float32 forward pass of the same `.h5` files on raw pixels, and the exit
//! counts of the runs that were published with the paper.

use std::path::Path;

use model::dataset::{Dataset, idx};
use model::keras::{ImportOptions, import_h5};
use model::{Decision, Exit, ExitCriterion, Output, SubModel, decide};
use serde_json::Value as Json;

struct Paper {
    golden: Json,
    images: Dataset,
    tiers: [SubModel; 3],
}

fn paper() -> Option<Paper> {
    let (paper, mnist) = (super::shared_data("paper")?, super::shared_data("mnist")?);
    let golden = std::fs::read(paper.join("golden-three-tier.json")).unwrap();
    Some(Paper {
        golden: serde_json::from_slice(&golden).unwrap(),
        images: idx::read(&mnist, idx::Split::Test).unwrap(),
        tiers: ["edge", "fog", "cloud"].map(|tier| import(&paper.join("models"), tier)),
    })
}

fn import(models: &Path, tier: &str) -> SubModel {
    let options = ImportOptions { tier: tier.to_owned(), ..ImportOptions::default() };
    let artefact = import_h5(&models.join(tier).with_extension("h5"), &options).unwrap();
    artefact.sub_model().clone()
}

/// Runs all tiers on all samples, whether or not they would have left.
fn outputs(tiers: &[SubModel], images: &Dataset) -> Vec<Output> {
    let mut input = images.values(0..images.len());
    tiers
        .iter()
        .map(|tier| {
            let output = tier.engine().unwrap().run(&input).unwrap();
            input = output.features.clone().unwrap_or_default();
            output
        })
        .collect()
}

fn max(row: &[f32]) -> f32 {
    row.iter().copied().fold(0.0, f32::max)
}

fn label(output: &Output, index: usize) -> usize {
    match decide(output.exit_row(index), None) {
        Decision::Exit(prediction) => prediction.label,
        Decision::Forward => unreachable!("a last tier always answers"),
    }
}

#[test]
fn the_papers_models_give_the_papers_outputs() {
    let Some(Paper { golden, images, tiers }) = paper() else { return };
    let outputs = outputs(&tiers, &images.take(100));
    for (tier, output) in ["edge", "fog", "cloud"].iter().zip(&outputs) {
        let rows = golden["full_vectors_first3"][format!("ddnn_{tier}_softmax")].as_array();
        for (index, row) in rows.unwrap().iter().enumerate() {
            for (expected, found) in row.as_array().unwrap().iter().zip(output.exit_row(index)) {
                let expected = expected.as_f64().unwrap();
                assert!((expected - f64::from(*found)).abs() < 1e-5, "{tier} {index}");
            }
        }
        for (index, expected) in golden["three_tier"].as_array().unwrap().iter().enumerate() {
            let confidence = expected[format!("{tier}_max")].as_f64().unwrap();
            let found = f64::from(max(output.exit_row(index)));
            assert!((confidence - found).abs() < 1e-5, "{tier} {index}: {confidence} {found}");
            let class = expected[format!("{tier}_arg")].as_u64().unwrap() as usize;
            assert_eq!(label(output, index), class, "{tier} {index}");
        }
    }
}

#[test]
fn the_papers_models_have_the_papers_accuracy() {
    let Some(Paper { golden, images, tiers }) = paper() else { return };
    for (tier, output) in ["edge", "fog", "cloud"].iter().zip(outputs(&tiers, &images)) {
        let right = (0..images.len())
            .filter(|&index| label(&output, index) == usize::from(images.labels[index]))
            .count();
        let accuracy = golden["test_set_10000"]["accuracy"][tier].as_f64().unwrap();
        assert_eq!(right, (accuracy * 10_000.0).round() as usize, "{tier}");
    }
}

#[test]
fn samples_leave_where_they_left_in_the_published_runs() {
    let Some(Paper { golden, images, tiers }) = paper() else { return };
    let outputs = outputs(&tiers, &images.take(100));
    let published = golden["published_runs_exit_counts"].as_object().unwrap();
    for (thresholds, run) in [([0.65, 0.5], "three-tier-openfaas"), ([0.5, 0.5], "fission")] {
        let mut counts = [0u64; 3];
        for index in 0..100 {
            let exits = |tier: usize| {
                let exit = thresholds
                    .get(tier)
                    .map(|&threshold| Exit::new(ExitCriterion::MaxSoftmax, threshold));
                matches!(decide(outputs[tier].exit_row(index), exit.as_ref()), Decision::Exit(_))
            };
            // Each image was sent four times.
            counts[(0..3).find(|&tier| exits(tier)).unwrap()] += 4;
        }
        let (name, expected) = published.iter().find(|(name, _)| name.contains(run)).unwrap();
        for (tier, count) in ["edge", "fog", "cloud"].iter().zip(counts) {
            assert_eq!(expected[tier].as_u64(), Some(count), "{name}: {tier}");
        }
    }
}

#[test]
fn neither_the_batch_nor_the_neighbours_change_a_sample() {
    let Some(Paper { images, tiers, .. }) = paper() else { return };
    let images = images.take(200);
    let together = outputs(&tiers, &images);
    for size in [1, 3, 7, 50, 129] {
        let mut worst: f32 = 0.0;
        for start in (0..images.len()).step_by(size) {
            let end = images.len().min(start + size);
            let alone = tiers[0].engine().unwrap().run(&images.values(start..end)).unwrap();
            for index in start..end {
                let rows = together[0].exit_row(index).iter().zip(alone.exit_row(index - start));
                worst = rows.fold(worst, |worst, (a, b)| worst.max((a - b).abs()));
            }
        }
        assert!(worst <= 1e-6, "in batches of {size}: {worst}");
    }
}

#[test]
fn what_a_sub_model_is_can_be_seen() {
    let Some(Paper { tiers, .. }) = paper() else { return };
    let [edge, _, cloud] = &tiers;
    assert_eq!(edge.input_shape(), [28, 28, 1]);
    assert!(edge.accepts(&[28, 28]) && !edge.accepts(&[784]));
    assert_eq!(edge.features_shape(), Some(&[32][..]));
    assert_eq!(cloud.features_shape(), None);
    assert_eq!(edge.classes(), 10);
    assert_eq!(edge.parameters(), 784 * 32 + 32 + 32 * 10 + 10);
    assert_eq!(edge.metadata().tier, "edge");
    let names: Vec<_> = edge.outputs().into_iter().map(|output| output.name).collect();
    assert_eq!(names, ["features", "exit"]);
    assert_eq!(edge.operators()["Softmax"], 1);
    assert_eq!(edge.version().len(), 16);
    assert_ne!(edge.version(), cloud.version());
}

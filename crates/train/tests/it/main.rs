//! Training, on digits that the program draws: small runs, the same everywhere.

#![cfg(test)]

mod problems;

use model::dataset::drawn;
use model::evaluate::{Stage, evaluate};
use train::{Continue, Progress, Recipe, Samples, TrainError, Trained, Training};

/// Small convolutions, dropout and random changes: all that a seed has to fix.
const SMALL: &str = r#"
name = "small"
labels = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
epochs = 4
batch_size = 64
learning_rate = 0.01
warm_up_epochs = 1
validation = 0.25
patience = 3
seed = 1
[input]
shape = [28, 28]
scale = 0.003921568627
[augment]
shift_pixels = 1
rotate_degrees = 5
scale = 0.05
[distill]
weight = 0.2
[[tier]]
name = "gateway"
threshold = 0.7
layers = [
    { kind = "conv", channels = 6, kernel = 5, stride = 3, padding = 2 },
    { kind = "exit" },
    { kind = "bottleneck", width = 2 },
]
[[tier]]
name = "server"
layers = [{ kind = "dense", width = 24 }, { kind = "dropout", rate = 0.1 }, { kind = "exit" }]
"#;

pub(crate) fn small() -> Recipe {
    recipe(SMALL)
}

pub(crate) fn recipe(text: &str) -> Recipe {
    Recipe::parse(text).unwrap_or_else(|invalid| panic!("{invalid}"))
}

/// Samples to learn from, and those that are held out.
pub(crate) fn digits(recipe: &Recipe, count: usize) -> (Samples, Samples) {
    let mut samples = Samples::from(drawn::draw(count, 1));
    let held_out = samples.split_off_last(recipe.held_out(count));
    (samples, held_out)
}

/// Goes through all epochs that are left.
fn complete(mut training: Training<'_>) -> Result<(Trained, Vec<Progress>), TrainError> {
    let mut epochs = Vec::new();
    while !training.is_done() {
        epochs.extend(training.epoch(|_| Continue::Yes)?);
    }
    Ok((training.finish()?, epochs))
}

fn run(recipe: &Recipe, count: usize) -> Vec<Vec<u8>> {
    let (samples, held_out) = digits(recipe, count);
    bytes(&complete(Training::new(recipe, &samples, &held_out).unwrap()).unwrap().0)
}

fn bytes(trained: &Trained) -> Vec<Vec<u8>> {
    trained.tiers().iter().map(|(_, artefact)| artefact.bytes().to_vec()).collect()
}

#[test]
fn the_same_seed_gives_the_same_files() {
    let (one, same) = (run(&small(), 400), run(&small(), 400));
    let other = run(&small().with_seed(2), 400);
    assert_eq!(one, same);
    for (one, other) in one.iter().zip(&other) {
        assert_ne!(one, other);
    }
}

#[test]
fn an_interrupted_run_ends_in_the_same_files() {
    let (recipe, directory) = (small(), tempfile::tempdir().unwrap());
    let path = directory.path().join("checkpoint");
    let (samples, held_out) = digits(&recipe, 400);
    let mut first = Training::new(&recipe, &samples, &held_out).unwrap();
    for _ in 0..2 {
        first.epoch(|_| Continue::Yes).unwrap().unwrap();
        first.write_checkpoint(&path).unwrap();
    }
    // The third is interrupted in its middle, and all of it is lost.
    let stopped = first.epoch(|now| if now.done < 0.5 { Continue::Yes } else { Continue::No });
    assert_eq!(stopped.unwrap(), None);

    let second = Training::resume(&recipe, &samples, &held_out, &path).unwrap();
    assert_eq!(second.epochs(), 2);
    assert_eq!(bytes(&complete(second).unwrap().0), run(&recipe, 400));

    let other = recipe.clone().with_seed(2);
    let error = Training::resume(&other, &samples, &held_out, &path).unwrap_err().to_string();
    assert!(
        error.ends_with("it is of another recipe, seed or data; train without --resume"),
        "{error}"
    );
    let error =
        Training::resume(&recipe, &samples, &held_out, directory.path().join("none").as_path());
    assert!(matches!(error, Err(TrainError::Read { .. })), "{error:?}");
}

#[test]
fn a_short_run_learns_digits_it_has_not_seen() {
    let recipe = small();
    let (samples, held_out) = digits(&recipe, 4000);
    let (trained, epochs) = complete(Training::new(&recipe, &samples, &held_out).unwrap()).unwrap();
    let accuracy = &epochs.last().unwrap().exit_accuracy;
    let unseen = drawn::draw(1000, 99);
    let stages: Vec<Stage> = trained
        .tiers()
        .iter()
        .map(|(_, artefact)| Stage::new(artefact.sub_model().clone()))
        .collect();
    let evaluation = evaluate(&stages, &unseen, |_| ()).unwrap();
    assert!(evaluation.accuracy() > 0.9, "{evaluation:?}");
    for (tier, accuracy) in evaluation.tiers.iter().zip(accuracy) {
        assert!((evaluation.share(tier.exit_correct) - accuracy).abs() < 0.05, "{tier:?}");
    }
    // What the trainer measured is what the files do.
    let Samples::Bytes(held_out) = held_out else { panic!("drawn digits are bytes") };
    let evaluation = evaluate(&stages, &held_out, |_| ()).unwrap();
    let best = epochs.iter().max_by(|a, b| {
        let score = |epoch: &Progress| epoch.exit_accuracy.iter().sum::<f64>();
        score(a).total_cmp(&score(b))
    });
    for (tier, accuracy) in evaluation.tiers.iter().zip(&best.unwrap().exit_accuracy) {
        assert!((evaluation.share(tier.exit_correct) - accuracy).abs() < 0.002, "{tier:?}");
    }
}

#[test]
fn training_stops_early_and_keeps_the_best() {
    // Nothing is learnt, so nothing improves on the first epoch.
    let text = SMALL.replace("learning_rate = 0.01", "learning_rate = 0.0");
    let recipe = recipe(&text.replace("epochs = 4", "epochs = 50"));
    let (samples, held_out) = digits(&recipe, 200);
    let (trained, epochs) = complete(Training::new(&recipe, &samples, &held_out).unwrap()).unwrap();
    assert_eq!(epochs.len(), 1 + 3);
    let training = &trained.tiers()[0].1.sub_model().metadata().training;
    assert_eq!(training["epochs_done"], "4");
}

#[test]
fn the_files_carry_all_that_a_tier_needs() {
    let directory = tempfile::tempdir().unwrap();
    let recipe = small();
    let (samples, held_out) = digits(&recipe, 200);
    let (trained, _) = complete(Training::new(&recipe, &samples, &held_out).unwrap()).unwrap();
    let paths = trained.write(directory.path()).unwrap();
    let [gateway, server] = &paths[..] else { panic!("{paths:?}") };
    assert!(gateway.ends_with("gateway.onnx") && server.ends_with("server.onnx"));

    let gateway = model::SubModel::load(gateway).unwrap();
    assert_eq!(gateway.input_shape(), [28, 28]);
    assert_eq!(gateway.features_shape(), Some(&[200][..]));
    let metadata = gateway.metadata();
    assert_eq!(metadata.labels.len(), 10);
    assert_eq!(metadata.exit.as_ref().map(|exit| exit.threshold), Some(0.7));
    assert!((metadata.input_scale - 1.0 / 255.0).abs() < 1e-9);
    assert_eq!(metadata.training["samples"], "150");
    assert_eq!(metadata.training["held_out"], "50");
    assert_eq!(
        metadata.training["layers"],
        "gateway: conv 5x5/3+2 6, exit, bottleneck 2; server: dense 24, dropout 0.1, exit"
    );

    let server = model::SubModel::load(server).unwrap();
    assert_eq!(server.input_shape(), [200]);
    assert_eq!(server.features_shape(), None);
    assert_eq!(server.metadata().exit, None);
}

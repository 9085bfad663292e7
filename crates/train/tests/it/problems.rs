//! What cannot be trained is named.

use model::dataset::{Dataset, drawn};
use train::{Continue, Recipe, Samples, TrainError, Training};

use crate::{digits, recipe, small};

const GOOD: &str = r#"
name = "good"
labels = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
epochs = 3
learning_rate = 0.01
validation = 0
input = { shape = [28, 28] }
[[tier]]
name = "edge"
layers = [{ kind = "dense", width = 8 }, { kind = "exit" }]
[[tier]]
name = "cloud"
layers = [{ kind = "exit" }]
"#;

fn problems(text: &str) -> Vec<String> {
    let invalid = Recipe::parse(text).unwrap_err();
    invalid.problems.iter().map(|problem| format!("{}: {}", problem.line, problem.text)).collect()
}

#[track_caller]
fn check(from: &str, to: &str, expected: &[&str]) {
    assert!(GOOD.contains(from), "{from}");
    assert_eq!(problems(&GOOD.replace(from, to)), expected);
}

#[test]
fn all_problems_of_a_recipe_are_reported_together() {
    let text = r#"
name = "two words"
labels = ["a", "a"]
epochs = 0
learning_rat = 0.1
validation = 2
patience = 1.5
[augment]
shift = 1
[distill]
temperature = 0
[[tier]]
name = "edge"
threshold = 80
layers = [
    { kind = "convolution", channels = 8 },
    { kind = "dense" },
    { kind = "conv", channels = 8, kernel = 3, padding = 3 },
]
"#;
    assert_eq!(
        problems(text),
        [
            "1: `input` is missing, expected a table as { shape = [28, 28] }",
            "2: `name` is \"two words\", expected a name of letters, digits, `-` and `_`, at most 100 long",
            "3: `labels` has \"a\" twice, expected each name once",
            "4: `epochs` is 0, expected a whole number from 1 to 100000",
            "5: `learning_rat` is not a known key; did you mean `learning_rate`?",
            "6: `validation` is 2, expected a number from 0 to 0.9",
            "7: `patience` is 1.5, expected a whole number from 1 to 100000",
            "8: `augment` is set, but samples are no images: remove it",
            "9: [augment]: `shift` is not a known key; known keys: shift_pixels, rotate_degrees, scale",
            "10: [distill]: `weight` is missing, expected a number from 0 to 1",
            "11: [distill]: `temperature` is 0, expected a number from 0.1 to 100",
            "14: tier `edge`: `threshold` is set, but the last tier always answers: remove it",
            "16: tier `edge`, layers 1: `channels` is not a known key; known keys: kind",
            "16: tier `edge`, layers 1: `kind` is \"convolution\", expected \"dense\", \"conv\", \"max-pool\", \
             \"average-pool\", \"bottleneck\", \"dropout\" or \"exit\"",
            "17: tier `edge`, layers 2: `width` is missing, expected a whole number from 1 to 65536",
            "18: tier `edge`, layers 3: `padding` is 3, expected less than `kernel`, 3",
        ]
    );
}

#[test]
fn layers_that_do_not_fit_are_named() {
    let dense = "{ kind = \"dense\", width = 8 }";
    check(
        dense,
        "{ kind = \"conv\", channels = 4, kernel = 31, padding = 1 }",
        &[
            "10: tier `edge`, layers 1: `kernel` is 31, expected at most 30: what it slides over is 28×28 with a \
           padding of 1",
        ],
    );
    check(
        dense,
        "{ kind = \"dense\", width = 8 }, { kind = \"max-pool\", kernel = 2 }",
        &["10: tier `edge`, layers 2: `kind` slides over images, but follows a vector of 8"],
    );
    check(
        dense,
        "{ kind = \"dense\", width = 65000 }",
        &[
            "10: tier `edge`, layers 1: `width` makes a vector of 65000 of an image of 28×28×1, expected at most \
           16777216 values and weights",
        ],
    );
    check(
        "[{ kind = \"exit\" }]",
        "[{ kind = \"exit\" }, { kind = \"exit\" }, { kind = \"bottleneck\", width = 2 }]",
        &[
            "13: tier `cloud`, layers 2: `kind` is \"exit\" once more, expected one a tier",
            "13: tier `cloud`, layers 3: `kind` is after the exit, which ends the last tier: remove it",
        ],
    );
    check(
        "[{ kind = \"exit\" }]",
        "[]",
        &["13: tier `cloud`: `layers` has no exit, expected { kind = \"exit\" }"],
    );
    check(
        "name = \"cloud\"",
        "name = \"edge\"",
        &["12: tier 2: `name` is the name of another tier too, expected one of its own"],
    );
    check(
        "epochs = 3",
        "epochs = 3\nwarm_up_epochs = 3",
        &["5: `warm_up_epochs` is 3, expected less than `epochs`, 3"],
    );
    check(
        "epochs = 3",
        "epochs = ",
        &["4: not TOML: string values must be quoted, expected literal string"],
    );
}

#[test]
fn data_that_do_not_fit_are_named() {
    let recipe = recipe(GOOD);
    let none = Samples::from(drawn::draw(0, 1));
    let error = |samples: &Samples, validation: &Samples| {
        Training::new(&recipe, samples, validation).unwrap_err().to_string()
    };
    let good = drawn::draw(20, 1);
    assert_eq!(
        error(&none, &none),
        "the training data: there is none, expected samples to learn from"
    );
    let small = Dataset { shape: vec![4, 4], samples: vec![0; 32], labels: vec![0, 1] };
    assert_eq!(
        error(&good.clone().into(), &small.clone().into()),
        "the validation data: samples are [4, 4], expected [28, 28], the recipe's `input.shape`"
    );
    let eleventh = Dataset { labels: vec![10; 20], ..good.clone() };
    assert_eq!(
        error(&eleventh.into(), &none),
        "the training data: sample 0 has label 10, expected less than 10, the number of the recipe's `labels`"
    );
    let short = Dataset { shape: vec![28, 28], ..small };
    assert_eq!(
        error(&short.into(), &none),
        "the training data: its values are not 2 samples of [28, 28], one for each label"
    );
    let mut samples = vec![0.0; 784 * 2];
    samples[800] = f32::NAN;
    let numbers = Dataset { shape: vec![28, 28, 1], samples, labels: vec![0, 1] };
    assert_eq!(
        error(&Samples::Numbers(numbers), &none),
        "the training data: sample 1 holds NaN, expected finite numbers"
    );
}

#[test]
fn early_stopping_needs_something_to_look_at() {
    let recipe = small();
    let (samples, none) = (Samples::from(drawn::draw(20, 1)), Samples::from(drawn::draw(0, 1)));
    let error = Training::new(&recipe, &samples, &none).unwrap_err().to_string();
    assert_eq!(error, "the validation data: there is none, but the recipe has `patience`");
}

#[test]
fn a_diverging_run_says_so() {
    let recipe = recipe(
        &GOOD
            .replace("learning_rate = 0.01", "learning_rate = 1e6")
            .replace("epochs = 3", "epochs = 30")
            .replace("[28, 28] }", "[28, 28], scale = 1e9 }"),
    );
    let (samples, held_out) = digits(&recipe, 300);
    let mut training = Training::new(&recipe, &samples, &held_out).unwrap();
    let error = loop {
        match training.epoch(|_| Continue::Yes) {
            Ok(_) if training.is_done() => panic!("it converged"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, TrainError::Diverged { .. }), "{error}");
    assert!(error.to_string().ends_with("try a learning rate below 1000000"), "{error}");
}

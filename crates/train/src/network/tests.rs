use model::dataset::Dataset;

use super::part::Part;
use super::*;
use crate::{Recipe, Samples, Training};

/// Every kind of layer, in two tiers, on small images of two channels.
const EVERYTHING: &str = r#"
name = "everything"
labels = ["a", "b", "c"]
epochs = 1
validation = 0
[input]
shape = [7, 6, 2]
[distill]
weight = 0.4
temperature = 2.0
[[tier]]
name = "edge"
exit_weight = 0.7
layers = [
    { kind = "conv", channels = 4, kernel = 3, stride = 1, padding = 1 },
    { kind = "max-pool", kernel = 2, stride = 1, padding = 1 },
    { kind = "conv", channels = 5, kernel = 3, stride = 2, padding = 0 },
    { kind = "exit" },
    { kind = "bottleneck", width = 2 },
]
[[tier]]
name = "fog"
layers = [
    { kind = "conv", channels = 3, kernel = 2, padding = 1 },
    { kind = "average-pool", kernel = 2, stride = 1 },
    { kind = "exit" },
    { kind = "dense", width = 6 },
    { kind = "bottleneck", width = 4 },
]
[[tier]]
name = "cloud"
layers = [{ kind = "dense", width = 5 }, { kind = "exit" }]
"#;

const COUNT: usize = 3;

fn recipe(text: &str) -> Recipe {
    Recipe::parse(text).unwrap_or_else(|invalid| panic!("{invalid}"))
}

fn fill(part: &mut Part, random: &mut Random) {
    part.count = COUNT;
    part.labels = vec![0, 2, 1];
    part.input().fill_with(|| random.normal());
}

/// The loss as the labels and the teacher's probabilities define it, where the teacher's weights stay as they are.
fn loss(
    recipe: &Recipe,
    network: &Network,
    part: &mut Part,
    weights: &[f32],
    teacher: &[f32],
) -> f64 {
    part.forward(network, weights, None);
    let classes = recipe.labels.len();
    let distillation = recipe.distillation.unwrap();
    let mut sum = 0.0;
    for (exit, tier) in recipe.tiers.iter().enumerate() {
        let (probabilities, _) = part.outputs(exit, classes, 0);
        let soft = part.softened(exit, classes, distillation.temperature);
        for sample in 0..COUNT {
            let own = sample * classes..(sample + 1) * classes;
            let label = usize::from(part.labels[sample]);
            let mut loss = -f64::from(probabilities[own.clone()][label]).ln();
            if exit + 1 < recipe.tiers.len() {
                let pairs = teacher[own.clone()].iter().zip(&soft[own.clone()]);
                let divergence: f64 = pairs
                    .map(|(&teacher, &student)| {
                        f64::from(teacher) * (f64::from(teacher).ln() - f64::from(student).ln())
                    })
                    .sum();
                let (weight, temperature) =
                    (f64::from(distillation.weight), f64::from(distillation.temperature));
                loss = (1.0 - weight) * loss + weight * temperature * temperature * divergence;
            }
            sum += f64::from(tier.exit_weight) * loss;
        }
    }
    sum
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let recipe = recipe(EVERYTHING);
    let network = Network::new(&recipe);
    let mut random = Random::new(5);
    let mut weights = network.draw(&mut random);
    // Biases of 0 put too many values right at the rectifier's corner.
    for weight in &mut weights {
        *weight += 0.05 * random.normal();
    }
    let mut part = Part::new(&network);
    fill(&mut part, &mut random);
    part.forward(&network, &weights, None);
    let teacher = part.softened(2, 3, recipe.distillation.unwrap().temperature);
    part.backward(&recipe, &network, &weights);
    let (found, defined) = (part.loss, {
        let mut other = Part::new(&network);
        other.count = COUNT;
        other.labels.clone_from(&part.labels);
        let input = part.input().to_vec();
        other.input().copy_from_slice(&input);
        loss(&recipe, &network, &mut other, &weights, &teacher)
    });
    assert!((found - defined).abs() < 1e-4, "{found} {defined}");

    let gradient = part.weight_gradient.clone();
    let mut far = 0;
    for at in 0..network.weights {
        let step = 1e-3;
        let mut at_step = |step: f32| {
            let mut moved = weights.clone();
            moved[at] += step;
            loss(&recipe, &network, &mut part, &moved, &teacher)
        };
        let difference = (at_step(step) - at_step(-step)) / f64::from(2.0 * step);
        let error = (difference - f64::from(gradient[at])).abs();
        // Where a rectifier or a largest value changes within the step, the difference is no derivative.
        far += usize::from(error > 2e-2 * (1.0 + difference.abs()));
    }
    assert!(far * 50 <= network.weights, "{far} of {} gradients are wrong", network.weights);
}

#[test]
fn sub_models_compute_what_the_trainer_does() {
    let recipe = recipe(EVERYTHING);
    let network = Network::new(&recipe);
    let mut random = Random::new(7);
    let mut part = Part::new(&network);
    fill(&mut part, &mut random);
    let input = part.input()[..COUNT * 84].to_vec();
    let samples = Samples::Numbers(Dataset {
        shape: vec![7, 6, 2],
        samples: input.clone(),
        labels: part.labels.clone(),
    });
    let none = Samples::Numbers(Dataset { shape: vec![7, 6, 2], samples: vec![], labels: vec![] });
    let training = Training::new(&recipe, &samples, &none).unwrap();
    let weights = training.weights().to_vec();
    part.forward(&network, &weights, None);
    let trained = training.finish().unwrap();
    let mut values = input;
    for (at, (name, artefact)) in trained.tiers().iter().enumerate() {
        let output = artefact.sub_model().engine().unwrap().run(&values).unwrap();
        let steps = network.tiers[at].steps.end;
        let (exit, features) = part.outputs(at, 3, steps);
        close(name, &output.exit, &exit);
        let Some(found) = output.features else { break };
        let shape = network.tiers[at + 1].input;
        close(name, &found, &channels_first(shape, features));
        values = found;
    }
}

/// Samples with the channels of a pixel together as the sub-models have them.
fn channels_first(shape: Shape, values: &[f32]) -> Vec<f32> {
    let Shape::Image { rows, columns, channels } = shape else {
        return values[..COUNT * shape.len()].to_vec();
    };
    let mut moved = Vec::new();
    for sample in values.chunks(shape.len()).take(COUNT) {
        for channel in 0..channels {
            moved.extend((0..rows * columns).map(|place| sample[place * channels + channel]));
        }
    }
    moved
}

fn close(tier: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{tier}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5, "{tier}: {found} {expected}");
    }
}

#[test]
fn dropout_keeps_the_mean_and_passes_gradients_where_it_passed_values() {
    let text = r#"
        name = "dropout"
        labels = ["a", "b", "c"]
        epochs = 1
        input = { shape = [4000] }
        tier = [{ name = "edge", layers = [{ kind = "dropout", rate = 0.25 }, { kind = "exit" }] }]
    "#;
    let network = Network::new(&recipe(text));
    let mut part = Part::new(&network);
    part.count = 1;
    part.input().fill(1.0);
    part.forward(&network, &vec![0.0; network.weights], Some(&mut Random::new(3)));
    let (_, dropped) = part.outputs(0, 3, 1);
    let mean = dropped[..4000].iter().sum::<f32>() / 4000.0;
    assert!((mean - 1.0).abs() < 0.03, "{mean}");
    assert!(dropped[..4000].iter().all(|value| *value == 0.0 || (*value - 4.0 / 3.0).abs() < 1e-6));
}

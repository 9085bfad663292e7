//! The network under training: one chain of layers through all tiers, with an exit hanging from it in each tier.
//!
//! All weights are one vector, and so is their gradient: an optimiser, a sum over parts of a batch and a checkpoint
//! need to know nothing of layers.

mod matrix;
pub(crate) mod part;
mod patches;
mod step;
#[cfg(test)]
mod tests;

use model::random::Random;

use crate::Recipe;
use crate::recipe::{Layer, Pooling, Shape};

pub(crate) use patches::Patches;
pub(crate) use step::{Operation, Step};

/// The layers of all tiers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Network {
    /// From the input on; the exits apart.
    pub(crate) chain: Vec<Step>,
    /// One per tier.
    pub(crate) exits: Vec<Exit>,
    /// For each tier, the steps of the chain that are its own.
    pub(crate) tiers: Vec<TierSteps>,
    /// The number of weights in all.
    pub(crate) weights: usize,
}

/// From some values of the chain to the classes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Exit {
    /// How many steps of the chain come before it.
    pub(crate) after: usize,
    pub(crate) step: Step,
}

/// The part of the chain that is one tier's.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TierSteps {
    pub(crate) steps: std::ops::Range<usize>,
    pub(crate) input: Shape,
    /// The shape of the values that its exit sees.
    pub(crate) exit_input: Shape,
}

impl Network {
    /// The network of a recipe.
    pub(crate) fn new(recipe: &Recipe) -> Network {
        let classes = recipe.labels.len();
        let mut shape = Shape::of(&recipe.input.shape).expect("a recipe's input has a shape");
        let mut network = Network { chain: vec![], exits: vec![], tiers: vec![], weights: 0 };
        for tier in &recipe.tiers {
            let (first, input) = (network.chain.len(), shape);
            let mut exit_input = shape;
            for layer in &tier.layers {
                let output = layer.output(shape).expect("the layers of a recipe fit");
                let patches = |window| Patches::new(shape, window);
                let operation = match *layer {
                    Layer::Exit => {
                        exit_input = shape;
                        let dense = Operation::Dense { rectified: false };
                        let step = Step::new(dense, shape.len(), classes, &mut network.weights);
                        network.exits.push(Exit { after: network.chain.len(), step });
                        continue;
                    }
                    Layer::Dense { .. } => Operation::Dense { rectified: true },
                    Layer::Conv { window, .. } => {
                        Operation::Conv { patches: patches(window), rectified: true }
                    }
                    Layer::Bottleneck { .. } if matches!(shape, Shape::Image { .. }) => {
                        let window = crate::recipe::Window { size: 1, stride: 1, padding: 0 };
                        Operation::Conv { patches: patches(window), rectified: false }
                    }
                    Layer::Bottleneck { .. } => Operation::Dense { rectified: false },
                    Layer::Pool { pooling: Pooling::Max, window } => {
                        Operation::MaxPool(patches(window))
                    }
                    Layer::Pool { pooling: Pooling::Average, window } => {
                        Operation::AveragePool(patches(window))
                    }
                    Layer::Dropout { rate } => Operation::Dropout { rate },
                };
                network.chain.push(Step::new(
                    operation,
                    shape.len(),
                    output.len(),
                    &mut network.weights,
                ));
                shape = output;
            }
            let steps = first..network.chain.len();
            network.tiers.push(TierSteps { steps, input, exit_input });
        }
        network
    }

    /// Weights to begin with.
    pub(crate) fn draw(&self, random: &mut Random) -> Vec<f32> {
        let mut weights = vec![0.0; self.weights];
        for step in self.steps() {
            step.draw(&mut weights, random);
        }
        weights
    }

    /// All layers with or without weights, exits last.
    pub(crate) fn steps(&self) -> impl Iterator<Item = &Step> {
        self.chain.iter().chain(self.exits.iter().map(|exit| &exit.step))
    }
}

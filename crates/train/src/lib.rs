//! Joint training of multi-exit networks of dense layers.
//!
//! A network is one chain of layers, cut into tiers; each tier ends in an exit of its own, and what
//! its exit sees is also what the next tier continues from. All exits are trained together, on the
//! weighted sum of their losses (Teerapittayanon et al., BranchyNet, 2016), so that the layers of a
//! tier serve both its own exit and the tiers above. The result is one sub-model per tier.
//!
//! [`train`] takes a [`Recipe`] and samples as devices send them, and gives [`Trained`]. The same
//! recipe, samples and seed give the same files, byte for byte, on the same kind of processor.
//!
//! This is the only crate that links the training framework. It reads no datasets and knows no
//! convolutions: those networks are trained in Keras and imported.

mod batches;
mod error;
mod network;
mod recipe;
mod trained;

use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use model::dataset::Dataset;
use model::random::Random;

pub use error::TrainError;
pub use recipe::{Recipe, TierLayers, Topology, UnknownTopology};
pub use trained::Trained;

use batches::Batches;
use network::Network;

/// Where a training run stands after an epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// The number of epochs that are done, from 1.
    pub epoch: usize,
    /// The number of epochs in all.
    pub epochs: usize,
    /// The weighted loss, averaged over the epoch.
    pub loss: f32,
    /// The share of validation samples that each exit classifies correctly; empty without any.
    pub exit_accuracy: Vec<f64>,
}

/// Trains a network on `samples`, reporting after each epoch how it does on `validation`, which it
/// does not learn from and which may be empty.
///
/// # Errors
///
/// [`TrainError::Recipe`] and [`TrainError::Dataset`] name what cannot be trained, or not on this;
/// [`TrainError::Diverged`] says that the learning rate was too high.
pub fn train(
    recipe: &Recipe,
    samples: &Dataset,
    validation: &Dataset,
    mut progress: impl FnMut(Progress),
) -> Result<Trained, TrainError> {
    recipe.check()?;
    error::check_dataset(recipe, samples)?;
    if samples.is_empty() {
        return Err(TrainError::Dataset("it is empty, expected samples to learn from".to_owned()));
    }
    if !validation.is_empty() {
        error::check_dataset(recipe, validation)?;
    }
    let mut random = Random::new(recipe.seed);
    let network = Network::new(recipe, samples.sample_len(), &mut random.fork())?;
    let decay = ParamsAdamW { weight_decay: recipe.weight_decay, ..ParamsAdamW::default() };
    let mut optimizer = AdamW::new(network.variables(), decay)?;
    let mut batches = Batches::new(recipe, samples, random.fork());
    let steps = (batches.per_epoch() * recipe.epochs) as f64;
    let mut step = 0.0;
    for epoch in 1..=recipe.epochs {
        batches.shuffle();
        let mut total = 0.0;
        for at in 0..batches.per_epoch() {
            let (inputs, labels) = batches.batch(at)?;
            optimizer.set_learning_rate(recipe.learning_rate * cosine(step / steps));
            step += 1.0;
            let loss = network.loss(&inputs, &labels, &recipe.exit_weights)?;
            optimizer.backward_step(&loss)?;
            total += loss.to_scalar::<f32>()?;
        }
        let loss = total / batches.per_epoch() as f32;
        if !loss.is_finite() {
            return Err(TrainError::Diverged { epoch, learning_rate: recipe.learning_rate });
        }
        let exit_accuracy = network.accuracy(recipe, validation)?;
        progress(Progress { epoch, epochs: recipe.epochs, loss, exit_accuracy });
    }
    Trained::new(recipe, samples, &network)
}

/// The learning rate, as a share of the first, after `done` of all steps (Loshchilov and Hutter,
/// 2017).
fn cosine(done: f64) -> f64 {
    0.5 * (1.0 + (std::f64::consts::PI * done).cos())
}

//! A training run: epoch after epoch, from the beginning or from a checkpoint.

use std::path::Path;

use model::random::Random;
use sha2::{Digest, Sha256};

use crate::batch::{Batch, Outcome};
use crate::checkpoint::{Best, State};
use crate::error::check_samples;
use crate::network::Network;
use crate::optimizer::{Moments, learning_rate};
use crate::{Recipe, Samples, TrainError, Trained};

/// Where a training run stands within an epoch, or after it.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// The epoch, from 1.
    pub epoch: usize,
    /// The share of the epoch that is done.
    pub done: f64,
    /// The loss, weighted over the exits, averaged over the epoch so far.
    pub loss: f64,
    /// The share of samples that each exit classifies correctly: of those that were learnt from in this epoch so far,
    /// or, after the epoch and if there is any, of the validation data.
    pub exit_accuracy: Vec<f64>,
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continue {
    /// Go on.
    Yes,
    /// Stop here; what was learnt since the last checkpoint is lost.
    No,
}

/// A training run between two epochs.
#[derive(Debug)]
pub struct Training<'a> {
    recipe: &'a Recipe,
    network: Network,
    samples: &'a Samples,
    validation: &'a Samples,
    state: State,
}

impl<'a> Training<'a> {
    /// A run from the beginning. It learns from `samples` and looks after each epoch how it does on `validation`,
    /// which may be empty.
    ///
    /// # Errors
    ///
    /// [`TrainError::Samples`] where the recipe cannot learn from them.
    pub fn new(
        recipe: &'a Recipe,
        samples: &'a Samples,
        validation: &'a Samples,
    ) -> Result<Training<'a>, TrainError> {
        check_samples(recipe, "training", samples)?;
        if samples.is_empty() {
            let problem = "there is none, expected samples to learn from".to_owned();
            return Err(TrainError::Samples { what: "training", problem });
        }
        if !validation.is_empty() {
            check_samples(recipe, "validation", validation)?;
        } else if recipe.patience.is_some() {
            let problem = "there is none, but the recipe has `patience`".to_owned();
            return Err(TrainError::Samples { what: "validation", problem });
        }
        let network = Network::new(recipe);
        let state = State {
            epochs: 0,
            weights: network.draw(&mut Random::new(recipe.seed)),
            moments: Moments::new(network.weights),
            best: None,
        };
        Ok(Training { recipe, network, samples, validation, state })
    }

    /// Goes on where the checkpoint at `path` was written.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and [`TrainError::Checkpoint`] where it is damaged or of another recipe, seed or data.
    pub fn resume(
        recipe: &'a Recipe,
        samples: &'a Samples,
        validation: &'a Samples,
        path: &Path,
    ) -> Result<Training<'a>, TrainError> {
        let mut training = Training::new(recipe, samples, validation)?;
        let fingerprint = training.fingerprint();
        training.state = State::read(path, &fingerprint, training.network.weights)?;
        Ok(training)
    }

    /// Writes where the run stands to `path`, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`TrainError::Write`] where the file system refuses.
    pub fn write_checkpoint(&self, path: &Path) -> Result<(), TrainError> {
        self.state.write(path, &self.fingerprint())
    }

    /// The number of epochs that are done.
    pub fn epochs(&self) -> usize {
        self.state.epochs
    }

    /// The multiply-accumulates of each tier for one sample that it forwards.
    pub fn operations(&self) -> Vec<usize> {
        let tiers = self.network.tiers.iter().zip(&self.network.exits);
        tiers
            .map(|(tier, exit)| {
                let chain = &self.network.chain[tier.steps.clone()];
                chain.iter().chain([&exit.step]).map(crate::network::Step::operations).sum()
            })
            .collect()
    }

    /// Whether no epoch is left: all are done, or the last ones improved nothing.
    pub fn is_done(&self) -> bool {
        let stale = |best: &Best, patience: usize| self.state.epochs - best.epoch >= patience;
        let stopped = self.state.best.as_ref().zip(self.recipe.patience);
        self.state.epochs >= self.recipe.epochs
            || stopped.is_some_and(|(best, patience)| stale(best, patience))
    }

    /// Learns from all samples once. `progress` is told after each batch where it stands, and may stop the run: then
    /// there is no result.
    ///
    /// # Errors
    ///
    /// [`TrainError::Diverged`] where the learning rate is too high.
    pub fn epoch(
        &mut self,
        mut progress: impl FnMut(Progress) -> Continue,
    ) -> Result<Option<Progress>, TrainError> {
        let (recipe, network) = (self.recipe, &self.network);
        let epoch = self.state.epochs + 1;
        // What is random in an epoch follows from its number: a run that goes on need not know what came before.
        let mut random = Random::new(recipe.seed ^ (epoch as u64).rotate_left(32));
        let mut order: Vec<usize> = (0..self.samples.len()).collect();
        random.shuffle(&mut order);
        let steps = self.samples.len().div_ceil(recipe.batch_size) as u64;
        let mut batch = Batch::new(recipe, network);
        let mut sum = Outcome::default();
        let mut seen = 0;
        for indexes in order.chunks(recipe.batch_size) {
            let (weights, moments) = (&mut self.state.weights, &mut self.state.moments);
            let rate = learning_rate(
                recipe.learning_rate,
                moments.steps,
                recipe.warm_up_epochs as u64 * steps,
                recipe.epochs as u64 * steps,
            );
            let (outcome, gradient) = batch.learn(self.samples, indexes, weights, &mut random);
            moments.step(recipe, network, rate, gradient, weights);
            sum.add(&outcome);
            seen += indexes.len();
            let now = Progress {
                epoch,
                done: seen as f64 / order.len() as f64,
                loss: sum.loss / seen as f64,
                exit_accuracy: shares(&sum.correct, seen),
            };
            if !now.loss.is_finite() {
                return Err(TrainError::Diverged { epoch, learning_rate: recipe.learning_rate });
            }
            if progress(now) == Continue::No {
                return Ok(None);
            }
        }
        let exit_accuracy = if self.validation.is_empty() {
            shares(&sum.correct, seen)
        } else {
            let checked = batch.check(self.validation, &self.state.weights);
            shares(&checked.correct, self.validation.len())
        };
        self.state.epochs = epoch;
        self.keep_best(&exit_accuracy);
        Ok(Some(Progress { epoch, done: 1.0, loss: sum.loss / seen as f64, exit_accuracy }))
    }

    fn keep_best(&mut self, exit_accuracy: &[f64]) {
        if self.recipe.patience.is_none() {
            return;
        }
        let weighted = self.recipe.tiers.iter().zip(exit_accuracy);
        let score = weighted.map(|(tier, accuracy)| f64::from(tier.exit_weight) * accuracy).sum();
        if self.state.best.as_ref().is_none_or(|best| best.score < score) {
            let (epoch, weights) = (self.state.epochs, self.state.weights.clone());
            self.state.best = Some(Best { epoch, score, weights });
        }
    }

    /// Ends the run: the sub-models, of the best epoch where the recipe stops early, of the last one otherwise.
    ///
    /// # Errors
    ///
    /// [`TrainError::Model`] where the engine does not take them.
    pub fn finish(self) -> Result<Trained, TrainError> {
        let weights = self.state.best.as_ref().map_or(&self.state.weights, |best| &best.weights);
        let sizes = (self.samples.len(), self.validation.len());
        Trained::new(self.recipe, &self.network, weights, self.state.epochs, sizes)
    }

    #[cfg(test)]
    pub(crate) fn weights(&self) -> &[f32] {
        &self.state.weights
    }

    /// What decides the result besides the state.
    fn fingerprint(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(format!("{:?}", self.recipe));
        self.samples.digest(&mut digest);
        self.validation.digest(&mut digest);
        digest.finalize().into()
    }
}

fn shares(correct: &[usize], of: usize) -> Vec<f64> {
    correct.iter().map(|&correct| correct as f64 / of as f64).collect()
}

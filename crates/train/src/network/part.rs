//! A part of a batch on its way through the network and back.
//!
//! A batch is cut into parts of a fixed number of samples, whatever the number of threads, and each part has its own
//! gradient: added up in the order of the parts, they give the same bits on one core and on sixteen.

use model::random::Random;

use super::Network;
use super::step::Memory;
use crate::recipe::{Distillation, Recipe};

/// Samples in a part. Its values and patches are a few megabytes for networks that fit the edge; products of fewer
/// rows waste time on packing.
pub(crate) const PART: usize = 32;

/// The buffers of one part.
#[derive(Debug)]
pub(crate) struct Part {
    /// The number of samples in it; up to [`PART`].
    pub(crate) count: usize,
    /// The class of each sample.
    pub(crate) labels: Vec<u8>,
    /// The input, and the output of each step of the chain.
    values: Vec<Vec<f32>>,
    gradients: Vec<Vec<f32>>,
    memories: Vec<Memory>,
    /// Of each exit: logits, and later their gradient.
    logits: Vec<Vec<f32>>,
    /// Of the sum of the loss over the samples, with respect to all weights.
    pub(crate) weight_gradient: Vec<f32>,
    /// The loss, added up over the samples.
    pub(crate) loss: f64,
    /// How many samples each exit classified correctly.
    pub(crate) correct: Vec<usize>,
}

impl Part {
    pub(crate) fn new(network: &Network) -> Part {
        // A network whose tiers are all exits has no chain.
        let input = network.chain.first().unwrap_or(&network.exits[0].step).inputs;
        let lens = || std::iter::once(input).chain(network.chain.iter().map(|step| step.outputs));
        let buffers = || lens().map(|len| vec![0.0; PART * len]).collect();
        Part {
            count: 0,
            labels: Vec::with_capacity(PART),
            values: buffers(),
            gradients: buffers(),
            memories: network.chain.iter().map(|_| Memory::default()).collect(),
            logits: network.exits.iter().map(|exit| vec![0.0; PART * exit.step.outputs]).collect(),
            weight_gradient: vec![0.0; network.weights],
            loss: 0.0,
            correct: vec![0; network.exits.len()],
        }
    }

    /// The input's values, to be filled in: [`PART`] samples one after the other.
    pub(crate) fn input(&mut self) -> &mut [f32] {
        &mut self.values[0]
    }

    /// Computes the logits of every exit. `random` is there while training.
    pub(crate) fn forward(
        &mut self,
        network: &Network,
        weights: &[f32],
        mut random: Option<&mut Random>,
    ) {
        for (at, step) in network.chain.iter().enumerate() {
            let (before, after) = self.values.split_at_mut(at + 1);
            step.forward(
                weights,
                self.count,
                &before[at],
                &mut after[0],
                &mut self.memories[at],
                random.as_deref_mut(),
            );
        }
        for (exit, logits) in network.exits.iter().zip(&mut self.logits) {
            let input = &self.values[exit.after];
            exit.step.forward(weights, self.count, input, logits, &mut Memory::default(), None);
        }
    }

    /// Counts how many samples each exit classifies correctly.
    pub(crate) fn count_correct(&mut self, classes: usize) {
        for (correct, logits) in self.correct.iter_mut().zip(&self.logits) {
            let rows = logits.chunks_exact(classes).zip(&self.labels);
            *correct = rows.filter(|(row, label)| largest(row) == usize::from(**label)).count();
        }
    }

    /// The softmax vector of `exit` for each sample, and the features after `steps` steps of the chain.
    #[cfg(test)]
    pub(crate) fn outputs(&self, exit: usize, classes: usize, steps: usize) -> (Vec<f32>, &[f32]) {
        let mut rows = self.logits[exit][..self.count * classes].to_vec();
        rows.chunks_exact_mut(classes).for_each(|row| softmax(row, 1.0));
        (rows, &self.values[steps])
    }

    /// The softmax vector of `exit` at a temperature.
    #[cfg(test)]
    pub(crate) fn softened(&self, exit: usize, classes: usize, temperature: f32) -> Vec<f32> {
        let mut rows = self.logits[exit][..self.count * classes].to_vec();
        rows.chunks_exact_mut(classes).for_each(|row| softmax(row, temperature));
        rows
    }

    /// Computes the loss of the logits, and the gradient of its sum with respect to all weights.
    pub(crate) fn backward(&mut self, recipe: &Recipe, network: &Network, weights: &[f32]) {
        self.weight_gradient.fill(0.0);
        self.loss = 0.0;
        self.count_correct(recipe.labels.len());
        self.losses(recipe);
        for gradient in &mut self.gradients {
            gradient.fill(0.0);
        }
        for (exit, logits) in network.exits.iter().zip(&mut self.logits) {
            exit.step.backward(
                weights,
                self.count,
                &self.values[exit.after],
                &[],
                logits,
                &mut Memory::default(),
                &mut self.weight_gradient,
                (exit.after > 0).then_some(&mut self.gradients[exit.after]),
            );
        }
        for (at, step) in network.chain.iter().enumerate().rev() {
            let (before, after) = self.gradients.split_at_mut(at + 1);
            step.backward(
                weights,
                self.count,
                &self.values[at],
                &self.values[at + 1],
                &mut after[0],
                &mut self.memories[at],
                &mut self.weight_gradient,
                (at > 0).then_some(&mut before[at]),
            );
        }
    }

    /// Turns logits into the gradient of the loss with respect to them, and adds up the loss.
    fn losses(&mut self, recipe: &Recipe) {
        let (classes, last) = (recipe.labels.len(), self.logits.len() - 1);
        let mut teacher = vec![0.0; classes];
        for sample in 0..self.count {
            let label = usize::from(self.labels[sample]);
            let rows = sample * classes..(sample + 1) * classes;
            if let Some(distillation) = recipe.distillation {
                teacher.copy_from_slice(&self.logits[last][rows.clone()]);
                softmax(&mut teacher, distillation.temperature);
            }
            for (at, (tier, logits)) in recipe.tiers.iter().zip(&mut self.logits).enumerate() {
                let distillation = recipe.distillation.filter(|_| at < last);
                let row = &mut logits[rows.clone()];
                let loss = exit_loss(row, label, distillation, &teacher);
                self.loss += f64::from(tier.exit_weight * loss);
                for value in row {
                    *value *= tier.exit_weight;
                }
            }
        }
    }
}

/// The loss of one exit for one sample; `logits` become its gradient.
///
/// Cross entropy with the label, and with a weight the divergence from the teacher, both softened and multiplied by
/// the square of the temperature, so that its gradient keeps its size (Hinton et al., 2015). The teacher's share is
/// no function of the weights here: the last exit is not to become a better teacher by knowing less.
fn exit_loss(
    logits: &mut [f32],
    label: usize,
    distillation: Option<Distillation>,
    teacher: &[f32],
) -> f32 {
    let soft = distillation.map(|distillation| {
        let mut student = logits.to_vec();
        softmax(&mut student, distillation.temperature);
        (distillation, student)
    });
    softmax(logits, 1.0);
    let mut loss = -ln(logits[label]);
    logits[label] -= 1.0;
    let Some((Distillation { weight, temperature }, student)) = soft else { return loss };
    let mut divergence = 0.0;
    for ((gradient, student), teacher) in logits.iter_mut().zip(&student).zip(teacher) {
        if *teacher > 0.0 {
            divergence += teacher * (ln(*teacher) - ln(*student));
        }
        *gradient = (1.0 - weight) * *gradient + weight * temperature * (student - teacher);
    }
    loss = (1.0 - weight) * loss + weight * temperature * temperature * divergence;
    loss
}

/// The natural logarithm of a probability; one that underflowed is the least there is.
fn ln(probability: f32) -> f32 {
    // Not `max`, which would hide that training diverged to what is no number.
    (if probability < f32::MIN_POSITIVE { f32::MIN_POSITIVE } else { probability }).ln()
}

/// Turns logits, divided by the temperature, into probabilities.
pub(crate) fn softmax(logits: &mut [f32], temperature: f32) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for value in &mut *logits {
        *value = ((*value - largest) / temperature).exp();
    }
    let sum: f32 = logits.iter().sum();
    for value in logits {
        *value /= sum;
    }
}

/// The first of the largest.
fn largest(row: &[f32]) -> usize {
    let mut best = 0;
    for (at, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = at;
        }
    }
    best
}

//! `AdamW` (Loshchilov and Hutter, 2019) and its learning rate.

use crate::Recipe;
use crate::network::Network;

const FIRST_DECAY: f32 = 0.9;
const SECOND_DECAY: f32 = 0.999;
const EPSILON: f32 = 1e-8;

/// What the optimiser remembers of the gradients so far.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Moments {
    pub(crate) first: Vec<f32>,
    pub(crate) second: Vec<f32>,
    /// The number of steps that were done.
    pub(crate) steps: u64,
}

impl Moments {
    pub(crate) fn new(weights: usize) -> Moments {
        Moments { first: vec![0.0; weights], second: vec![0.0; weights], steps: 0 }
    }

    /// Moves the weights one step against `gradient`.
    pub(crate) fn step(
        &mut self,
        recipe: &Recipe,
        network: &Network,
        learning_rate: f64,
        gradient: &[f32],
        weights: &mut [f32],
    ) {
        self.steps += 1;
        // After a few thousand steps both are 1 to all digits; `powi` takes no more than that anyway.
        let steps = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let first_share = 1.0 - FIRST_DECAY.powi(steps);
        let second_share = (1.0 - SECOND_DECAY.powi(steps)).sqrt();
        let rate = learning_rate as f32 / first_share;
        let kept = 1.0 - (learning_rate * recipe.weight_decay) as f32;
        for step in network.steps() {
            // A bias that is pulled to 0 makes nothing simpler.
            for value in &mut weights[step.kernel.clone()] {
                *value *= kept;
            }
        }
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((weight, gradient), (first, second)) in weights.iter_mut().zip(gradient).zip(moments) {
            *first = FIRST_DECAY * *first + (1.0 - FIRST_DECAY) * gradient;
            *second = SECOND_DECAY * *second + (1.0 - SECOND_DECAY) * gradient * gradient;
            *weight -= rate * *first / (second.sqrt() / second_share + EPSILON);
        }
    }
}

/// The learning rate of step `step` of `steps`, of which `warm_up` come first: up to the recipe's along a line, then
/// down to 0 along a cosine (Loshchilov and Hutter, 2017).
pub(crate) fn learning_rate(highest: f64, step: u64, warm_up: u64, steps: u64) -> f64 {
    if step < warm_up {
        return highest * (step + 1) as f64 / warm_up as f64;
    }
    let done = (step - warm_up) as f64 / (steps - warm_up) as f64;
    highest * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_learning_rate_rises_along_a_line_and_falls_along_a_cosine() {
        let rates: Vec<f64> = (0..8).map(|step| learning_rate(2.0, step, 4, 8)).collect();
        assert_eq!(rates[..5], [0.5, 1.0, 1.5, 2.0, 2.0]);
        assert!((rates[6] - 1.0).abs() < 1e-12 && rates[7] < 0.3, "{rates:?}");
    }
}

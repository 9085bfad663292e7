//! One batch: its parts on all cores, and their gradient summed in order.

use std::num::NonZeroUsize;

use model::random::Random;

use crate::augment::Augmenter;
use crate::network::Network;
use crate::network::part::{PART, Part};
use crate::recipe::Shape;
use crate::{Recipe, Samples};

/// The parts of a batch, each with what it needs to fill its input.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    recipe: &'a Recipe,
    network: &'a Network,
    threads: usize,
    parts: Vec<(Part, Option<Augmenter>)>,
}

/// The samples that go into a part, the part, and what is random about it.
type Job<'a> = (&'a [usize], &'a mut (Part, Option<Augmenter>), Random);

/// What a batch showed.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Outcome {
    /// The loss, added up over the samples.
    pub(crate) loss: f64,
    /// How many samples each exit classified correctly.
    pub(crate) correct: Vec<usize>,
}

impl Outcome {
    pub(crate) fn add(&mut self, other: &Outcome) {
        self.loss += other.loss;
        self.correct.resize(other.correct.len(), 0);
        for (sum, correct) in self.correct.iter_mut().zip(&other.correct) {
            *sum += correct;
        }
    }
}

impl<'a> Batch<'a> {
    pub(crate) fn new(recipe: &'a Recipe, network: &'a Network) -> Batch<'a> {
        let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let shape = Shape::of(&recipe.input.shape).expect("a recipe's input has a shape");
        let parts = recipe.batch_size.div_ceil(PART);
        let part = |_| (Part::new(network), Augmenter::new(recipe.augmentation, shape));
        Batch {
            recipe,
            network,
            threads: threads.min(parts),
            parts: (0..parts).map(part).collect(),
        }
    }

    /// Computes the gradient of the mean loss over the samples at `indexes`, changed at random as `random` says.
    pub(crate) fn learn(
        &mut self,
        samples: &Samples,
        indexes: &[usize],
        weights: &[f32],
        random: &mut Random,
    ) -> (Outcome, &[f32]) {
        let (recipe, network) = (self.recipe, self.network);
        let used = self.run(samples, indexes, random, |part, augmenter, random| {
            if let Some(augmenter) = augmenter {
                let len = part.input().len() / PART;
                for sample in 0..part.count {
                    augmenter.change(&mut part.input()[sample * len..(sample + 1) * len], random);
                }
            }
            normalise(recipe, part);
            part.forward(network, weights, Some(random));
            part.backward(recipe, network, weights);
        });
        let outcome = self.outcome(used);
        let (first, others) = self.parts[..used].split_first_mut().expect("a batch has a part");
        let gradient = &mut first.0.weight_gradient;
        for (other, _) in others {
            for (sum, value) in gradient.iter_mut().zip(&other.weight_gradient) {
                *sum += value;
            }
        }
        let share = 1.0 / indexes.len() as f32;
        for value in &mut *gradient {
            *value *= share;
        }
        (outcome, gradient)
    }

    /// Counts what each exit classifies correctly, of all `samples`.
    pub(crate) fn check(&mut self, samples: &Samples, weights: &[f32]) -> Outcome {
        let (recipe, network) = (self.recipe, self.network);
        let mut sum = Outcome::default();
        let all: Vec<usize> = (0..samples.len()).collect();
        for indexes in all.chunks(self.parts.len() * PART) {
            let used = self.run(samples, indexes, &mut Random::new(0), |part, _, _| {
                normalise(recipe, part);
                part.forward(network, weights, None);
                part.count_correct(recipe.labels.len());
            });
            sum.add(&self.outcome(used));
        }
        sum
    }

    /// Fills parts with the raw values of the samples at `indexes` and runs `work` on each, on all threads. Returns
    /// how many parts it took.
    fn run(
        &mut self,
        samples: &Samples,
        indexes: &[usize],
        random: &mut Random,
        work: impl Fn(&mut Part, Option<&mut Augmenter>, &mut Random) + Sync,
    ) -> usize {
        let mut jobs: Vec<_> = indexes
            .chunks(PART)
            .zip(&mut self.parts)
            .map(|(indexes, part)| (indexes, part, random.fork()))
            .collect();
        let used = jobs.len();
        let share = used.div_ceil(self.threads);
        let work = &work;
        let carry_out = |jobs: &mut [Job<'_>]| {
            for (indexes, (part, augmenter), random) in jobs {
                fill(part, samples, indexes);
                work(part, augmenter.as_mut(), random);
            }
        };
        std::thread::scope(|scope| {
            let mut shares = jobs.chunks_mut(share);
            let own = shares.next();
            for share in shares {
                scope.spawn(move || carry_out(share));
            }
            if let Some(own) = own {
                carry_out(own);
            }
        });
        used
    }

    fn outcome(&self, used: usize) -> Outcome {
        let mut sum = Outcome::default();
        for (part, _) in &self.parts[..used] {
            sum.add(&Outcome { loss: part.loss, correct: part.correct.clone() });
        }
        sum
    }
}

fn fill(part: &mut Part, samples: &Samples, indexes: &[usize]) {
    part.count = indexes.len();
    part.labels.clear();
    part.labels.extend(indexes.iter().map(|&index| samples.labels()[index]));
    let len = part.input().len() / PART;
    for (&index, values) in indexes.iter().zip(part.input().chunks_exact_mut(len)) {
        samples.copy(index, values);
    }
}

/// From raw values to what the network is fed.
fn normalise(recipe: &Recipe, part: &mut Part) {
    let (scale, offset) = (recipe.input.scale, recipe.input.offset);
    for value in part.input() {
        *value = *value * scale + offset;
    }
}

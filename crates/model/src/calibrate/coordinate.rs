//! Thresholds of more tiers than the joint histogram covers, one at a time.
//!
//! For a price μ of a unit of cost, the sum over the samples of `bad + μ · cost` is minimised one exit after the other,
//! from the last to the first, with the others held, until nothing changes: the best cut of one exit is found exactly,
//! from sums by bin, in O(samples × tiers + cuts). A series of prices, each started from the thresholds of the one
//! before, gives candidates from the safest to the most aggressive. They are points of the lower convex hull of what
//! thresholds can reach, or near it: coordinate descent may stop beside the optimum, which the exact search of
//! `super::joint` cannot.

use super::cascade::{Cascade, Counts, Levels};
use super::search::{Loss, Weights};

/// Prices of one unit of cost in bad answers, from `LEAST_PRICE` by `PRICE_STEP`: from "a hop is free" to "no answer is
/// worth one".
const PRICES: usize = 64;
const LEAST_PRICE: f64 = 1e-4;
const PRICE_STEP: f64 = 1.2;
/// Descent takes two or three passes; a bound in case two cuts are equally good and take turns.
const MAX_PASSES: usize = 10;

/// Candidate thresholds and what they do, for costs whose unit is about one hop.
pub(super) fn candidates(
    cascade: &Cascade,
    weights: &Weights,
    loss: Loss,
) -> Vec<(Levels, Counts)> {
    let mut levels = Levels::default();
    for (level, cuts) in levels.iter_mut().zip(&cascade.cuts) {
        *level = (cuts - 1) as u16;
    }
    let mut found = vec![(levels, cascade.counts(&levels))];
    let mut price = LEAST_PRICE;
    for _ in 0..PRICES {
        descend(cascade, &weights.times(price), loss, &mut levels);
        if found.last().is_some_and(|(last, _)| *last != levels) {
            found.push((levels, cascade.counts(&levels)));
        }
        price *= PRICE_STEP;
    }
    let nothing = Levels::default();
    found.push((nothing, cascade.counts(&nothing)));
    found
}

fn descend(cascade: &Cascade, priced: &Weights, loss: Loss, levels: &mut Levels) {
    for _ in 0..MAX_PASSES {
        let before = *levels;
        for exit in (0..cascade.bins.len()).rev() {
            levels[exit] = best_cut(cascade, priced, loss, levels, exit);
        }
        if *levels == before {
            return;
        }
    }
}

/// The best cut of one exit, the others held; the highest of equally good ones.
fn best_cut(cascade: &Cascade, priced: &Weights, loss: Loss, levels: &Levels, exit: usize) -> u16 {
    let cuts = cascade.cuts[exit];
    // By bin: what going on costs more than leaving here.
    let mut more = vec![0.0; cuts + 1];
    let mut past = *levels;
    past[exit] = u16::MAX;
    for sample in 0..cascade.samples() {
        let tier = cascade.answered_by(sample, &past);
        if tier < exit {
            continue;
        }
        let bad = |tier: usize| f64::from(u8::from(loss.is_bad(cascade, sample, tier)));
        let way: f64 = priced.0[exit + 1..=tier].iter().sum();
        more[usize::from(cascade.bins[exit][sample])] += bad(tier) + way - bad(exit);
    }
    let (mut best, mut least, mut sum) = (0, f64::INFINITY, 0.0);
    for (cut, more) in more[..cuts].iter().enumerate() {
        sum += more;
        if sum <= least {
            (best, least) = (cut, sum);
        }
    }
    best as u16
}

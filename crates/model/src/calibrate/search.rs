//! The best thresholds for a goal, and the frontier between what they cost and what they lose.

use super::cascade::{Cascade, Counts, Levels, MAX_TIERS};
use super::coordinate;
use super::joint::Joint;

/// Steps of cost in which the frontier is cut, dense where little is forwarded; one candidate is kept in each.
const STEPS: usize = 512;

/// What one sample that reaches a tier costs, by tier: all of the costs of a cascade are sums of this form.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Weights(pub(super) [f64; MAX_TIERS]);

/// What is to be kept small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// Wrong answers.
    Wrong,
    /// Harmed samples: see `super::guarantee`.
    Harmed,
}

/// One choice of thresholds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) levels: Levels,
    pub(super) counts: Counts,
    /// Per sample.
    pub(super) cost: f64,
}

/// The thresholds that are searched: all of them, or those that a descent finds.
#[derive(Debug)]
pub(super) enum Space {
    Joint(Joint),
    Listed(Vec<(Levels, Counts)>),
}

impl Weights {
    /// The cost of a sample, in the mean.
    pub(super) fn cost(&self, counts: &Counts) -> f64 {
        let sum: f64 = self.0.iter().zip(counts.reach).map(|(w, n)| w * f64::from(n)).sum();
        sum / f64::from(counts.reach[0].max(1))
    }

    pub(super) fn times(&self, price: f64) -> Weights {
        Weights(self.0.map(|weight| weight * price))
    }

    /// In units of what the first way up costs, so that prices mean the same whatever the unit is.
    fn normalised(&self) -> Weights {
        let unit = self.0[1..].iter().copied().find(|&weight| weight > 0.0).unwrap_or(1.0);
        self.times(unit.recip())
    }
}

impl Loss {
    fn of(self, counts: &Counts) -> u32 {
        match self {
            Loss::Wrong => counts.reach[0] - counts.right,
            Loss::Harmed => counts.harmed,
        }
    }

    /// Whether it is a loss to answer sample `sample` at tier `tier`.
    pub(super) fn is_bad(self, cascade: &Cascade, sample: usize, tier: usize) -> bool {
        match self {
            Loss::Wrong => !cascade.is_right(sample, tier),
            Loss::Harmed => cascade.is_harmed(sample, tier),
        }
    }
}

impl Space {
    /// The thresholds of `cascade`: all of up to three tiers, else those on the way to a small `loss` at these costs.
    pub(super) fn new(cascade: &Cascade, weights: &Weights, loss: Loss) -> Space {
        match Joint::new(cascade) {
            Some(joint) => Space::Joint(joint),
            None => Space::Listed(coordinate::candidates(cascade, &weights.normalised(), loss)),
        }
    }

    /// What `levels` do to the samples of `cascade`, which this space was made of.
    pub(super) fn counts(&self, cascade: &Cascade, levels: &Levels) -> Counts {
        match self {
            Space::Joint(joint) => joint.counts(levels),
            Space::Listed(_) => cascade.counts(levels),
        }
    }

    fn for_each(&self, mut visit: impl FnMut(Levels, &Counts)) {
        match self {
            Space::Joint(joint) => joint.for_each(visit),
            Space::Listed(candidates) => {
                for (levels, counts) in candidates {
                    visit(*levels, counts);
                }
            }
        }
    }

    /// The feasible thresholds with the least loss, the cheapest of them where several lose as little.
    pub(super) fn best(
        &self,
        weights: &Weights,
        loss: Loss,
        mut is_feasible: impl FnMut(&Counts) -> bool,
    ) -> Option<Candidate> {
        let mut best: Option<Candidate> = None;
        self.for_each(|levels, counts| {
            let bad = loss.of(counts);
            if best.as_ref().is_some_and(|best| loss.of(&best.counts) < bad) || !is_feasible(counts)
            {
                return;
            }
            let candidate = Candidate { levels, counts: *counts, cost: weights.cost(counts) };
            let is_better = best
                .as_ref()
                .is_none_or(|best| bad < loss.of(&best.counts) || candidate.cost < best.cost);
            if is_better {
                best = Some(candidate);
            }
        });
        best
    }

    /// From the dearest to the cheapest, thresholds than which none both costs and loses less: in each step of cost
    /// those that lose least. The loss rises strictly on the way.
    pub(super) fn frontier(&self, weights: &Weights, loss: Loss) -> Vec<Candidate> {
        let (mut least, mut most) = (f64::INFINITY, 0.0f64);
        self.for_each(|_, counts| {
            let cost = weights.cost(counts);
            least = least.min(cost);
            most = most.max(cost);
        });
        let span = (most - least).max(f64::MIN_POSITIVE);
        let mut steps: Vec<Option<Candidate>> = vec![None; STEPS];
        self.for_each(|levels, counts| {
            let cost = weights.cost(counts);
            let step = (((cost - least) / span).sqrt() * (STEPS - 1) as f64).round() as usize;
            let bad = loss.of(counts);
            let is_better = steps[step].as_ref().is_none_or(|best| {
                let least = loss.of(&best.counts);
                bad < least || (bad == least && cost < best.cost)
            });
            if is_better {
                steps[step] = Some(Candidate { levels, counts: *counts, cost });
            }
        });
        let mut frontier: Vec<Candidate> = Vec::new();
        for candidate in steps.into_iter().flatten() {
            let is_better = frontier
                .last()
                .is_none_or(|last| loss.of(&candidate.counts) < loss.of(&last.counts));
            if is_better {
                frontier.push(candidate);
            }
        }
        frontier.reverse();
        frontier
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::joint::tests::cascades;
    use super::*;

    const WEIGHTS: Weights = Weights([0.5, 1.0, 2.5, 1.0, 0.0, 0.0, 0.0, 0.0]);

    /// Every choice of cuts, by counting samples: the definition.
    fn all(cascade: &Cascade) -> Vec<Candidate> {
        let exits = cascade.cuts.len() as u32;
        let choices = 0..cascade.cuts[0].pow(exits);
        choices
            .map(|choice| {
                let mut levels = Levels::default();
                for (exit, level) in levels.iter_mut().enumerate().take(exits as usize) {
                    *level = (choice / cascade.cuts[0].pow(exit as u32) % cascade.cuts[0]) as u16;
                }
                let counts = cascade.counts(&levels);
                Candidate { levels, counts, cost: WEIGHTS.cost(&counts) }
            })
            .collect()
    }

    fn check(cascade: &Cascade, share: f64, loss: Loss) {
        let space = Space::new(cascade, &WEIGHTS, loss);
        let fits = |counts: &Counts| {
            f64::from(counts.reach[1]) <= share * f64::from(counts.reach[0]) + 1e-9
        };
        let expected = all(cascade).into_iter().filter(|candidate| fits(&candidate.counts));
        let expected = expected.min_by(|a, b| {
            loss.of(&a.counts).cmp(&loss.of(&b.counts)).then(a.cost.total_cmp(&b.cost))
        });
        let found = space.best(&WEIGHTS, loss, fits);
        let key = |candidate: &Candidate| (loss.of(&candidate.counts), candidate.cost);
        assert_eq!(found.as_ref().map(key), expected.as_ref().map(key));
        let frontier = space.frontier(&WEIGHTS, loss);
        for pair in frontier.windows(2) {
            assert!(pair[0].cost > pair[1].cost, "{pair:?}");
            assert!(loss.of(&pair[0].counts) < loss.of(&pair[1].counts), "{pair:?}");
        }
        for candidate in &frontier {
            assert_eq!(candidate.counts, cascade.counts(&candidate.levels));
        }
        // The cheapest of all choices, and what loses least, are its ends.
        let all = all(cascade);
        let cheapest = all.iter().map(|candidate| candidate.cost).fold(f64::INFINITY, f64::min);
        let least = all.iter().map(|candidate| loss.of(&candidate.counts)).min();
        assert!(frontier.last().is_some_and(|last| last.cost <= cheapest + 1e-9));
        assert_eq!(frontier.first().map(|first| loss.of(&first.counts)), least);
    }

    proptest! {
        #[test]
        fn the_best_is_that_of_trying_everything(
            two in cascades(2), three in cascades(3), share in 0.0f64..=1.0,
        ) {
            for loss in [Loss::Wrong, Loss::Harmed] {
                check(&two, share, loss);
                check(&three, share, loss);
            }
        }

        #[test]
        fn descent_counts_right_and_reaches_the_cheapest(four in cascades(4)) {
            let candidates = coordinate::candidates(&four, &WEIGHTS.normalised(), Loss::Wrong);
            for (levels, counts) in &candidates {
                prop_assert_eq!(*counts, four.counts(levels));
            }
            let cost = |counts: &Counts| WEIGHTS.cost(counts);
            let cheapest = all(&four).iter().map(|c| c.cost).fold(f64::INFINITY, f64::min);
            let found = candidates.iter().map(|(_, counts)| cost(counts));
            prop_assert!(found.fold(f64::INFINITY, f64::min) <= cheapest + 1e-9);
        }
    }
}

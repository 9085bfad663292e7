//! From confidences to scores, from scores to candidate thresholds, and back to an exit.
//!
//! With one threshold for all classes a sample's score is its confidence. With a threshold for each predicted class
//! the score is `a · logit(confidence) + b_class`: how sure a logistic regression is that the sample is not harmed, of
//! which the offsets `b` are fitted class by class, drawn towards 0 where a class has few samples. One cut on this
//! score is one threshold on the confidence of each class, so that the search over cuts is the same for both.

use wire::ExitCriterion;

use super::recording::Verdict;
use crate::Exit;

/// Candidate thresholds of an exit, at most. With 256 the share that may leave is met to 0.2 percentage points at 5 %
/// (see [`cuts`]), and the joint histogram of two exits takes 800 kB.
pub(super) const MAX_CUTS: usize = 256;

/// How much a class's offset is drawn towards 0: a normal prior with this precision, so that a class needs some ten
/// harmed samples to move far from the others.
const OFFSET_PRECISION: f64 = 4.0;

const NEWTON_STEPS: usize = 12;

/// Confidences are kept this far from 0 and 1 before their logit is taken: what an `f32` just below 1 is off by.
const LEAST_DOUBT: f64 = 6e-8;

/// How an exit's confidences become scores.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scale {
    /// The confidence itself.
    Confidence,
    /// By class.
    Classes { slope: f64, offset: f64, classes: Vec<f64> },
}

impl Scale {
    /// The scale on which one cut is one threshold for each class. `fine` says of each sample whether leaving here
    /// does not harm it.
    pub(super) fn by_class(verdicts: &[Verdict], fine: &[bool], classes: usize) -> Scale {
        let points: Vec<(f64, f64, usize)> = verdicts
            .iter()
            .zip(fine)
            .filter(|(verdict, _)| verdict.confidence.is_finite())
            .map(|(verdict, &fine)| {
                let x = logit(f64::from(verdict.confidence));
                (x, f64::from(u8::from(fine)), usize::from(verdict.label))
            })
            .collect();
        let (slope, offset) = regress(&points);
        let mut offsets = vec![0.0; classes];
        for _ in 0..NEWTON_STEPS {
            let mut gradient: Vec<f64> = offsets.iter().map(|b| -OFFSET_PRECISION * b).collect();
            let mut curvature = vec![OFFSET_PRECISION; classes];
            for &(x, y, class) in &points {
                let p = sigmoid(slope * x + offset + offsets[class]);
                gradient[class] += y - p;
                curvature[class] += p * (1.0 - p);
            }
            for (b, (gradient, curvature)) in
                offsets.iter_mut().zip(gradient.iter().zip(&curvature))
            {
                *b += gradient / curvature;
            }
        }
        Scale::Classes { slope, offset, classes: offsets }
    }

    /// The score of a sample: larger is surer; not a number where the confidence is not, so that no cut is below it.
    /// A confidence of 1 is above every threshold and 0 below every other, whatever the class.
    pub(super) fn score(&self, verdict: Verdict) -> f64 {
        let confidence = f64::from(verdict.confidence);
        match self {
            Scale::Confidence => confidence,
            Scale::Classes { slope, offset, classes } => {
                if confidence >= 1.0 {
                    f64::INFINITY
                } else if confidence <= 0.0 {
                    f64::NEG_INFINITY
                } else {
                    slope * logit(confidence) + offset + classes[usize::from(verdict.label)]
                }
            }
        }
    }

    /// The least and the largest cut: everything leaves, and only what is certain.
    fn ends(&self) -> (f64, f64) {
        match self {
            Scale::Confidence => (0.0, 1.0),
            Scale::Classes { .. } => (f64::NEG_INFINITY, f64::INFINITY),
        }
    }

    /// The exit whose thresholds are the cut.
    pub(super) fn exit(&self, criterion: ExitCriterion, cut: f64) -> Exit {
        match self {
            Scale::Confidence => Exit::new(criterion, cut),
            Scale::Classes { slope, offset, classes } => {
                let threshold = |b: &f64| sigmoid((cut - offset - b) / slope).clamp(0.0, 1.0);
                Exit {
                    criterion,
                    threshold: threshold(&0.0),
                    class_thresholds: classes.iter().map(threshold).collect(),
                }
            }
        }
    }

    /// Candidate cuts between the scores of some samples, ascending, from "everything leaves" to "only what is
    /// certain": see [`cuts`].
    pub(super) fn cuts(&self, scores: &[f64], most: usize) -> Vec<f64> {
        let simple = matches!(self, Scale::Confidence);
        cuts(scores, self.ends(), most, simple)
    }
}

/// At most `most` cuts between `ends`. The `i`-th of `m` inner ones keeps a share of `(i/m)²` of the samples from
/// leaving: thresholds are chosen where few are kept, and there they are dense. A cut is between two neighbouring
/// scores, so that it means the same with the next rounding; the shortest decimal there, if it is to be `simple`.
///
/// O(n log n).
fn cuts(scores: &[f64], ends: (f64, f64), most: usize, simple: bool) -> Vec<f64> {
    let mut sorted: Vec<f64> = scores.iter().copied().filter(|score| !score.is_nan()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let inner = most.saturating_sub(2);
    let mut cuts = vec![ends.0];
    for at in 1..=inner {
        let share = at as f64 / (inner + 1) as f64;
        let rank = (share * share * sorted.len() as f64).round() as usize;
        if rank == 0 || rank >= sorted.len() {
            continue;
        }
        let (below, above) = (sorted[rank - 1], sorted[rank]);
        let gap = above - below;
        // Scores closer than this may change places when a cut becomes thresholds; infinite ones leave no room.
        if !gap.is_finite() || gap <= 1e-12 * (1.0 + above.abs()) {
            continue;
        }
        let cut = if simple { shortest_decimal(below, above) } else { f64::midpoint(below, above) };
        if cut > cuts[cuts.len() - 1] && cut < ends.1 {
            cuts.push(cut);
        }
    }
    cuts.push(ends.1);
    cuts
}

/// The shortest decimal that is more than `below` and at most `above`, both in [0, 1]; their middle where 15 digits do
/// not part them.
fn shortest_decimal(below: f64, above: f64) -> f64 {
    let mut scale = 1.0;
    for _ in 0..15 {
        scale *= 10.0;
        let candidate = (above * scale).floor() / scale;
        if candidate > below && candidate <= above {
            return candidate;
        }
    }
    f64::midpoint(below, above)
}

/// Slope and offset of a logistic regression of `y` on `x`. A slope that is not clearly positive says that surer
/// samples are not less often harmed; then the order of the confidences is kept by a slope of 1.
fn regress(points: &[(f64, f64, usize)]) -> (f64, f64) {
    let (mut a, mut b) = (1.0, 0.0);
    for _ in 0..NEWTON_STEPS {
        // A weak prior around 1 and 0 keeps both finite where no sample is harmed.
        let (mut ga, mut gb) = (1.0 - a, -b);
        let (mut haa, mut hab, mut hbb) = (1.0, 0.0, 1.0);
        for &(x, y, _) in points {
            let p = sigmoid(a * x + b);
            let weight = p * (1.0 - p);
            ga += (y - p) * x;
            gb += y - p;
            haa += weight * x * x;
            hab += weight * x;
            hbb += weight;
        }
        let determinant = haa * hbb - hab * hab;
        if determinant <= f64::EPSILON {
            break;
        }
        let (da, db) = ((hbb * ga - hab * gb) / determinant, (haa * gb - hab * ga) / determinant);
        // Far from the optimum a full step may overshoot; the bound keeps the next one well-conditioned.
        a += da.clamp(-1.0, 1.0);
        b += db.clamp(-2.0, 2.0);
    }
    if a > 0.05 { (a, b) } else { (1.0, 0.0) }
}

fn logit(confidence: f64) -> f64 {
    let inside = confidence.clamp(LEAST_DOUBT, 1.0 - LEAST_DOUBT);
    (inside / (1.0 - inside)).ln()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::Random;
    use crate::{Prediction, predict};

    fn verdict(confidence: f32, label: u16) -> Verdict {
        Verdict { confidence, label, right: true }
    }

    #[test]
    fn cuts_are_short_decimals_between_confidences() {
        assert!((shortest_decimal(0.812_345, 0.849) - 0.84).abs() < 1e-12);
        assert!((shortest_decimal(0.5, 0.6) - 0.6).abs() < 1e-12);
        assert!((shortest_decimal(0.999_91, 0.999_99) - 0.999_9).abs() > 1e-6);
        let cuts = Scale::Confidence.cuts(&[0.2, 0.9, 0.9, 1.0, f64::NAN], 50);
        assert_eq!(cuts, [0.0, 0.9, 1.0]);
    }

    #[test]
    fn a_class_that_is_harmed_more_often_has_a_higher_threshold() {
        let mut random = Random::new(5);
        let (mut verdicts, mut fine) = (Vec::new(), Vec::new());
        for _ in 0..20_000 {
            let label = random.below(2) as u16;
            let confidence = random.between(0.5, 1.0);
            let doubt = if label == 0 { 1.0 } else { 4.0 } * (1.0 - confidence);
            verdicts.push(verdict(confidence, label));
            fine.push(random.between(0.0, 1.0) > doubt * 0.2);
        }
        let scale = Scale::by_class(&verdicts, &fine, 3);
        let exit = scale.exit(ExitCriterion::MaxSoftmax, 4.0);
        let [often, seldom, never] = exit.class_thresholds[..] else { panic!("{exit:?}") };
        assert!(often + 0.02 < seldom, "{exit:?}");
        // A class without samples is like all together.
        assert!((never - exit.threshold).abs() < 1e-9, "{exit:?}");
    }

    #[test]
    fn a_scale_survives_samples_that_say_nothing() {
        let cases: [&[Verdict]; 3] =
            [&[], &[verdict(f32::NAN, 0)], &[verdict(1.0, 0), verdict(1.0, 1)]];
        for verdicts in cases {
            let scale = Scale::by_class(verdicts, &vec![true; verdicts.len()], 2);
            let exit = scale.exit(ExitCriterion::MaxSoftmax, 0.0);
            let thresholds = exit.class_thresholds.iter();
            assert!(thresholds.chain([&exit.threshold]).all(|t| (0.0..=1.0).contains(t)));
        }
    }

    proptest! {
        /// The search counts scores at cuts; the tier compares confidences with thresholds. Both must agree.
        #[test]
        fn a_cut_and_its_exit_decide_alike(
            samples in prop::collection::vec((0.0f32..=1.0, 0usize..4, any::<bool>()), 1..200),
            by_class in any::<bool>(),
        ) {
            let rows: Vec<Vec<f32>> = samples.iter().map(|&(confidence, label, _)| {
                let mut row = vec![0.0; 4];
                row[label] = confidence;
                row
            }).collect();
            let predictions: Vec<Prediction<'_>> =
                rows.iter().map(|row| predict(row, ExitCriterion::MaxSoftmax)).collect();
            let verdicts: Vec<Verdict> = predictions.iter()
                .map(|p| verdict(p.confidence, p.label as u16)).collect();
            let fine: Vec<bool> = samples.iter().map(|&(_, _, fine)| fine).collect();
            let scale = if by_class {
                Scale::by_class(&verdicts, &fine, 4)
            } else {
                Scale::Confidence
            };
            let scores: Vec<f64> = verdicts.iter().map(|verdict| scale.score(*verdict)).collect();
            for cut in scale.cuts(&scores, 20) {
                let exit = scale.exit(ExitCriterion::MaxSoftmax, cut);
                for (prediction, &score) in predictions.iter().zip(&scores) {
                    prop_assert_eq!(exit.admits(prediction), score >= cut, "{:?} {}", exit, cut);
                }
            }
        }
    }
}

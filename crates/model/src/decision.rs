//! The decision at an exit: answer here, or forward to the next tier.
//!
//! It is taken for each sample by itself, from that sample's softmax vector only, and without any allocation. (The
//! paper's functions compare the maximum over a whole request with the threshold, so that one confident sample keeps
//! all its neighbours from being forwarded.)
//!
//! The softmax vector is the one that the [`Engine`](crate::Engine) gives, temperature applied: nothing here divides
//! by it again.

use std::borrow::Cow;

use wire::ExitCriterion;

/// When a sample may leave at an exit.
#[derive(Debug, Clone, PartialEq)]
pub struct Exit {
    /// What is computed from the softmax vector.
    pub criterion: ExitCriterion,
    /// The least confidence with which a sample leaves, in [0, 1].
    pub threshold: f64,
    /// The least confidence for each predicted class, in [0, 1], in the order of the labels; empty where `threshold`
    /// is that of all classes.
    pub class_thresholds: Vec<f64>,
}

/// What becomes of one sample at a tier.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decision<'row> {
    /// The tier answers.
    Exit(Prediction<'row>),
    /// The tier forwards the sample's features to the next.
    Forward,
}

/// One sample's answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction<'row> {
    /// The most probable class; the first of them where several are equal.
    pub label: usize,
    /// What the criterion compares with the threshold: in [0, 1], or not a number where the row holds one.
    pub confidence: f32,
    /// The whole softmax vector.
    pub row: &'row [f32],
}

impl Exit {
    /// An exit with one threshold for all classes.
    pub fn new(criterion: ExitCriterion, threshold: f64) -> Exit {
        Exit { criterion, threshold, class_thresholds: Vec::new() }
    }

    /// The least confidence with which a sample leaves whose most probable class is `label`.
    pub fn threshold_of(&self, label: usize) -> f64 {
        self.class_thresholds.get(label).copied().unwrap_or(self.threshold)
    }

    /// Whether a sample leaves with this prediction: its confidence is at least the threshold, both taken as `f64`,
    /// as the paper's functions compare. A confidence that is not a number never leaves.
    pub fn admits(&self, prediction: &Prediction<'_>) -> bool {
        f64::from(prediction.confidence) >= self.threshold_of(prediction.label)
    }

    /// The threshold for a person: one number, or the least and the largest of the classes'.
    pub fn shown_threshold(&self) -> Cow<'static, str> {
        let extreme = |start: f64, pick: fn(f64, f64) -> f64| {
            self.class_thresholds.iter().copied().fold(start, pick)
        };
        if self.class_thresholds.is_empty() {
            return self.threshold.to_string().into();
        }
        let (least, largest) =
            (extreme(f64::INFINITY, f64::min), extreme(f64::NEG_INFINITY, f64::max));
        format!("{least:.4} to {largest:.4} by class").into()
    }
}

/// Decides for one sample from the softmax vector `row` of its tier's exit.
///
/// With an `exit`, the sample leaves where [`Exit::admits`] it. Without one the tier is the last, and always answers.
pub fn decide<'row>(row: &'row [f32], exit: Option<&Exit>) -> Decision<'row> {
    let prediction = predict(row, exit.map(|exit| exit.criterion).unwrap_or_default());
    if exit.is_none_or(|exit| exit.admits(&prediction)) {
        Decision::Exit(prediction)
    } else {
        Decision::Forward
    }
}

/// What the softmax vector `row` says, and how surely by `criterion`.
pub fn predict(row: &[f32], criterion: ExitCriterion) -> Prediction<'_> {
    let (label, largest) = max_softmax(row);
    let confidence = match criterion {
        ExitCriterion::MaxSoftmax => largest,
        ExitCriterion::Margin => largest - second_softmax(row, label),
        ExitCriterion::Entropy => certainty(row),
    };
    Prediction { label, confidence, row }
}

/// The first position of the largest value and that value; not a number if any value is not.
fn max_softmax(row: &[f32]) -> (usize, f32) {
    let mut best = (0, f32::NEG_INFINITY);
    for (label, &value) in row.iter().enumerate() {
        if value.is_nan() {
            return (best.0, value);
        }
        if value > best.1 {
            best = (label, value);
        }
    }
    best
}

/// The largest value beside the one at `best`; 0 where there is none.
fn second_softmax(row: &[f32], best: usize) -> f32 {
    let others = row.iter().enumerate().filter(|&(label, _)| label != best);
    others.fold(0.0, |second, (_, &value)| second.max(value))
}

/// 1 − H / ln C. Rounding may carry it past either end, where it is cut.
fn certainty(row: &[f32]) -> f32 {
    if row.len() < 2 {
        // A single class leaves nothing to be unsure of; ln C is 0.
        return row
            .iter()
            .fold(1.0, |certain, value| if value.is_nan() { *value } else { certain });
    }
    let mut entropy = 0.0;
    for &value in row {
        // p ln p goes to 0 with p; values that are not numbers go into the sum.
        if value > 0.0 || value.is_nan() {
            entropy -= value * value.ln();
        }
    }
    // `clamp` keeps what is not a number.
    (1.0 - entropy / (row.len() as f32).ln()).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leaves_by(criterion: ExitCriterion, row: &[f32], threshold: f64) -> bool {
        matches!(decide(row, Some(&Exit::new(criterion, threshold))), Decision::Exit(_))
    }

    fn leaves(row: &[f32], threshold: f64) -> bool {
        leaves_by(ExitCriterion::MaxSoftmax, row, threshold)
    }

    #[test]
    fn a_confidence_equal_to_the_threshold_leaves() {
        assert!(leaves(&[0.5, 0.5], 0.5));
        assert!(!leaves(&[0.5, 0.5], 0.500_000_001));
    }

    #[test]
    fn the_comparison_widens_before_it_compares() {
        // 0.65 as a 32-bit float is 0.64999998: below the threshold 0.65, not equal to it.
        assert!(!leaves(&[0.65, 0.35], 0.65));
    }

    #[test]
    fn not_a_number_leaves_only_at_the_last_tier() {
        let row = [0.1, f32::NAN, 0.9];
        for criterion in ExitCriterion::ALL {
            assert!(!leaves_by(criterion, &row, 0.0), "{criterion}");
            assert!(!leaves_by(criterion, &[f32::NAN], 0.0), "{criterion}");
        }
        assert!(matches!(decide(&row, None), Decision::Exit(prediction) if prediction.label == 0));
    }

    #[test]
    fn the_first_of_equal_classes_wins() {
        let Decision::Exit(prediction) = decide(&[0.2, 0.4, 0.4], None) else { panic!() };
        assert_eq!((prediction.label, prediction.confidence), (1, 0.4));
        assert!(predict(&[0.2, 0.4, 0.4], ExitCriterion::Margin).confidence.abs() < f32::EPSILON);
    }

    #[test]
    fn each_criterion_is_what_its_formula_says() {
        let row = [0.5, 0.25, 0.125, 0.125];
        let entropy: f64 = row.iter().map(|&p: &f32| f64::from(p) * -f64::from(p).ln()).sum();
        for (criterion, expected) in [
            (ExitCriterion::MaxSoftmax, 0.5),
            (ExitCriterion::Margin, 0.25),
            (ExitCriterion::Entropy, 1.0 - entropy / 4f64.ln()),
        ] {
            let found = f64::from(predict(&row, criterion).confidence);
            assert!((found - expected).abs() < 1e-6, "{criterion}: {found}, expected {expected}");
        }
    }

    #[test]
    fn certain_is_1_and_undecided_the_least() {
        for criterion in ExitCriterion::ALL {
            let certain = predict(&[0.0, 1.0, 0.0], criterion).confidence;
            assert!((certain - 1.0).abs() < 1e-6, "{criterion}: {certain}");
            let undecided = predict(&[1.0 / 3.0; 3], criterion).confidence;
            assert!(undecided < 0.34, "{criterion}: {undecided}");
            let single = predict(&[1.0], criterion).confidence;
            assert!((single - 1.0).abs() < 1e-6, "{criterion}: {single}");
        }
    }

    #[test]
    fn each_class_has_its_own_threshold() {
        let exit =
            Exit { class_thresholds: vec![0.9, 0.5], ..Exit::new(ExitCriterion::MaxSoftmax, 0.7) };
        let leaves = |row: &[f32]| matches!(decide(row, Some(&exit)), Decision::Exit(_));
        assert!(!leaves(&[0.8, 0.2, 0.0]) && leaves(&[0.95, 0.05, 0.0]));
        assert!(leaves(&[0.4, 0.6, 0.0]) && !leaves(&[0.52, 0.48, 0.0]));
        // A class without one has the exit's.
        assert!(leaves(&[0.1, 0.1, 0.8]) && !leaves(&[0.2, 0.2, 0.6]));
    }

    fn softmax(logits: &[f32]) -> Vec<f32> {
        let sum: f32 = logits.iter().map(|logit| logit.exp()).sum();
        logits.iter().map(|logit| logit.exp() / sum).collect()
    }

    proptest! {
        #[test]
        fn raising_the_threshold_never_makes_a_sample_leave(
            row in prop::collection::vec(0.0f32..=1.0, 1..20),
            low in 0.0f64..=1.0,
            step in 0.0f64..=1.0,
        ) {
            for criterion in ExitCriterion::ALL {
                prop_assert!(
                    leaves_by(criterion, &row, low) || !leaves_by(criterion, &row, low + step)
                );
            }
        }

        #[test]
        fn confidence_is_a_number_from_0_to_1_that_no_order_of_classes_changes(
            logits in prop::collection::vec(-30.0f32..30.0, 1..20),
        ) {
            let row = softmax(&logits);
            let reversed: Vec<f32> = row.iter().rev().copied().collect();
            for criterion in ExitCriterion::ALL {
                let confidence = predict(&row, criterion).confidence;
                prop_assert!((0.0..=1.00001).contains(&confidence), "{criterion}: {confidence}");
                let other = predict(&reversed, criterion).confidence;
                prop_assert!((confidence - other).abs() < 1e-5, "{criterion}");
            }
        }
    }
}

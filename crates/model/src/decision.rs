//! The decision at an exit: answer here, or forward to the next tier.
//!
//! It is taken for each sample by itself, from that sample's softmax vector only. (The paper's
//! functions compare the maximum over a whole request with the threshold, so that one confident
//! sample keeps all its neighbours from being forwarded.)

use wire::ExitCriterion;

use crate::metadata::Exit;

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
    /// What the criterion compares with the threshold.
    pub confidence: f32,
    /// The whole softmax vector.
    pub row: &'row [f32],
}

/// Decides for one sample from the softmax vector `row` of its tier's exit.
///
/// With an `exit`, the sample leaves when its confidence is at least the threshold, both taken as
/// `f64`, as the paper's functions compare. A confidence that is not a number never leaves there.
/// Without one the tier is the last, and always answers.
pub fn decide<'row>(row: &'row [f32], exit: Option<&Exit>) -> Decision<'row> {
    let (label, confidence) = max_softmax(row);
    let leaves = match exit {
        None => true,
        Some(Exit { criterion: ExitCriterion::MaxSoftmax, threshold }) => {
            f64::from(confidence) >= *threshold
        }
    };
    if leaves { Decision::Exit(Prediction { label, confidence, row }) } else { Decision::Forward }
}

/// What `criterion` makes of the softmax vector `row`: a confidence in [0, 1], or not a number where `row`
/// holds one.
pub fn confidence(row: &[f32], criterion: ExitCriterion) -> f32 {
    match criterion {
        ExitCriterion::MaxSoftmax => max_softmax(row).1,
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn exit(threshold: f64) -> Exit {
        Exit { criterion: ExitCriterion::MaxSoftmax, threshold }
    }

    fn leaves(row: &[f32], threshold: f64) -> bool {
        matches!(decide(row, Some(&exit(threshold))), Decision::Exit(_))
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
        assert!(!leaves(&row, 0.0));
        assert!(matches!(decide(&row, None), Decision::Exit(prediction) if prediction.label == 0));
    }

    #[test]
    fn the_first_of_equal_classes_wins() {
        let Decision::Exit(prediction) = decide(&[0.2, 0.4, 0.4], None) else { panic!() };
        assert_eq!((prediction.label, prediction.confidence), (1, 0.4));
    }

    proptest! {
        #[test]
        fn raising_the_threshold_never_makes_a_sample_leave(
            row in prop::collection::vec(0.0f32..=1.0, 1..20),
            low in 0.0f64..=1.0,
            step in 0.0f64..=1.0,
        ) {
            prop_assert!(leaves(&row, low) || !leaves(&row, low + step));
        }
    }
}

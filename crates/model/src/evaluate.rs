//! Measures a cascade of sub-models on labelled samples.
//!
//! Every sample goes through every tier, so that each exit's accuracy and reliability are known over the whole
//! dataset; the thresholds then say which tier would have answered, and what would have been sent up.

use wire::Encoding;

use crate::dataset::Dataset;
use crate::{Exit, ExitCriterion, ModelError, SubModel, predict};

/// How many samples are run between two reports of progress.
const BATCH: usize = 256;

/// Bins of a reliability diagram, as in Guo et al. (2017).
pub const RELIABILITY_BINS: usize = 15;

/// One tier of a cascade under evaluation.
#[derive(Debug, Clone)]
pub struct Stage {
    /// What the tier runs.
    pub sub_model: SubModel,
    /// When a sample leaves there. Ignored at the last tier, which always answers.
    pub exit: Option<Exit>,
    /// How the tier writes features for the next. Counts bytes; the values that go on are not rounded by it.
    pub features: Encoding,
}

impl Stage {
    /// A tier with the exit that its sub-model's file names, and features as JSON.
    pub fn new(sub_model: SubModel) -> Stage {
        let exit = sub_model.metadata().exit.clone();
        Stage { sub_model, exit, features: Encoding::default() }
    }
}

/// What a cascade of tiers does to a dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The number of samples.
    pub samples: usize,
    /// The number of classes.
    pub classes: usize,
    /// In the order of the tiers.
    pub tiers: Vec<TierEvaluation>,
}

/// What one tier does to a dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct TierEvaluation {
    /// The tier's name, from its sub-model.
    pub tier: String,
    /// How many of all samples this exit classifies correctly.
    pub exit_correct: usize,
    /// How many samples leave here, given the thresholds.
    pub answered: usize,
    /// How many of those are classified correctly.
    pub answered_correct: usize,
    /// The bytes of the features of the samples that do not leave up to here, one record's value each.
    pub bytes_up: u64,
    /// How often, of the samples that leave here, one of class `c` gets the answer `p`: at `c * classes + p`.
    pub confusion: Vec<u32>,
    /// How the largest softmax probability of this exit compares with how often it is right, over all samples.
    pub reliability: Reliability,
}

/// Samples by their largest softmax probability, in bins of equal width from 0 to 1.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reliability {
    /// From the least sure to the surest.
    pub bins: [ReliabilityBin; RELIABILITY_BINS],
}

/// The samples of one bin.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ReliabilityBin {
    /// How many they are.
    pub count: usize,
    /// How many of them are classified correctly.
    pub correct: usize,
    /// The sum of their largest probabilities.
    pub confidence: f64,
}

impl Evaluation {
    /// The share of samples that get a correct answer, from whichever tier.
    pub fn accuracy(&self) -> f64 {
        self.share(self.tiers.iter().map(|tier| tier.answered_correct).sum())
    }

    /// The share of samples that `count` of them are; 0 of an empty dataset.
    pub fn share(&self, count: usize) -> f64 {
        count as f64 / self.samples.max(1) as f64
    }

    /// The bytes that a sample sends up, all hops together, in the mean.
    pub fn bytes_up(&self) -> f64 {
        let bytes: u64 = self.tiers.iter().map(|tier| tier.bytes_up).sum();
        bytes as f64 / self.samples.max(1) as f64
    }

    /// How often a sample of class `c` gets the answer `p`, from whichever tier: at `c * classes + p`.
    pub fn confusion(&self) -> Vec<u32> {
        let mut all = vec![0; self.classes * self.classes];
        for tier in &self.tiers {
            all.iter_mut().zip(&tier.confusion).for_each(|(sum, count)| *sum += count);
        }
        all
    }
}

impl Reliability {
    fn note(&mut self, confidence: f32, correct: bool) {
        if confidence.is_nan() {
            return;
        }
        let bin = (f64::from(confidence) * RELIABILITY_BINS as f64) as usize;
        let bin = &mut self.bins[bin.min(RELIABILITY_BINS - 1)];
        bin.count += 1;
        bin.correct += usize::from(correct);
        bin.confidence += f64::from(confidence);
    }

    /// The expected calibration error (Naeini et al., 2015; Guo et al., 2017, equation 3): how far a bin's accuracy is
    /// from its mean confidence, weighted by its samples. 0 where there are none.
    pub fn expected_calibration_error(&self) -> f64 {
        let samples: usize = self.bins.iter().map(|bin| bin.count).sum();
        let off = |bin: &ReliabilityBin| (bin.correct as f64 - bin.confidence).abs();
        self.bins.iter().map(off).sum::<f64>() / samples.max(1) as f64
    }
}

/// Runs all of `dataset` through `stages`, reporting after each batch how many samples are done.
///
/// # Errors
///
/// [`ModelError::Signature`] where a tier does not take what the one before it gives, knows fewer classes than the
/// dataset, or, before the last, has no exit; [`ModelError::Engine`] where an engine fails.
pub fn evaluate(
    stages: &[Stage],
    dataset: &Dataset,
    mut progress: impl FnMut(usize),
) -> Result<Evaluation, ModelError> {
    check_exits(stages)?;
    check_shapes(stages, dataset)?;
    let mut engines =
        stages.iter().map(|stage| stage.sub_model.engine()).collect::<Result<Vec<_>, _>>()?;
    let classes = stages.last().map_or(0, |stage| stage.sub_model.classes());
    let mut tiers: Vec<TierEvaluation> =
        stages.iter().map(|stage| TierEvaluation::empty(stage, classes)).collect();
    for start in (0..dataset.len()).step_by(BATCH) {
        let end = dataset.len().min(start + BATCH);
        let mut values = dataset.values(start..end);
        let mut waiting = vec![true; end - start];
        for (at, engine) in engines.iter_mut().enumerate() {
            let output = engine.run(&values)?;
            let is_last = at + 1 == stages.len();
            let exit = stages[at].exit.as_ref().filter(|_| !is_last);
            for (index, waiting) in waiting.iter_mut().enumerate() {
                let class = usize::from(dataset.labels[start + index]);
                let (row, tier) = (output.exit_row(index), &mut tiers[at]);
                *waiting = tier.note(row, class, exit, *waiting, classes);
                if let (true, Some(features)) = (*waiting, output.features_row(index)) {
                    tier.bytes_up += stages[at].features.encode([features]).len() as u64;
                }
            }
            values = output.features.unwrap_or_default();
        }
        progress(end);
    }
    Ok(Evaluation { samples: dataset.len(), classes, tiers })
}

impl TierEvaluation {
    fn empty(stage: &Stage, classes: usize) -> TierEvaluation {
        TierEvaluation {
            tier: stage.sub_model.metadata().tier.clone(),
            exit_correct: 0,
            answered: 0,
            answered_correct: 0,
            bytes_up: 0,
            confusion: vec![0; classes * classes],
            reliability: Reliability::default(),
        }
    }

    /// Notes what this exit makes of a sample; says whether it waits for an answer still.
    fn note(
        &mut self,
        row: &[f32],
        class: usize,
        exit: Option<&Exit>,
        waiting: bool,
        classes: usize,
    ) -> bool {
        let surest = predict(row, ExitCriterion::MaxSoftmax);
        let correct = surest.label == class;
        self.exit_correct += usize::from(correct);
        self.reliability.note(surest.confidence, correct);
        let leaves = exit.is_none_or(|exit| exit.admits(&predict(row, exit.criterion)));
        if !waiting || !leaves {
            return waiting;
        }
        self.answered += 1;
        self.answered_correct += usize::from(correct);
        if let Some(count) = self.confusion.get_mut(class * classes + surest.label) {
            *count += 1;
        }
        false
    }
}

fn fail<T>(
    sub_model: &SubModel,
    what: &'static str,
    found: String,
    expected: String,
) -> Result<T, ModelError> {
    Err(ModelError::Signature { name: sub_model.name().to_owned(), what, found, expected })
}

/// Checks that each tier before the last knows when a sample leaves.
fn check_exits(stages: &[Stage]) -> Result<(), ModelError> {
    let before_last = &stages[..stages.len().saturating_sub(1)];
    match before_last.iter().find(|stage| stage.exit.is_none()) {
        None => Ok(()),
        Some(Stage { sub_model, .. }) => {
            let expected = "one at every tier before the last".to_owned();
            fail(sub_model, "its exit's threshold", "missing".to_owned(), expected)
        }
    }
}

/// Checks that each tier takes what the one before it gives, and tells the dataset's classes apart.
pub(crate) fn check_shapes(stages: &[Stage], dataset: &Dataset) -> Result<(), ModelError> {
    let mut given = dataset.shape.clone();
    let classes = dataset.labels.iter().max().map_or(0, |&label| usize::from(label) + 1);
    for (at, Stage { sub_model, .. }) in stages.iter().enumerate() {
        if !sub_model.accepts(&given) {
            let found = format!("{:?}", sub_model.input_shape());
            return fail(sub_model, "its input's shape", found, format!("{given:?}, as is given"));
        }
        if sub_model.classes() < classes {
            let expected = format!("{classes} or more, as the dataset has");
            let found = sub_model.classes().to_string();
            return fail(sub_model, "its number of classes", found, expected);
        }
        if at + 1 == stages.len() {
            break;
        }
        let Some(features) = sub_model.features_shape() else {
            let expected = "one for the next tier".to_owned();
            return fail(sub_model, "its output of features", "missing".to_owned(), expected);
        };
        given = features.to_vec();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calibration_error_is_the_weighted_distance_between_being_sure_and_being_right() {
        let mut reliability = Reliability::default();
        assert!(reliability.expected_calibration_error().abs() < f64::EPSILON);
        // Three of four right at 0.9: 0.15 off. All right at 1: not off.
        for correct in [true, true, true, false] {
            reliability.note(0.9, correct);
        }
        for _ in 0..6 {
            reliability.note(1.0, true);
        }
        reliability.note(f32::NAN, false);
        let error = reliability.expected_calibration_error();
        assert!((error - 0.4 * 0.15).abs() < 1e-6, "{error}");
        assert_eq!(reliability.bins[RELIABILITY_BINS - 1].count, 6);
    }
}

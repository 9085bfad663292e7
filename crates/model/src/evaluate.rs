//! Measures a cascade of sub-models on labelled samples.
//!
//! Every sample goes through every tier, so that each exit's accuracy is known over the whole
//! dataset; the thresholds then say which tier would have answered.

use crate::dataset::Dataset;
use crate::{Decision, Exit, ModelError, SubModel, decide};

/// How many samples are run between two reports of progress.
const BATCH: usize = 256;

/// One tier of a cascade under evaluation.
#[derive(Debug, Clone)]
pub struct Stage {
    /// What the tier runs.
    pub sub_model: SubModel,
    /// When a sample leaves there. Ignored at the last tier, which always answers.
    pub exit: Option<Exit>,
}

impl Stage {
    /// A tier with the exit that its sub-model's file names.
    pub fn new(sub_model: SubModel) -> Stage {
        let exit = sub_model.metadata().exit;
        Stage { sub_model, exit }
    }
}

/// What a cascade of tiers does to a dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The number of samples.
    pub samples: usize,
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
}

/// Runs all of `dataset` through `stages`, reporting after each batch how many samples are done.
///
/// # Errors
///
/// [`ModelError::Signature`] where a tier does not take what the one before it gives, or where one
/// before the last has no exit; [`ModelError::Engine`] where an engine fails.
pub fn evaluate(
    stages: &[Stage],
    dataset: &Dataset,
    mut progress: impl FnMut(usize),
) -> Result<Evaluation, ModelError> {
    check(stages, &dataset.shape)?;
    let mut engines =
        stages.iter().map(|stage| stage.sub_model.engine()).collect::<Result<Vec<_>, _>>()?;
    let mut tiers: Vec<TierEvaluation> = stages
        .iter()
        .map(|stage| TierEvaluation {
            tier: stage.sub_model.metadata().tier.clone(),
            exit_correct: 0,
            answered: 0,
            answered_correct: 0,
        })
        .collect();
    for start in (0..dataset.len()).step_by(BATCH) {
        let end = dataset.len().min(start + BATCH);
        let mut values = dataset.values(start..end);
        let mut waiting = vec![true; end - start];
        for (at, engine) in engines.iter_mut().enumerate() {
            let output = engine.run(&values)?;
            let exit = if at + 1 < stages.len() { stages[at].exit } else { None };
            for (index, waiting) in waiting.iter_mut().enumerate() {
                let row = output.exit_row(index);
                let Decision::Exit(prediction) = decide(row, None) else { continue };
                let correct = prediction.label == usize::from(dataset.labels[start + index]);
                tiers[at].exit_correct += usize::from(correct);
                if *waiting && matches!(decide(row, exit.as_ref()), Decision::Exit(_)) {
                    *waiting = false;
                    tiers[at].answered += 1;
                    tiers[at].answered_correct += usize::from(correct);
                }
            }
            values = output.features.unwrap_or_default();
        }
        progress(end);
    }
    Ok(Evaluation { samples: dataset.len(), tiers })
}

/// Checks that each tier takes what the one before it gives.
fn check(stages: &[Stage], shape: &[usize]) -> Result<(), ModelError> {
    let fail = |sub_model: &SubModel, what, found: String, expected: String| {
        Err(ModelError::Signature { name: sub_model.name().to_owned(), what, found, expected })
    };
    let mut given = shape.to_vec();
    for (at, Stage { sub_model, exit }) in stages.iter().enumerate() {
        if !sub_model.accepts(&given) {
            let found = format!("{:?}", sub_model.input_shape());
            return fail(sub_model, "its input's shape", found, format!("{given:?}, as is given"));
        }
        if at + 1 == stages.len() {
            break;
        }
        if exit.is_none() {
            let expected = "one at every tier before the last".to_owned();
            return fail(sub_model, "its exit's threshold", "missing".to_owned(), expected);
        }
        let Some(features) = sub_model.features_shape() else {
            let expected = "one for the next tier".to_owned();
            return fail(sub_model, "its output of features", "missing".to_owned(), expected);
        };
        given = features.to_vec();
    }
    Ok(())
}

//! Why a network could not be trained.

use std::path::PathBuf;

use model::ModelError;
use thiserror::Error;

use crate::{Recipe, Samples};

/// Why a network could not be trained.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each variant's message is its documentation")]
pub enum TrainError {
    #[error("the {what} data: {problem}")]
    Samples { what: &'static str, problem: String },

    #[error("training diverged in epoch {epoch}; try a learning rate below {learning_rate}")]
    Diverged { epoch: usize, learning_rate: f64 },

    #[error("checkpoint `{}`: {problem}", path.display())]
    Checkpoint { path: PathBuf, problem: String },

    #[error("cannot read `{}`", path.display())]
    Read { path: PathBuf, source: std::io::Error },

    #[error("cannot write `{}`", path.display())]
    Write { path: PathBuf, source: std::io::Error },

    #[error("the trained network is no sub-model")]
    Model(#[from] ModelError),
}

/// Checks that `samples` are what `recipe` can learn from; `what` they are for, to people.
pub(crate) fn check_samples(
    recipe: &Recipe,
    what: &'static str,
    samples: &Samples,
) -> Result<(), TrainError> {
    let fail = |problem| Err(TrainError::Samples { what, problem });
    let (shape, expected) = (samples.shape(), &recipe.input.shape);
    // A channel of its own changes nothing: 28×28 is 28×28×1.
    let sizes =
        |shape: &[usize]| shape.iter().copied().filter(|&size| size != 1).collect::<Vec<_>>();
    if sizes(shape) != sizes(expected) {
        return fail(format!(
            "samples are {shape:?}, expected {expected:?}, the recipe's `input.shape`"
        ));
    }
    if !samples.is_whole() {
        let count = samples.len();
        return fail(format!(
            "its values are not {count} samples of {shape:?}, one for each label"
        ));
    }
    let classes = recipe.labels.len();
    if let Some(at) = samples.labels().iter().position(|&label| usize::from(label) >= classes) {
        return fail(format!(
            "sample {at} has label {}, expected less than {classes}, the number of the recipe's `labels`",
            samples.labels()[at]
        ));
    }
    if let Samples::Numbers(dataset) = samples
        && let Some(at) = dataset.samples.iter().position(|value| !value.is_finite())
    {
        let (sample, value) = (at / dataset.sample_len(), dataset.samples[at]);
        return fail(format!("sample {sample} holds {value}, expected finite numbers"));
    }
    Ok(())
}

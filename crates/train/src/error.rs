//! Why a network could not be trained.

use model::ModelError;
use model::dataset::Dataset;
use thiserror::Error;

use crate::Recipe;

/// Why a network could not be trained.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each variant's message is its documentation")]
pub enum TrainError {
    #[error("recipe: {0}")]
    Recipe(String),

    #[error("dataset: {0}")]
    Dataset(String),

    #[error("training diverged in epoch {epoch}; try a learning rate below {learning_rate}")]
    Diverged { epoch: usize, learning_rate: f64 },

    #[error("the training framework failed")]
    Framework(#[from] candle_core::Error),

    #[error("the trained network is no sub-model")]
    Model(#[from] ModelError),

    #[error("cannot create `{}`", path.display())]
    Write { path: std::path::PathBuf, source: std::io::Error },
}

/// Checks that `dataset` is what `recipe` can learn from.
pub(crate) fn check_dataset(recipe: &Recipe, dataset: &Dataset) -> Result<(), TrainError> {
    let classes = recipe.labels.len();
    if dataset.sample_len() * dataset.len() != dataset.samples.len() {
        return Err(TrainError::Dataset(format!(
            "{} values are not {} samples of shape {:?}",
            dataset.samples.len(),
            dataset.len(),
            dataset.shape
        )));
    }
    if let Some(label) = dataset.labels.iter().find(|&&label| usize::from(label) >= classes) {
        return Err(TrainError::Dataset(format!(
            "it has label {label}, expected less than {classes}, the number of classes"
        )));
    }
    if recipe.max_shift > 0 && dataset.shape.len() != 2 {
        return Err(TrainError::Dataset(format!(
            "samples of shape {:?} cannot be shifted, expected [rows, columns]",
            dataset.shape
        )));
    }
    Ok(())
}

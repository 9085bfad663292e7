//! The result of training: one sub-model per tier.

use std::path::{Path, PathBuf};

use model::dataset::Dataset;
use model::{Artefact, Exit, ExitCriterion, Metadata};

use crate::network::{INPUT_SCALE, Network};
use crate::{Recipe, TrainError};

/// The sub-models of a trained network, from the first tier to the last.
#[derive(Debug, Clone)]
pub struct Trained {
    tiers: Vec<(String, Artefact)>,
}

impl Trained {
    pub(crate) fn new(
        recipe: &Recipe,
        samples: &Dataset,
        network: &Network,
    ) -> Result<Trained, TrainError> {
        let training = recipe.describe(samples.len());
        let mut input_shape = samples.shape.clone();
        let mut input_scale = INPUT_SCALE;
        let mut tiers = Vec::new();
        for (tier, weights) in recipe.topology.tiers().into_iter().zip(network.weights()?) {
            let threshold = Exit::new(ExitCriterion::MaxSoftmax, recipe.threshold);
            let metadata = Metadata {
                tier: tier.name.clone(),
                labels: recipe.labels.clone(),
                input_shape: input_shape.clone(),
                input_scale,
                exit: weights.forwards.then_some(threshold),
                training: training.clone(),
                ..Metadata::default()
            };
            let artefact = Artefact::from_dense(&weights, &metadata)?;
            if let Some(features) = artefact.sub_model().features_shape() {
                features.clone_into(&mut input_shape);
                // Features are what they are.
                input_scale = 1.0;
            }
            tiers.push((tier.name, artefact));
        }
        Ok(Trained { tiers })
    }

    /// Each tier's name and sub-model, from the first tier to the last.
    pub fn tiers(&self) -> &[(String, Artefact)] {
        &self.tiers
    }

    /// Writes `<tier>.onnx` for each tier to `directory`, which is created where it is missing, and
    /// returns the paths.
    ///
    /// # Errors
    ///
    /// [`TrainError::Write`] or [`TrainError::Model`] where the file system refuses.
    pub fn write(&self, directory: &Path) -> Result<Vec<PathBuf>, TrainError> {
        std::fs::create_dir_all(directory)
            .map_err(|source| TrainError::Write { path: directory.to_owned(), source })?;
        self.tiers
            .iter()
            .map(|(name, artefact)| {
                let path = directory.join(name).with_extension("onnx");
                artefact.write(&path)?;
                Ok(path)
            })
            .collect()
    }
}

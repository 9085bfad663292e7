//! The result of training: one sub-model per tier.
//!
//! The trainer keeps the channels of a pixel together, and sub-models keep the pixels of a channel together, as ONNX
//! does; weights are put in that order on the way.

use std::path::{Path, PathBuf};

use model::{
    Arrangement, Artefact, Dense, Exit, ExitCriterion, Layer, Metadata, TierLayers, Window,
};

use crate::network::{Network, Operation, Patches, Step};
use crate::recipe::Shape;
use crate::{Recipe, TrainError};

/// The sub-models of a trained network, from the first tier to the last.
#[derive(Debug, Clone)]
pub struct Trained {
    tiers: Vec<(String, Artefact)>,
}

impl Trained {
    /// `epochs` that were done, and how many samples were learnt from and how many were held out.
    pub(crate) fn new(
        recipe: &Recipe,
        network: &Network,
        weights: &[f32],
        epochs: usize,
        (samples, held_out): (usize, usize),
    ) -> Result<Trained, TrainError> {
        let mut training = recipe.describe();
        training.insert("samples".to_owned(), samples.to_string());
        training.insert("held_out".to_owned(), held_out.to_string());
        training.insert("epochs_done".to_owned(), epochs.to_string());
        let last = network.tiers.len() - 1;
        let mut tiers = Vec::new();
        for (at, (tier, own)) in recipe.tiers.iter().zip(&network.tiers).enumerate() {
            let threshold =
                tier.threshold.map(|threshold| Exit::new(ExitCriterion::MaxSoftmax, threshold));
            let first = at == 0;
            let metadata = Metadata {
                tier: tier.name.clone(),
                labels: recipe.labels.clone(),
                input_shape: if first { recipe.input.shape.clone() } else { vec![own.input.len()] },
                // Features are what they are.
                input_scale: if first { recipe.input.scale } else { 1.0 },
                input_offset: if first { recipe.input.offset } else { 0.0 },
                exit: threshold,
                training: training.clone(),
                ..Metadata::default()
            };
            let exit = &network.exits[at];
            let layers = TierLayers {
                input: if first { Arrangement::Device } else { arrangement(own.input) },
                layers: layers(network, own.steps.clone(), own.input, weights),
                exit_after: kept(network, own.steps.start..exit.after),
                exit: dense(&exit.step, own.exit_input, weights),
                forwards: at < last,
            };
            tiers.push((tier.name.clone(), Artefact::from_layers(&layers, &metadata)?));
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

/// What the features of the tier before are.
fn arrangement(shape: Shape) -> Arrangement {
    match shape {
        Shape::Image { rows, columns, channels } => Arrangement::Image([channels, rows, columns]),
        Shape::Vector(_) => Arrangement::Vector,
    }
}

/// How many layers of a sub-model some steps become.
fn kept(network: &Network, steps: std::ops::Range<usize>) -> usize {
    let is_kept = |step: &&Step| !matches!(step.operation, Operation::Dropout { .. });
    network.chain[steps].iter().filter(is_kept).count()
}

fn layers(
    network: &Network,
    steps: std::ops::Range<usize>,
    mut shape: Shape,
    weights: &[f32],
) -> Vec<Layer> {
    let mut layers = Vec::new();
    for step in &network.chain[steps] {
        match &step.operation {
            Operation::Dense { rectified } => {
                layers.push(Layer::Dense {
                    dense: dense(step, shape, weights),
                    rectified: *rectified,
                });
                shape = Shape::Vector(step.outputs);
            }
            Operation::Conv { patches, rectified } => {
                layers.push(Layer::Conv {
                    kernel: kernel(step, patches, weights),
                    bias: weights[step.bias.clone()].to_vec(),
                    window: window(patches),
                    rectified: *rectified,
                });
                shape = image(patches, step.bias.len());
            }
            Operation::MaxPool(patches) => {
                layers.push(Layer::MaxPool(window(patches)));
                shape = image(patches, patches.channels);
            }
            Operation::AveragePool(patches) => {
                layers.push(Layer::AveragePool(window(patches)));
                shape = image(patches, patches.channels);
            }
            Operation::Dropout { .. } => {}
        }
    }
    layers
}

fn image(patches: &Patches, channels: usize) -> Shape {
    Shape::Image { rows: patches.out_rows, columns: patches.out_columns, channels }
}

fn window(patches: &Patches) -> Window {
    let crate::recipe::Window { size, stride, padding } = patches.window;
    Window { size, stride, padding }
}

/// `[channels out, channels in, rows, columns]` of `[rows, columns, channels in, channels out]`.
fn kernel(step: &Step, patches: &Patches, weights: &[f32]) -> Vec<f32> {
    let (weights, size) = (&weights[step.kernel.clone()], patches.window.size);
    let (inputs, outputs) = (patches.channels, step.bias.len());
    let mut kernel = Vec::with_capacity(weights.len());
    for output in 0..outputs {
        for input in 0..inputs {
            for place in 0..size * size {
                kernel.push(weights[(place * inputs + input) * outputs + output]);
            }
        }
    }
    kernel
}

/// The rows of an image's dense layer in the order channel, row, column.
fn dense(step: &Step, input: Shape, weights: &[f32]) -> Dense {
    let own = &weights[step.kernel.clone()];
    let channels = match input {
        Shape::Image { channels, .. } => channels,
        Shape::Vector(_) => 1,
    };
    let places = step.inputs / channels;
    let mut kernel = Vec::with_capacity(own.len());
    for channel in 0..channels {
        for place in 0..places {
            let row = place * channels + channel;
            kernel.extend(&own[row * step.outputs..(row + 1) * step.outputs]);
        }
    }
    Dense { kernel, bias: weights[step.bias.clone()].to_vec() }
}

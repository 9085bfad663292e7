//! Imports Keras models that were saved as HDF5 (`model.save("edge.h5")`).
//!
//! Reads what Keras 2 and Keras 3 write: Sequential and Functional models, whose outputs are
//! `[to_upper, exit]` or just the exit, as in Kafka-ML and in the paper. The import computes what
//! Keras computes, to within rounding, and keeps its data layout (channels last): the features that
//! a tier forwards are those that the Keras model would.
//!
//! What cannot be imported is refused with one error that names the layer, its class and option,
//! and what would work. Training state is ignored.

mod activation;
mod config;
mod convert;
mod file;
mod layers;
mod network;

use std::path::Path;

use crate::onnx::graph::Graph;
use crate::onnx::{EXIT, FEATURES};
use crate::sub_model::read_bounded;
use crate::{Artefact, Exit, Metadata, ModelError};

/// The most bytes that a Keras file may have: optimiser state triples the weights.
const MAX_BYTES: u64 = 2 << 30;

/// What a Keras file does not say.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportOptions {
    /// The name of the tier that the model is for.
    pub tier: String,
    /// One name per class; empty for `0`, `1`, ….
    pub labels: Vec<String>,
    /// When a sample may leave. Dropped for a model with a single output: it always answers.
    pub exit: Option<Exit>,
    /// Divides the logits before the softmax.
    pub temperature: f32,
    /// The network is fed `x * input_scale + input_offset`.
    pub input_scale: f32,
    /// See [`input_scale`](Self::input_scale).
    pub input_offset: f32,
}

impl Default for ImportOptions {
    fn default() -> ImportOptions {
        ImportOptions {
            tier: String::new(),
            labels: Vec::new(),
            exit: None,
            temperature: 1.0,
            input_scale: 1.0,
            input_offset: 0.0,
        }
    }
}

/// Makes a sub-model of the Keras model in the `.h5` file at `path`.
///
/// # Errors
///
/// [`ModelError::Unsupported`] where the model uses what this import does not know, and the other
/// [`ModelError`]s where the file is not what it should be.
pub fn import_h5(path: &Path, options: &ImportOptions) -> Result<Artefact, ModelError> {
    let bytes = read_bounded(path, MAX_BYTES)?;
    import_h5_bytes(&path.display().to_string(), bytes, options)
}

/// Makes a sub-model of the Keras model in this content of a `.h5` file; `name` is for errors.
///
/// # Errors
///
/// As [`import_h5`].
pub fn import_h5_bytes(
    name: &str,
    bytes: Vec<u8>,
    options: &ImportOptions,
) -> Result<Artefact, ModelError> {
    let file = file::KerasFile::open(name, bytes)?;
    let network = network::Network::parse(name, file.model_config())?;
    let mut graph = Graph::default();
    let converted = convert::convert(&network, &file, &mut graph)?;
    let (features, exit) = match &converted.outputs[..] {
        [exit] => (None, exit),
        [features, exit] if features != exit => (Some(features), exit),
        outputs => {
            return Err(ModelError::Signature {
                name: name.to_owned(),
                what: "the number of different outputs",
                found: outputs.len().to_string(),
                expected: "one (exit) or two (to the next tier, exit)".to_owned(),
            });
        }
    };
    let metadata = Metadata {
        tier: options.tier.clone(),
        labels: options.labels.clone(),
        input_shape: converted.input.shape.clone(),
        input_scale: options.input_scale,
        input_offset: options.input_offset,
        exit: options.exit.clone().filter(|_| features.is_some()),
        temperature: options.temperature,
        ..Metadata::default()
    };
    let outputs: Vec<_> =
        features.map(|value| (FEATURES, value)).into_iter().chain([(EXIT, exit)]).collect();
    let bytes = graph.finish(network.name(), &converted.input, &outputs, &metadata);
    Artefact::from_bytes(name, bytes)
}

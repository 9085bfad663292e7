//! Everything that can be wrong with a sub-model, its file or a call to it.

use std::path::PathBuf;

use thiserror::Error;

/// Why a sub-model could not be read, imported, written or run.
///
/// `name` is the file that the sub-model came from, as it was given to the loader.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each variant's message is its documentation")]
pub enum ModelError {
    #[error("cannot read `{}`", path.display())]
    Read { path: PathBuf, source: std::io::Error },

    #[error("cannot write `{}`", path.display())]
    Write { path: PathBuf, source: std::io::Error },

    #[error("`{name}` has {bytes} bytes, more than the {max} that a sub-model may have")]
    TooLarge { name: String, bytes: u64, max: u64 },

    #[error("`{name}` is not an ONNX model: {reason}")]
    NotOnnx { name: String, reason: String },

    #[error("sub-model `{name}`: metadata `{key}` is `{value}`, expected {expected}")]
    Metadata { name: String, key: &'static str, value: String, expected: &'static str },

    #[error("sub-model `{name}`: {what} is {found}, expected {expected}")]
    Signature { name: String, what: &'static str, found: String, expected: String },

    #[error(
        "sub-model `{name}`: output `{output}` comes from {found}, expected a softmax (the exit's \
         confidence is a probability)"
    )]
    NoSoftmax { name: String, output: String, found: String },

    #[error("sub-model `{name}`: weights `{tensor}` hold {value}, expected finite numbers")]
    NotFinite { name: String, tensor: String, value: f32 },

    #[error("network `{name}`: {problem}")]
    Network { name: String, problem: String },

    #[error(
        "network `{name}`: node `{node}` is a `{operator}` of `{domain}`, which the engine does not \
         know{way_out}"
    )]
    Operator { name: String, node: String, operator: String, domain: String, way_out: String },

    #[error("network `{name}`: weights `{tensor}` are in another file: {reason}")]
    External { name: String, tensor: String, reason: String },

    #[error("`{name}` is {found}, expected {expected}")]
    Format { name: String, found: String, expected: String },

    #[error("sub-model `{name}`: tensor `{tensor}` {problem}")]
    Tensor { name: String, tensor: String, problem: String },

    #[error("sub-model `{name}`: the engine cannot {action}: {reason}")]
    Engine { name: String, action: &'static str, reason: String },

    #[error(
        "sub-model `{name}`: engine `onnxruntime` is not part of this program; build it with \
         `--features onnxruntime`, or use `tract`"
    )]
    NoOnnxRuntime { name: String },

    #[error(
        "sub-model `{name}`: cannot load ONNX Runtime from `{}`: {reason}; expected its shared library, 1.17 or \
         newer, at the path in ORT_DYLIB_PATH, or {default} where the system's loader finds it",
        path.display()
    )]
    OnnxRuntimeLibrary { name: String, path: PathBuf, reason: String, default: String },

    #[error("sub-model `{name}`: {found} values are not a whole number of samples of {expected}")]
    Samples { name: String, found: usize, expected: usize },

    #[error("`{name}` is not an HDF5 file: {reason}")]
    NotHdf5 { name: String, reason: String },

    #[error("`{name}` is not a Keras model: {reason}")]
    NotKeras { name: String, reason: String },

    #[error("Keras model `{name}`: layer `{layer}`: {reason}")]
    Layer { name: String, layer: String, reason: String },

    #[error(transparent)]
    Unsupported(#[from] Box<Unsupported>),
}

/// What a Keras model uses that the import does not know.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "Keras model `{name}`: layer `{layer}` ({class}): {option} = {found} is not supported; \
     supported: {supported}"
)]
pub struct Unsupported {
    /// The file.
    pub name: String,
    /// The layer's name.
    pub layer: String,
    /// The layer's class.
    pub class: String,
    /// The option of the layer's configuration.
    pub option: String,
    /// Its value.
    pub found: String,
    /// The values that would have worked.
    pub supported: String,
}

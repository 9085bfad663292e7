//! Makes sub-models of files that other programs wrote.

use std::path::Path;

use crate::keras;
use crate::network::{Network, Part, SplitError};
use crate::onnx::check::features_and_exit;
use crate::{Artefact, Exit, ModelError};

/// What a file made elsewhere does not say.
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

/// Makes a sub-model of the file at `path`, whose extension says what it is: `.h5`, `.hdf5` or `.keras` for Keras,
/// `.onnx` for ONNX.
///
/// # Errors
///
/// [`ModelError::Format`] for other files, and as [`keras::import_h5`], [`keras::import_keras`] and [`import_onnx`].
pub fn import(path: &Path, options: &ImportOptions) -> Result<Artefact, SplitError> {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    let fail = |found: &str, expected: &str| {
        SplitError::from(ModelError::Format {
            name: path.display().to_string(),
            found: found.to_owned(),
            expected: expected.to_owned(),
        })
    };
    let convert = "an ONNX file; `python -m tf2onnx.convert` makes one";
    match extension.as_str() {
        "h5" | "hdf5" => Ok(keras::import_h5(path, options)?),
        "keras" => Ok(keras::import_keras(path, options)?),
        "onnx" => import_onnx(path, options),
        "tflite" => Err(fail(
            "a TensorFlow Lite model",
            &format!("{convert} (--tflite FILE --output FILE.onnx)"),
        )),
        "pb" => Err(fail(
            "a TensorFlow graph",
            &format!("{convert} (--saved-model DIR --output FILE.onnx)"),
        )),
        "pt" | "pth" | "pt2" => {
            Err(fail("a PyTorch model", "an ONNX file; `torch.onnx.export` makes one"))
        }
        _ => Err(fail("a file of unknown kind", "the extension .h5, .hdf5, .keras or .onnx")),
    }
}

/// Makes a sub-model of the ONNX file at `path`, as any program writes it: with one output, the exit, or two, features
/// and exit. An exit of logits gets a softmax.
///
/// # Errors
///
/// [`SplitError`] where the file is not what it should be, or its outputs can't be a sub-model's.
pub fn import_onnx(path: &Path, options: &ImportOptions) -> Result<Artefact, SplitError> {
    let network = Network::load(path)?;
    let outputs = network.outputs();
    let names: Vec<&str> = outputs.iter().map(|output| output.name.as_str()).collect();
    let Some((cut, exit)) = features_and_exit(&names) else {
        return Err(SplitError::from(ModelError::Signature {
            name: path.display().to_string(),
            what: "the list of outputs",
            found: format!("{names:?}"),
            expected:
                "[exit] or [features, exit]; `offramp model split` cuts a network of several exits"
                    .to_owned(),
        }));
    };
    network.extract(Part { from: None, cut, exit }, options)
}

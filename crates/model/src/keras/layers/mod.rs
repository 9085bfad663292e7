//! The layers that are known, one function each.
//!
//! Values keep Keras's layout. A layer that ONNX defines for channels first is put between two
//! transpositions, which the engine then moves together and removes.

mod dense;

use super::convert::Site;
use crate::ModelError;
use crate::onnx::graph::Value;

const SUPPORTED: &str = "Dense, Flatten, Reshape, Dropout";

/// Adds one call of a layer to the graph and returns its output.
pub(super) fn convert(site: &mut Site<'_>, inputs: &[&Value]) -> Result<Value, ModelError> {
    match site.layer.class.as_str() {
        "Dense" => dense::dense(site, inputs),
        "Flatten" => dense::flatten(site, inputs),
        "Dropout" => site.only(inputs).cloned(),
        class => Err(site.layer.unsupported("class", class, SUPPORTED)),
    }
}

//! Sub-models as ONNX: building graphs, and checking those that are given.
//!
//! Written at operator set 17 and format version 8, which both the engine here and ONNX Runtime
//! take. The batch dimension is symbolic; the outputs are named `features` and `exit`.

mod artefact;
pub(crate) mod check;
pub(crate) mod graph;
#[cfg(test)]
mod hostile;
mod layers;

mod rewrite;

pub use artefact::Artefact;
pub use layers::{Arrangement, Dense, Layer, TierLayers, Window};

/// The name of the output that the next tier continues from.
pub(crate) const FEATURES: &str = "features";
/// The name of the output with the exit's softmax vector.
pub(crate) const EXIT: &str = "exit";

//! Sub-models: the parts of a multi-exit network that each tier runs.
//!
//! A *sub-model* is one ONNX file. It takes samples and gives, for each, a softmax vector at its
//! `exit` and, unless it is the last tier's, the `features` that the next tier continues from.
//! Everything else that a tier needs to run it (labels, input scaling, exit criterion, threshold,
//! temperature) travels in the same file as metadata, so that a file is all that a tier is given.
//!
//! - [`import()`] makes such files from Keras models and from ONNX files that other programs wrote.
//! - [`Network`] is a whole network, described tensor by tensor, and split into sub-models.
//! - [`SubModel`] loads and validates one; [`Engine`] runs it, one per thread.
//! - [`decide`] turns one sample's softmax vector into [`Decision::Exit`] or [`Decision::Forward`].
//! - [`dataset`] reads MNIST-like files and NPZ archives, or draws digits where there are none.
//! - [`evaluate`] measures a whole cascade of sub-models on a dataset.
//! - [`calibrate`] finds the thresholds for what a cascade is to reach, and what can be promised of them.
//!
//! The engine is tract, or ONNX Runtime ([`EngineKind`]) in programs that are built with the feature `onnxruntime`.
//! This is the only crate that links either. It knows no topics, functions or
//! tiers beyond the name that a file carries.

pub mod calibrate;
pub mod dataset;
mod decision;
mod engine;
mod error;
pub mod evaluate;
mod files;
mod import;
pub mod keras;
mod metadata;
mod network;
mod onnx;
mod onnx_runtime;
pub mod random;
mod sub_model;
mod zip;

pub use decision::{Decision, Exit, Prediction, decide, predict};
pub use engine::{Engine, Output, Rows};
pub use error::{ModelError, Unsupported};
pub use files::write_whole;
pub use import::{ImportOptions, import, import_onnx};
pub use metadata::{Histogram, Metadata};
pub use network::{Cut, ExitPlace, Network, Operation, Outline, SplitError};
pub use onnx::{Arrangement, Artefact, Dense, Layer, TierLayers, Window};
pub use sub_model::{SubModel, TensorSummary};
pub use wire::{EngineKind, ExitCriterion};
pub use zip::unzip;

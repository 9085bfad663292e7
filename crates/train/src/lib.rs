//! Joint training of multi-exit networks.
//!
//! A network is one chain of layers, cut into tiers, with an exit hanging from it in each tier. All exits are trained
//! together, on the weighted sum of their losses (Teerapittayanon et al., BranchyNet, 2016), so that the layers of a
//! tier serve both its own exit and the tiers above; the earlier exits may learn from the last one besides. The
//! result is one sub-model per tier.
//!
//! A [`Recipe`] says what to train and how, [`Samples`] are what to learn from, and a [`Training`] goes through the
//! epochs and ends in [`Trained`]. The same recipe, samples and seed give the same files, byte for byte, on the same
//! kind of processor, on any number of cores, and whether or not a run was interrupted and resumed.
//!
//! It is its own trainer: the few layers that fit an edge, forwards and backwards, as products of matrices
//! (`network`). It reads no datasets, and no files but its checkpoints.

mod augment;
mod batch;
mod checkpoint;
mod error;
mod network;
mod optimizer;
mod recipe;
mod samples;
mod trained;
mod training;

pub use error::TrainError;
pub use recipe::{Invalid, Layer, Pooling, Problem, Recipe, Shape, Window};
pub use samples::Samples;
pub use trained::Trained;
pub use training::{Continue, Progress, Training};

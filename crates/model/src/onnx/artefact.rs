//! A finished sub-model file, not yet on disk.

use std::path::Path;

use super::rewrite;
use crate::files::write_whole;
use crate::sub_model::{MAX_BYTES, read_bounded};
use crate::{Metadata, ModelError, SubModel};

/// The bytes of a sub-model's ONNX file, known to load.
#[derive(Debug, Clone)]
pub struct Artefact {
    bytes: Vec<u8>,
    sub_model: SubModel,
}

impl Artefact {
    /// Takes the bytes of an ONNX file, if they are a sub-model.
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Artefact, ModelError> {
        let sub_model = SubModel::from_bytes(name, &bytes)?;
        Ok(Artefact { bytes, sub_model })
    }

    /// Reads the ONNX file at `path`.
    ///
    /// # Errors
    ///
    /// As [`SubModel::load`].
    pub fn load(path: &Path) -> Result<Artefact, ModelError> {
        Artefact::from_bytes(&path.display().to_string(), read_bounded(path, MAX_BYTES)?)
    }

    /// The same file with the exit, temperature, histogram and notes on calibration of `metadata`, all other bytes
    /// as they are.
    ///
    /// # Errors
    ///
    /// [`ModelError::NotOnnx`] where the file holds bytes that are no field, and as [`SubModel::from_bytes`].
    pub fn with_calibration(&self, metadata: &Metadata) -> Result<Artefact, ModelError> {
        let name = self.sub_model.name();
        let entries = metadata.exit_properties();
        let bytes = rewrite::with_metadata(&self.bytes, Metadata::is_exit_property, &entries)
            .ok_or_else(|| ModelError::NotOnnx {
                name: name.to_owned(),
                reason: "it is no sequence of fields".to_owned(),
            })?;
        Artefact::from_bytes(name, bytes)
    }

    /// The content of the file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The sub-model, loaded.
    pub fn sub_model(&self) -> &SubModel {
        &self.sub_model
    }

    /// Writes the file: a reader sees all of it or none of it, also when the writer dies half way.
    ///
    /// # Errors
    ///
    /// [`ModelError::Write`] where the file system refuses.
    pub fn write(&self, path: &Path) -> Result<(), ModelError> {
        write_whole(path, &self.bytes)
            .map_err(|source| ModelError::Write { path: path.to_owned(), source })
    }
}

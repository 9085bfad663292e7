//! The HDF5 side of a Keras file.
//!
//! ```text
//! /                    attribute model_config: JSON text
//! /model_weights       attribute layer_names
//! /model_weights/dense attribute weight_names: ["dense/kernel:0", "dense/bias:0"]
//! /model_weights/dense/dense/kernel:0     the name is a path, relative to the layer's group
//! ```
//!
//! A list of names that does not fit one attribute (64 KiB) is split into `layer_names0`,
//! `layer_names1`, …. A layer without weights has an empty list of *numbers*, not of strings.

use std::panic::{AssertUnwindSafe, catch_unwind};

use hdf5_pure::{DType, File, Group};
use serde_json::Value as Json;

use super::config::Layer;
use crate::ModelError;

const WEIGHTS: &str = "model_weights";

/// An open Keras file.
pub(super) struct KerasFile {
    name: String,
    model_config: Json,
    weights: Group,
    layer_names: Vec<String>,
    keras_version: String,
}

impl KerasFile {
    pub(super) fn open(name: &str, bytes: Vec<u8>) -> Result<KerasFile, ModelError> {
        let not_hdf5 = |reason| ModelError::NotHdf5 { name: name.to_owned(), reason };
        let not_keras = |reason: &str| ModelError::NotKeras {
            name: name.to_owned(),
            reason: reason.to_owned(),
        };
        let len = bytes.len() as u64;
        let file = guarded(|| File::from_bytes(bytes)).map_err(not_hdf5)?;
        let declared = file.superblock().eof_address;
        if declared > len {
            return Err(not_hdf5(format!("it ends after {len} of {declared} bytes")));
        }
        let root = file.root();
        let attributes = guarded(|| root.attrs()).map_err(not_hdf5)?;
        let text = attributes
            .get("model_config")
            .and_then(|config| config.as_str())
            .ok_or_else(|| not_keras("it has no `model_config` (were only the weights saved?)"))?;
        let keras_version = attributes
            .get("keras_version")
            .and_then(|version| version.as_str())
            .unwrap_or("2")
            .to_owned();
        let model_config = serde_json::from_str(text)
            .map_err(|error| not_keras(&format!("its `model_config` is not JSON: {error}")))?;
        let weights = guarded(|| file.group(WEIGHTS))
            .map_err(|error| not_keras(&format!("it has no group `{WEIGHTS}`: {error}")))?;
        let layer_names = names(&weights, "layer_names").map_err(not_hdf5)?;
        Ok(KerasFile { name: name.to_owned(), model_config, weights, layer_names, keras_version })
    }

    pub(super) fn model_config(&self) -> &Json {
        &self.model_config
    }

    /// Whether Keras 2, or one before it, wrote the file: it defines some functions differently.
    pub(super) fn is_keras_2(&self) -> bool {
        let major = self.keras_version.split('.').next().and_then(|major| major.parse().ok());
        major.is_none_or(|major: u32| major <= 2)
    }

    /// The weights of `layer` whose name ends in one of `roles` (`kernel`, `bias`, …), which must
    /// have `shape`.
    pub(super) fn weights(
        &self,
        layer: &Layer,
        roles: &[&str],
        shape: &[usize],
    ) -> Result<Vec<f32>, ModelError> {
        let fail = |reason: String| layer.error(format!("its weights `{}`: {reason}", roles[0]));
        if !self.layer_names.contains(&layer.name) {
            return Err(fail("the file's `layer_names` do not list the layer".to_owned()));
        }
        let group = guarded(|| self.weights.group(&layer.name)).map_err(&fail)?;
        let weight_names = names(&group, "weight_names").map_err(&fail)?;
        let path = weight_names
            .iter()
            .find(|name| roles.contains(&role_of(name)))
            .ok_or_else(|| fail(format!("not among {weight_names:?}")))?;
        let dataset = guarded(|| group.dataset(path)).map_err(&fail)?;
        let found = guarded(|| dataset.shape()).map_err(&fail)?;
        // Before it is read: a shape costs nothing, what it promises does.
        if !found.iter().copied().eq(shape.iter().map(|&size| size as u64)) {
            return Err(fail(format!("shape {found:?}, expected {shape:?}")));
        }
        match guarded(|| dataset.dtype()).map_err(&fail)? {
            DType::F32 | DType::F64 => {}
            other => return Err(fail(format!("type {other}, expected f32 or f64"))),
        }
        let values = guarded(|| dataset.read_f32()).map_err(&fail)?;
        if values.len() != shape.iter().product::<usize>() {
            return Err(fail(format!("{} values for shape {shape:?}", values.len())));
        }
        match values.iter().find(|value| !value.is_finite()) {
            None => Ok(values),
            Some(&value) => {
                Err(ModelError::NotFinite { name: self.name.clone(), tensor: path.clone(), value })
            }
        }
    }
}

/// The last part of a weight's name, without the `:0` that Keras 2 appends.
fn role_of(weight_name: &str) -> &str {
    let last = weight_name.rsplit('/').next().unwrap_or(weight_name);
    last.split(':').next().unwrap_or(last)
}

/// The strings of the attribute `attribute`, or of its parts `…0`, `…1`, ….
fn names(group: &Group, attribute: &str) -> Result<Vec<String>, String> {
    let attributes = guarded(|| group.attrs())?;
    let strings = |name: &str| -> Option<Vec<String>> {
        attributes.get(name).map(|value| value.as_strings().unwrap_or_default().to_vec())
    };
    if let Some(names) = strings(attribute) {
        return Ok(names);
    }
    let parts: Vec<String> =
        (0..).map_while(|part| strings(&format!("{attribute}{part}"))).flatten().collect();
    if parts.is_empty() {
        return Err(format!("it has no attribute `{attribute}`"));
    }
    Ok(parts)
}

/// Calls the HDF5 reader, which may panic on what a malformed file holds: that is the file's error.
fn guarded<T>(call: impl FnOnce() -> Result<T, hdf5_pure::Error>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("the HDF5 reader cannot make sense of it".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_found_in_the_names_of_both_keras_generations() {
        assert_eq!(role_of("dense/kernel:0"), "kernel");
        assert_eq!(role_of("sequential/dense_1/bias"), "bias");
        assert_eq!(role_of("gamma"), "gamma");
    }
}

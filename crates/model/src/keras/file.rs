//! The HDF5 side of a Keras file.
//!
//! ```text
//! /                    attribute model_config: JSON text
//! /model_weights       attribute layer_names
//! /model_weights/dense attribute weight_names: ["dense/kernel:0", "dense/bias:0"]
//! /model_weights/dense/dense/kernel:0     the name is a path, relative to the layer's group
//! ```
//!
//! In a `.keras` file, an archive of `config.json`, `metadata.json` and `model.weights.h5`, weights are numbered:
//!
//! ```text
//! /layers/conv2d_1/vars/0      of the second layer of class Conv2D; attribute name: the layer's name
//! /layers/sequential/layers/dense/vars/0      of a layer of a model in the model
//! ```
//!
//! A list of names that does not fit one attribute (64 KiB) is split into `layer_names0`,
//! `layer_names1`, …. A layer without weights has an empty list of *numbers*, not of strings.

use std::panic::{AssertUnwindSafe, catch_unwind};

use hdf5_pure::{DType, Dataset, File, Group};
use serde_json::Value as Json;

use super::config::Layer;
use crate::{ModelError, zip};

const WEIGHTS: &str = "model_weights";
/// The most bytes of a model's configuration: a layer takes about one thousand.
const MAX_CONFIG_BYTES: u64 = 64 << 20;

/// An open Keras file.
pub(super) struct KerasFile {
    name: String,
    model_config: Json,
    weights: Weights,
    keras_version: String,
}

enum Weights {
    Named { group: Group, layer_names: Vec<String> },
    Numbered(File),
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
        let weights = Weights::Named { group: weights, layer_names };
        Ok(KerasFile { name: name.to_owned(), model_config, weights, keras_version })
    }

    /// Opens the archive that Keras 3 writes.
    pub(super) fn open_archive(name: &str, archive: &[u8]) -> Result<KerasFile, ModelError> {
        let not_keras = |reason: String| ModelError::NotKeras { name: name.to_owned(), reason };
        let member = |member: &str, max: u64| {
            zip::member(archive, member, max)
                .map_err(|reason| not_keras(format!("it is no zip archive of Keras's: {reason}")))
        };
        let json = |file: &str| -> Result<Json, ModelError> {
            serde_json::from_slice(&member(file, MAX_CONFIG_BYTES)?)
                .map_err(|error| not_keras(format!("its `{file}` is not JSON: {error}")))
        };
        let model_config = json("config.json")?;
        let keras_version =
            json("metadata.json")?["keras_version"].as_str().unwrap_or("3").to_owned();
        let weights = member("model.weights.h5", super::MAX_BYTES)?;
        let len = weights.len() as u64;
        let not_hdf5 =
            |reason| ModelError::NotHdf5 { name: format!("{name}/model.weights.h5"), reason };
        let file = guarded(|| File::from_bytes(weights)).map_err(not_hdf5)?;
        let declared = file.superblock().eof_address;
        if declared > len {
            return Err(not_hdf5(format!("it ends after {len} of {declared} bytes")));
        }
        let weights = Weights::Numbered(file);
        Ok(KerasFile { name: name.to_owned(), model_config, weights, keras_version })
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
        let (dataset, path) = match &self.weights {
            Weights::Named { group, layer_names } => {
                named(group, layer_names, layer, roles).map_err(&fail)?
            }
            Weights::Numbered(file) => {
                let variables = layer.variables()?;
                let number = variables.iter().position(|role| roles.contains(role));
                let number = number.ok_or_else(|| fail(format!("not among {variables:?}")))?;
                numbered(file, layer, number).map_err(&fail)?
            }
        };
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
                Err(ModelError::NotFinite { name: self.name.clone(), tensor: path, value })
            }
        }
    }
}

/// The dataset of a layer's weights in a `.h5` file, and its path.
fn named(
    group: &Group,
    layer_names: &[String],
    layer: &Layer,
    roles: &[&str],
) -> Result<(Dataset, String), String> {
    // The weights of a model in the model are all under its name.
    let (outermost, inner) = match layer.name.split_once('/') {
        Some((outermost, inner)) if !layer_names.contains(&layer.name) => (outermost, Some(inner)),
        _ => (layer.name.as_str(), None),
    };
    if !layer_names.iter().any(|name| name == outermost) {
        return Err("the file's `layer_names` do not list the layer".to_owned());
    }
    let group = guarded(|| group.group(outermost))?;
    let weight_names = names(&group, "weight_names")?;
    let is_of_layer = |name: &str| match (inner, name.rsplit_once('/')) {
        (None, _) => true,
        (Some(inner), Some((of, _))) => {
            // Keras 2 names only the innermost model's layer, Keras 3 all models.
            of == inner || of.ends_with(&format!("/{inner}")) || inner.ends_with(&format!("/{of}"))
        }
        (Some(_), None) => false,
    };
    let mut found =
        weight_names.iter().filter(|name| roles.contains(&role_of(name)) && is_of_layer(name));
    let path = found.next().ok_or_else(|| format!("not among {weight_names:?}"))?;
    if inner.is_some() && found.next().is_some() {
        return Err(format!("more than one among {weight_names:?}"));
    }
    Ok((guarded(|| group.dataset(path))?, path.clone()))
}

/// The dataset of weights number `number` of a layer in a `.keras` file, and its path.
fn numbered(file: &File, layer: &Layer, number: usize) -> Result<(Dataset, String), String> {
    let variables = format!("{}/vars", layer.path);
    let group = guarded(|| file.group(&variables))?;
    let attributes = guarded(|| group.attrs())?;
    // Keras before 3.6 does not note the name.
    let noted = attributes.get("name").and_then(|name| name.as_str());
    let own = layer.name.rsplit('/').next().unwrap_or(&layer.name);
    if let Some(noted) = noted.filter(|noted| *noted != own) {
        return Err(format!("`{variables}` holds those of layer `{noted}`"));
    }
    let path = format!("{variables}/{number}");
    Ok((guarded(|| file.dataset(&path))?, path))
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

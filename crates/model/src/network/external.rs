//! Weights that an ONNX file keeps in files beside it.
//!
//! A tensor whose `data_location` is `EXTERNAL` has a list of entries in place of its data: `location`, a path relative
//! to the file's folder, and optionally `offset` and `length` in bytes. Exporters write one file for all tensors.
//! Afterwards the data is in the tensor itself. A location may not lead out of the folder, be it by `..`, by a root or
//! by a link, and all files together may hold no more than one file may.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Component, Path, PathBuf};

use tract_onnx::pb;
use tract_onnx::pb::tensor_proto::DataLocation;

use crate::ModelError;
use crate::sub_model::MAX_BYTES;

/// Reads the data of all such tensors of `model`, the file `name` in `folder`.
pub(super) fn read(
    name: &str,
    folder: &Path,
    model: &mut pb::ModelProto,
) -> Result<(), ModelError> {
    let mut files = Files { folder, open: HashMap::new(), left: MAX_BYTES };
    let graph = model.graph.iter_mut();
    for graph in graph {
        let attributes = graph.node.iter_mut().flat_map(|node| &mut node.attribute);
        let tensors = attributes.filter_map(|attribute| attribute.t.as_mut());
        for tensor in graph.initializer.iter_mut().chain(tensors) {
            if tensor.data_location != Some(DataLocation::External as i32) {
                continue;
            }
            let data = files.read(tensor).map_err(|reason| ModelError::External {
                name: name.to_owned(),
                tensor: tensor.name.clone(),
                reason,
            })?;
            tensor.raw_data = data;
            tensor.external_data.clear();
            tensor.data_location = Some(DataLocation::Default as i32);
        }
    }
    Ok(())
}

struct Files<'f> {
    folder: &'f Path,
    open: HashMap<String, File>,
    /// How many bytes may still be read.
    left: u64,
}

impl Files<'_> {
    fn read(&mut self, tensor: &pb::TensorProto) -> Result<Vec<u8>, String> {
        let entry = |key: &str| {
            let entry = tensor.external_data.iter().find(|entry| entry.key == key);
            entry.map(|entry| entry.value.as_str())
        };
        let number = |key: &'static str| match entry(key) {
            None => Ok(None),
            Some(text) => text
                .parse::<u64>()
                .map(Some)
                .map_err(|_| format!("its {key} is `{text}`, expected a number of bytes")),
        };
        let location = entry("location").ok_or("it has no location")?;
        let offset = number("offset")?.unwrap_or(0);
        let wanted = number("length")?;
        if !self.open.contains_key(location) {
            self.open.insert(location.to_owned(), open(self.folder, location)?);
        }
        let file = self.open.get_mut(location).expect("it was opened just above");
        let fail = |error: std::io::Error| format!("`{location}`: {error}");
        let len = file.metadata().map_err(fail)?.len();
        let length = wanted.unwrap_or(len.saturating_sub(offset));
        if offset.checked_add(length).is_none_or(|end| end > len) {
            return Err(format!(
                "`{location}` has {len} bytes, expected {length} of them from {offset} on"
            ));
        }
        self.left = self.left.checked_sub(length).ok_or_else(|| {
            format!("with `{location}` there are more than the {MAX_BYTES} bytes that a network may have")
        })?;
        file.seek(SeekFrom::Start(offset)).map_err(fail)?;
        let mut data = Vec::with_capacity(length as usize);
        file.take(length).read_to_end(&mut data).map_err(fail)?;
        if data.len() as u64 != length {
            return Err(format!("`{location}` became shorter while it was read"));
        }
        Ok(data)
    }
}

/// Opens the regular file at `location` in `folder`.
fn open(folder: &Path, location: &str) -> Result<File, String> {
    let path = inside(folder, location)?;
    let fail = |error: std::io::Error| format!("cannot read `{location}` beside it: {error}");
    // A device or a pipe has no length, and may have no end.
    if !std::fs::metadata(&path).map_err(fail)?.is_file() {
        return Err(format!("`{location}` is no file"));
    }
    File::open(path).map_err(fail)
}

fn inside(folder: &Path, location: &str) -> Result<PathBuf, String> {
    let outside = || {
        format!("`{location}` leads out of the network's folder, expected the path of a file in it")
    };
    let normal = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if location.is_empty() || !Path::new(location).components().all(normal) {
        return Err(outside());
    }
    let fail = |error: std::io::Error| format!("cannot find `{location}` beside it: {error}");
    let folder = folder.canonicalize().map_err(fail)?;
    let path = folder.join(location).canonicalize().map_err(fail)?;
    if path.starts_with(&folder) { Ok(path) } else { Err(outside()) }
}

//! NPZ archives, as NumPy's `savez` and `savez_compressed` write them.
//!
//! An archive is a ZIP file of arrays. The samples are the array `x` and the labels `y`, or one of
//! `x_train`, `y_train` and `x_test`, `y_test`, as in Keras' own copies of datasets. Samples are
//! bytes or numbers of up to 64 bits, labels whole numbers from 0 to 255; both in C order.
//!
//! Archives come from anywhere: sizes are bounded before anything is allocated, entries are read to
//! their declared length and no further, and names, offsets and headers are checked.

mod array;

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::Dataset;
use super::idx::Split;
use crate::zip;
use array::{Array, Values};

/// The most bytes that an archive may have, and that one of its arrays may unpack to.
pub const MAX_BYTES: u64 = 1 << 30;

/// Why an archive could not be read as a dataset.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each variant's message is its documentation")]
pub enum NpzError {
    #[error("cannot read `{}`", path.display())]
    Read { path: PathBuf, source: std::io::Error },

    #[error("`{}`: {problem}", path.display())]
    Archive { path: PathBuf, problem: String },

    #[error("`{}`: array `{array}` {problem}", path.display())]
    Array { path: PathBuf, array: String, problem: String },
}

/// The samples of an archive, as they are in it.
#[derive(Debug, Clone, PartialEq)]
pub enum Labelled {
    /// An array of bytes.
    Bytes(Dataset),
    /// An array of other numbers.
    Numbers(Dataset<f32>),
}

/// Reads one half of the dataset in the archive at `path`; `x` and `y` stand for either.
///
/// # Errors
///
/// Every [`NpzError`] names the file, the array and what was expected.
pub fn read(path: &Path, split: Split) -> Result<Labelled, NpzError> {
    let archive = |problem| NpzError::Archive { path: path.to_owned(), problem };
    let fail = |source| NpzError::Read { path: path.to_owned(), source };
    let len = std::fs::metadata(path).map_err(fail)?.len();
    if len > MAX_BYTES {
        return Err(archive(format!("it has {len} bytes, expected at most {MAX_BYTES}")));
    }
    let bytes = std::fs::read(path).map_err(fail)?;
    parse(path, &bytes, split)
}

fn parse(path: &Path, bytes: &[u8], split: Split) -> Result<Labelled, NpzError> {
    let archive = |problem| NpzError::Archive { path: path.to_owned(), problem };
    let entries = zip::entries(bytes).map_err(|problem| {
        archive(format!("it is no ZIP archive that numpy.savez wrote: {problem}"))
    })?;
    let half = match split {
        Split::Train => "train",
        Split::Test => "test",
    };
    let find = |letter: &str| {
        let names = [format!("{letter}_{half}"), letter.to_owned()];
        let found = names
            .iter()
            .find_map(|name| entries.iter().find(|entry| entry.name == format!("{name}.npy")));
        found.ok_or_else(|| {
            let has: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).take(20).collect();
            archive(format!("it has neither `{}` nor `{}`, only {has:?}", names[0], names[1]))
        })
    };
    let read = |letter: &str| -> Result<(String, Array), NpzError> {
        let entry = find(letter)?;
        let name = entry.name.trim_end_matches(".npy").to_owned();
        let problem =
            |problem| NpzError::Array { path: path.to_owned(), array: name.clone(), problem };
        let content = zip::content(bytes, entry, MAX_BYTES).map_err(problem)?;
        let array = Array::parse(&content).map_err(problem)?;
        Ok((name, array))
    };
    let (labels_name, labels) = read("y")?;
    let (name, samples) = read("x")?;
    let problem = |array: &str, problem| NpzError::Array {
        path: path.to_owned(),
        array: array.to_owned(),
        problem,
    };
    let labels = labels.labels().map_err(|text| problem(&labels_name, text))?;
    let (count, shape) = match &samples.shape[..] {
        [count, shape @ ..] if !shape.is_empty() && !shape.contains(&0) => (*count, shape.to_vec()),
        shape => {
            let text = format!(
                "has shape {shape:?}, expected samples and the sizes of one, as [60000, 28, 28]"
            );
            return Err(problem(&name, text));
        }
    };
    if count != labels.len() {
        let text = format!("has {count} samples, expected {}, one for each label", labels.len());
        return Err(problem(&name, text));
    }
    Ok(match samples.values {
        Values::Bytes(samples) => Labelled::Bytes(Dataset { shape, samples, labels }),
        Values::Whole(values) => {
            let samples = values.into_iter().map(|value| value as f32).collect();
            Labelled::Numbers(Dataset { shape, samples, labels })
        }
        Values::Real(samples) => Labelled::Numbers(Dataset { shape, samples, labels }),
    })
}

#[cfg(test)]
mod tests;

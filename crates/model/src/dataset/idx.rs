//! The IDX format, in which MNIST and its relatives are published.
//!
//! A file is big-endian: two zero bytes, a type (`0x08`, unsigned byte), the number of dimensions,
//! one 32-bit size per dimension, then the values. Images have three dimensions (count, rows,
//! columns) and labels one (count):
//!
//! ```text
//! 00 00 08 03  00 00 27 10  00 00 00 1c  00 00 00 1c  <10000 × 28 × 28 bytes>
//! 00 00 08 01  00 00 27 10                            <10000 bytes>
//! ```
//!
//! Files may be gzipped; the content says so, not the name. A file is read to its declared length
//! and no further, so a decompression bomb costs no more than a dataset of [`MAX_BYTES`].

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::GzDecoder;
use thiserror::Error;

use super::Dataset;

/// The most bytes that one file may unpack to: twenty times MNIST's training images.
pub const MAX_BYTES: u64 = 1 << 30;

/// Which half of a published dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// The samples to train on (`train-…`).
    Train,
    /// The samples to measure with (`t10k-…`).
    Test,
}

impl Split {
    fn stem(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Test => "t10k",
        }
    }
}

/// Why a dataset could not be read.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each variant's message is its documentation")]
pub enum IdxError {
    #[error("`{}` has neither `{name}` nor `{name}.gz`", directory.display())]
    Missing { directory: PathBuf, name: String },

    #[error("cannot read `{}`", path.display())]
    Read { path: PathBuf, source: std::io::Error },

    #[error(
        "`{}` starts with {found:02x?}, expected {expected:02x?} ({what} in IDX format, gzipped or \
         not)", path.display()
    )]
    Magic { path: PathBuf, found: [u8; 4], expected: [u8; 4], what: &'static str },

    #[error("`{}` ends early: {reason}", path.display())]
    Truncated { path: PathBuf, reason: String },

    #[error("`{}` goes on after the {expected} values that its header declares", path.display())]
    Trailing { path: PathBuf, expected: u64 },

    #[error("`{}` declares {shape:?} values, expected between 1 and {MAX_BYTES}", path.display())]
    Size { path: PathBuf, shape: Vec<u32> },

    #[error("`{}` holds {images} images and `{}` {labels} labels, expected as many",
        images_path.display(), labels_path.display())]
    Counts { images_path: PathBuf, images: usize, labels_path: PathBuf, labels: usize },
}

/// Reads one half of the dataset in `directory`.
///
/// Looks for `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`, or for `t10k-…`, each with
/// or without `.gz`. The shape of a sample is `[rows, columns]`.
///
/// # Errors
///
/// Every [`IdxError`] names the file and what was expected of it.
pub fn read(directory: &Path, split: Split) -> Result<Dataset, IdxError> {
    let stem = split.stem();
    let images_path = find(directory, &format!("{stem}-images-idx3-ubyte"))?;
    let labels_path = find(directory, &format!("{stem}-labels-idx1-ubyte"))?;
    let (shape, samples) = read_file(&images_path, 3, "images")?;
    let (_, labels) = read_file(&labels_path, 1, "labels")?;
    if shape[0] as usize != labels.len() {
        return Err(IdxError::Counts {
            images_path,
            images: shape[0] as usize,
            labels_path,
            labels: labels.len(),
        });
    }
    Ok(Dataset { shape: shape[1..].iter().map(|&size| size as usize).collect(), samples, labels })
}

fn find(directory: &Path, name: &str) -> Result<PathBuf, IdxError> {
    [name.to_owned(), format!("{name}.gz")]
        .iter()
        .map(|file| directory.join(file))
        .find(|path| path.is_file())
        .ok_or_else(|| IdxError::Missing { directory: directory.to_owned(), name: name.to_owned() })
}

fn read_file(
    path: &Path,
    dimensions: u8,
    what: &'static str,
) -> Result<(Vec<u32>, Vec<u8>), IdxError> {
    let fail = |source| IdxError::Read { path: path.to_owned(), source };
    let mut file = BufReader::new(File::open(path).map_err(fail)?);
    let gzipped = file.fill_buf().map_err(fail)?.starts_with(&[0x1f, 0x8b]);
    let mut content: Box<dyn Read> =
        if gzipped { Box::new(GzDecoder::new(file)) } else { Box::new(file) };

    let expected = [0, 0, 0x08, dimensions];
    let found = read_word(&mut content, path, "its magic number")?;
    if found != expected {
        return Err(IdxError::Magic { path: path.to_owned(), found, expected, what });
    }
    let mut shape = Vec::with_capacity(usize::from(dimensions));
    for _ in 0..dimensions {
        shape.push(u32::from_be_bytes(read_word(&mut content, path, "its sizes")?));
    }
    let bytes = shape
        .iter()
        .try_fold(1u64, |bytes, &size| bytes.checked_mul(u64::from(size)))
        .filter(|bytes| (1..=MAX_BYTES).contains(bytes))
        .ok_or_else(|| IdxError::Size { path: path.to_owned(), shape: shape.clone() })?;

    // Grows with what is there, not with what the header promises.
    let mut values = Vec::new();
    content
        .by_ref()
        .take(bytes)
        .read_to_end(&mut values)
        .map_err(|source| ends_early(source, path, "its values"))?;
    if (values.len() as u64) < bytes {
        let reason = format!("{} of {bytes} values", values.len());
        return Err(IdxError::Truncated { path: path.to_owned(), reason });
    }
    if content.read(&mut [0]).map_err(|source| ends_early(source, path, "its checksum"))? != 0 {
        return Err(IdxError::Trailing { path: path.to_owned(), expected: bytes });
    }
    Ok((shape, values))
}

fn read_word(content: &mut dyn Read, path: &Path, what: &str) -> Result<[u8; 4], IdxError> {
    let mut word = [0; 4];
    content.read_exact(&mut word).map_err(|source| ends_early(source, path, what))?;
    Ok(word)
}

fn ends_early(source: std::io::Error, path: &Path, what: &str) -> IdxError {
    if source.kind() == std::io::ErrorKind::UnexpectedEof {
        IdxError::Truncated { path: path.to_owned(), reason: format!("in {what}") }
    } else {
        IdxError::Read { path: path.to_owned(), source }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn idx(dimensions: &[u32], values: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, dimensions.len() as u8];
        bytes.extend(dimensions.iter().flat_map(|size| size.to_be_bytes()));
        bytes.extend(values);
        bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn directory(images: &[u8], labels: &[u8]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("t10k-images-idx3-ubyte"), images).unwrap();
        std::fs::write(directory.path().join("t10k-labels-idx1-ubyte.gz"), labels).unwrap();
        directory
    }

    fn error(images: &[u8], labels: &[u8]) -> String {
        let directory = directory(images, labels);
        let error = read(directory.path(), Split::Test).unwrap_err();
        format!("{error}").replace(&format!("{}/", directory.path().display()), "")
    }

    #[test]
    fn plain_and_gzipped_files_are_told_apart_by_content() {
        let images = idx(&[2, 1, 3], &[1, 2, 3, 4, 5, 6]);
        for labels in [idx(&[2], &[7, 9]), gzip(&idx(&[2], &[7, 9]))] {
            let directory = directory(&images, &labels);
            let dataset = read(directory.path(), Split::Test).unwrap();
            assert_eq!(dataset.shape, [1, 3]);
            assert_eq!(dataset.sample(1), [4, 5, 6]);
            assert_eq!(dataset.labels, [7, 9]);
        }
    }

    #[test]
    fn each_malformed_file_is_named_with_what_was_expected() {
        let images = idx(&[2, 1, 3], &[1, 2, 3, 4, 5, 6]);
        let labels = idx(&[2], &[7, 9]);
        assert_eq!(
            error(&labels, &images),
            "`t10k-images-idx3-ubyte` starts with [00, 00, 08, 01], expected [00, 00, 08, 03] \
             (images in IDX format, gzipped or not)"
        );
        assert_eq!(
            error(&images[..20], &labels),
            "`t10k-images-idx3-ubyte` ends early: 4 of 6 values"
        );
        assert_eq!(
            error(&images[..9], &labels),
            "`t10k-images-idx3-ubyte` ends early: in its sizes"
        );
        assert_eq!(
            error(&images, &gzip(&labels)[..22]),
            "`t10k-labels-idx1-ubyte.gz` ends early: in its checksum"
        );
        assert_eq!(
            error(&[&images[..], &[0]].concat(), &labels),
            "`t10k-images-idx3-ubyte` goes on after the 6 values that its header declares"
        );
        assert_eq!(
            error(&idx(&[u32::MAX, u32::MAX, 2], &[]), &labels),
            "`t10k-images-idx3-ubyte` declares [4294967295, 4294967295, 2] values, expected \
             between 1 and 1073741824"
        );
        assert_eq!(
            error(&images, &idx(&[1], &[7])),
            "`t10k-images-idx3-ubyte` holds 2 images and `t10k-labels-idx1-ubyte.gz` 1 labels, \
             expected as many"
        );
    }

    #[test]
    fn a_missing_file_is_named_both_ways() {
        let directory = directory(&[], &[]);
        let error = read(directory.path(), Split::Train).unwrap_err().to_string();
        assert!(
            error.ends_with("neither `train-images-idx3-ubyte` nor `train-images-idx3-ubyte.gz`")
        );
    }
}

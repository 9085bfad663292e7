//! What is learnt from.

use model::dataset::Dataset;
use sha2::{Digest, Sha256};

/// Labelled samples, as bytes or as numbers.
#[derive(Debug, Clone, PartialEq)]
pub enum Samples {
    /// As most images are.
    Bytes(Dataset),
    /// Measurements of any kind.
    Numbers(Dataset<f32>),
}

impl Samples {
    /// The number of samples.
    pub fn len(&self) -> usize {
        self.labels().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.labels().is_empty()
    }

    /// The shape of one.
    pub fn shape(&self) -> &[usize] {
        match self {
            Samples::Bytes(dataset) => &dataset.shape,
            Samples::Numbers(dataset) => &dataset.shape,
        }
    }

    /// The class of each.
    pub fn labels(&self) -> &[u8] {
        match self {
            Samples::Bytes(dataset) => &dataset.labels,
            Samples::Numbers(dataset) => &dataset.labels,
        }
    }

    /// Takes the last `count` samples away, or all where there are fewer, and returns them.
    #[must_use]
    pub fn split_off_last(&mut self, count: usize) -> Samples {
        match self {
            Samples::Bytes(dataset) => Samples::Bytes(dataset.split_off_last(count)),
            Samples::Numbers(dataset) => Samples::Numbers(dataset.split_off_last(count)),
        }
    }

    /// Whether what the values hold is as many samples as there are labels.
    pub(crate) fn is_whole(&self) -> bool {
        let len = |shape: &[usize]| shape.iter().product::<usize>() * self.len();
        match self {
            Samples::Bytes(dataset) => dataset.samples.len() == len(&dataset.shape),
            Samples::Numbers(dataset) => dataset.samples.len() == len(&dataset.shape),
        }
    }

    /// Writes the raw values of sample `index`.
    pub(crate) fn copy(&self, index: usize, values: &mut [f32]) {
        match self {
            Samples::Bytes(dataset) => {
                for (value, &byte) in values.iter_mut().zip(dataset.sample(index)) {
                    *value = f32::from(byte);
                }
            }
            Samples::Numbers(dataset) => values.copy_from_slice(dataset.sample(index)),
        }
    }

    /// Adds all of them to a digest.
    pub(crate) fn digest(&self, digest: &mut Sha256) {
        digest.update(format!("{:?}", self.shape()));
        digest.update(self.labels());
        match self {
            Samples::Bytes(dataset) => digest.update(&dataset.samples),
            Samples::Numbers(dataset) => {
                for value in &dataset.samples {
                    digest.update(value.to_le_bytes());
                }
            }
        }
    }
}

impl From<Dataset> for Samples {
    fn from(dataset: Dataset) -> Samples {
        Samples::Bytes(dataset)
    }
}

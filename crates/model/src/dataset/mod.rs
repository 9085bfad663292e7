//! Labelled samples, as raw bytes.
//!
//! [`idx`] reads MNIST and everything published in its format. [`drawn`] draws digits, so that
//! demos, tests and training work on a machine that has no dataset. There is no engine in here and
//! no normalisation: a sample is what a device would send.

pub mod drawn;
pub mod idx;

/// Samples of one shape, with one label each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// The shape of one sample, e.g. `[28, 28]`.
    pub shape: Vec<usize>,
    /// All samples one after the other, row-major, raw `0..=255`: `labels.len()` times the product
    /// of `shape`.
    pub samples: Vec<u8>,
    /// The class of each sample.
    pub labels: Vec<u8>,
}

impl Dataset {
    /// The number of samples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The number of values in one sample.
    pub fn sample_len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The raw values of sample `index`, row-major.
    ///
    /// # Panics
    ///
    /// When `index` is not less than [`len`](Self::len).
    pub fn sample(&self, index: usize) -> &[u8] {
        let len = self.sample_len();
        &self.samples[index * len..(index + 1) * len]
    }

    /// The samples `start..end` as numbers, as an [`Engine`](crate::Engine) takes them.
    ///
    /// # Panics
    ///
    /// When the range is not within the dataset.
    pub fn values(&self, range: std::ops::Range<usize>) -> Vec<f32> {
        let len = self.sample_len();
        self.samples[range.start * len..range.end * len].iter().map(|&v| f32::from(v)).collect()
    }

    /// The first `count` samples, or all where there are fewer.
    #[must_use]
    pub fn take(mut self, count: usize) -> Dataset {
        self.labels.truncate(count);
        self.samples.truncate(self.labels.len() * self.sample_len());
        self
    }

    /// The samples of this dataset followed by those of `other`, or `None` where their samples
    /// differ in shape.
    pub fn concat(mut self, other: &Dataset) -> Option<Dataset> {
        if self.shape != other.shape {
            return None;
        }
        self.samples.extend_from_slice(&other.samples);
        self.labels.extend_from_slice(&other.labels);
        Some(self)
    }
}

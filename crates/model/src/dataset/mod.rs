//! Labelled samples, as raw bytes or as numbers.
//!
//! [`idx`] reads MNIST and everything published in its format, [`npz`] the archives that NumPy
//! writes. [`drawn`] draws digits, so that demos, tests and training work on a machine that has no
//! dataset. There is no engine in here and no normalisation: a sample is what a device would send.

pub mod drawn;
pub mod idx;
pub mod npz;

/// Samples of one shape, with one label each; bytes, unless another type is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset<T = u8> {
    /// The shape of one sample, e.g. `[28, 28]`.
    pub shape: Vec<usize>,
    /// All samples one after the other, row-major, raw (bytes: `0..=255`): `labels.len()` times the
    /// product of `shape`.
    pub samples: Vec<T>,
    /// The class of each sample.
    pub labels: Vec<u8>,
}

impl<T: Copy> Dataset<T> {
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
    pub fn sample(&self, index: usize) -> &[T] {
        let len = self.sample_len();
        &self.samples[index * len..(index + 1) * len]
    }

    /// The samples `start..end` as numbers, as an [`Engine`](crate::Engine) takes them.
    ///
    /// # Panics
    ///
    /// When the range is not within the dataset.
    pub fn values(&self, range: std::ops::Range<usize>) -> Vec<f32>
    where
        f32: From<T>,
    {
        let len = self.sample_len();
        self.samples[range.start * len..range.end * len].iter().map(|&v| f32::from(v)).collect()
    }

    /// The first `count` samples, or all where there are fewer.
    #[must_use]
    pub fn take(mut self, count: usize) -> Self {
        self.labels.truncate(count);
        self.samples.truncate(self.labels.len() * self.sample_len());
        self
    }

    /// Takes the last `count` samples away, or all where there are fewer, and returns them.
    #[must_use]
    pub fn split_off_last(&mut self, count: usize) -> Self {
        let kept = self.len().saturating_sub(count);
        let samples = self.samples.split_off(kept * self.sample_len());
        Dataset { shape: self.shape.clone(), samples, labels: self.labels.split_off(kept) }
    }

    /// The samples of this dataset followed by those of `other`, or `None` where their samples
    /// differ in shape.
    pub fn concat(mut self, other: &Self) -> Option<Self> {
        if self.shape != other.shape {
            return None;
        }
        self.samples.extend_from_slice(&other.samples);
        self.labels.extend_from_slice(&other.labels);
        Some(self)
    }
}

//! Cuts a dataset into batches, in a new order and with new shifts in every epoch.

use candle_core::{Device, Tensor};
use model::dataset::Dataset;
use model::random::Random;

use crate::network::INPUT_SCALE;
use crate::{Recipe, TrainError};

/// The batches of a dataset.
pub(crate) struct Batches<'a> {
    dataset: &'a Dataset,
    batch_size: usize,
    max_shift: usize,
    order: Vec<usize>,
    random: Random,
}

impl<'a> Batches<'a> {
    pub(crate) fn new(recipe: &Recipe, dataset: &'a Dataset, random: Random) -> Batches<'a> {
        Batches {
            dataset,
            batch_size: recipe.batch_size,
            max_shift: recipe.max_shift,
            order: (0..dataset.len()).collect(),
            random,
        }
    }

    /// The number of batches; the last may be smaller.
    pub(crate) fn per_epoch(&self) -> usize {
        self.order.len().div_ceil(self.batch_size)
    }

    pub(crate) fn shuffle(&mut self) {
        self.random.shuffle(&mut self.order);
    }

    /// The inputs, `[n, values of a sample]`, and the labels, `[n]`, of batch `at`.
    pub(crate) fn batch(&mut self, at: usize) -> Result<(Tensor, Tensor), TrainError> {
        let start = at * self.batch_size;
        let end = self.order.len().min(start + self.batch_size);
        let len = self.dataset.sample_len();
        let mut inputs = Vec::with_capacity((end - start) * len);
        let mut labels = Vec::with_capacity(end - start);
        for &index in &self.order[start..end] {
            let sample = self.dataset.sample(index);
            if self.max_shift == 0 {
                inputs.extend(sample.iter().map(|&value| f32::from(value) * INPUT_SCALE));
            } else {
                let steps = 2 * self.max_shift + 1;
                let mut shift = || self.random.below(steps) as isize - self.max_shift as isize;
                let (down, right) = (shift(), shift());
                push_shifted(&mut inputs, sample, self.dataset.shape[1], down, right);
            }
            labels.push(u32::from(self.dataset.labels[index]));
        }
        let count = labels.len();
        Ok((
            Tensor::from_vec(inputs, (count, len), &Device::Cpu)?,
            Tensor::from_vec(labels, count, &Device::Cpu)?,
        ))
    }
}

/// Appends a sample moved down and right, with zeros where nothing moved in.
fn push_shifted(inputs: &mut Vec<f32>, sample: &[u8], columns: usize, down: isize, right: isize) {
    let rows = sample.len() / columns;
    for row in 0..rows {
        let from_row = row.checked_add_signed(-down).filter(|&row| row < rows);
        for column in 0..columns {
            let from = from_row
                .zip(column.checked_add_signed(-right).filter(|&column| column < columns))
                .map_or(0, |(row, column)| sample[row * columns + column]);
            inputs.push(f32::from(from) * INPUT_SCALE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_moves_and_fills_with_zeros() {
        let sample = [255, 0, 0, 255, 51, 0];
        let shifted = |down, right| {
            let mut inputs = Vec::new();
            push_shifted(&mut inputs, &sample, 3, down, right);
            inputs.iter().map(|value| (value * 255.0).round() as u8).collect::<Vec<_>>()
        };
        assert_eq!(shifted(0, 0), sample);
        assert_eq!(shifted(1, 0), [0, 0, 0, 255, 0, 0]);
        assert_eq!(shifted(-1, 1), [0, 255, 51, 0, 0, 0]);
        assert_eq!(shifted(0, -2), [0, 0, 0, 0, 0, 0]);
    }
}

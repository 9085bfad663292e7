//! Images that are never quite where they were keep a network from learning them by heart.

use model::random::Random;

use crate::recipe::{Augmentation, Shape};

/// Changes images of one shape.
#[derive(Debug)]
pub(crate) struct Augmenter {
    augmentation: Augmentation,
    rows: usize,
    columns: usize,
    channels: usize,
    before: Vec<f32>,
}

impl Augmenter {
    /// None where nothing is to be changed.
    pub(crate) fn new(augmentation: Augmentation, shape: Shape) -> Option<Augmenter> {
        let Shape::Image { rows, columns, channels } = shape else { return None };
        (augmentation != Augmentation::default()).then(|| Augmenter {
            augmentation,
            rows,
            columns,
            channels,
            before: vec![0.0; shape.len()],
        })
    }

    /// Turns, stretches and shifts `image`, whose raw values are given and returned; zeros move in from outside.
    pub(crate) fn change(&mut self, image: &mut [f32], random: &mut Random) {
        let Augmentation { shift_pixels, rotate_degrees, scale } = self.augmentation;
        let mut shift = || random.below(2 * shift_pixels + 1) as f32 - shift_pixels as f32;
        let (down, right) = (shift(), shift());
        let turn = random.between(-rotate_degrees, rotate_degrees).to_radians();
        let size = 1.0 + random.between(-scale, scale);
        self.before.copy_from_slice(image);
        let (sin, cos) = ((turn.sin() / size), (turn.cos() / size));
        let (middle_row, middle_column) =
            ((self.rows - 1) as f32 / 2.0, (self.columns - 1) as f32 / 2.0);
        for row in 0..self.rows {
            let y = row as f32 - middle_row - down;
            for column in 0..self.columns {
                let x = column as f32 - middle_column - right;
                let from_row = middle_row + cos * y - sin * x;
                let from_column = middle_column + sin * y + cos * x;
                let at = (row * self.columns + column) * self.channels;
                self.sample(from_row, from_column, &mut image[at..at + self.channels]);
            }
        }
    }

    /// The pixel at a place between pixels: the mean of the four around it, weighted by how near they are.
    fn sample(&self, row: f32, column: f32, pixel: &mut [f32]) {
        let (top, left) = (row.floor(), column.floor());
        let (down, right) = (row - top, column - left);
        pixel.fill(0.0);
        for (row, part) in [(top, 1.0 - down), (top + 1.0, down)] {
            // A float that is out of range becomes the nearest whole number, and stays outside.
            if row < 0.0 || row >= self.rows as f32 {
                continue;
            }
            for (column, share) in [(left, part * (1.0 - right)), (left + 1.0, part * right)] {
                if column < 0.0 || column >= self.columns as f32 || share == 0.0 {
                    continue;
                }
                let from = (row as usize * self.columns + column as usize) * self.channels;
                for (value, before) in pixel.iter_mut().zip(&self.before[from..]) {
                    *value += share * before;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(augmentation: Augmentation, image: &[f32], random: &mut Random) -> Vec<f32> {
        let shape = Shape::Image { rows: 3, columns: 3, channels: 1 };
        let mut image = image.to_vec();
        Augmenter::new(augmentation, shape).unwrap().change(&mut image, random);
        image
    }

    #[test]
    fn a_shift_moves_by_whole_pixels_and_fills_with_zeros() {
        let image = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];
        let shift = Augmentation { shift_pixels: 1, ..Augmentation::default() };
        let mut random = Random::new(1);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let found = changed(shift, &image, &mut random);
            seen.insert(found.iter().map(|value| *value as u8).collect::<Vec<_>>());
        }
        assert_eq!(seen.len(), 9, "{seen:?}");
        assert!(
            seen.contains(&vec![0, 0, 0, 0, 1, 2, 0, 4, 5])
                && seen.contains(&vec![2, 3, 0, 5, 6, 0, 8, 9, 0])
        );
    }

    #[test]
    fn turning_and_stretching_leave_the_middle_in_its_place() {
        let image = [0.0, 0.0, 0.0, 0.0, 8.0, 0.0, 0.0, 0.0, 0.0];
        let change = Augmentation { rotate_degrees: 30.0, scale: 0.2, ..Augmentation::default() };
        let mut random = Random::new(2);
        for _ in 0..50 {
            let found = changed(change, &image, &mut random);
            assert!((found[4] - 8.0).abs() < 1e-4, "{found:?}");
        }
    }
}

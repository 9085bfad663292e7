//! Digits that the program draws itself.
//!
//! For demos, tests and training on a machine without a dataset. A digit is a few strokes in one of
//! several ways of writing it, bent, slanted, turned and drawn with a pen of uneven width, then
//! normalised as MNIST is (Le Cun et al., 1998): white on black, the longer side scaled to 20 pixels,
//! the centre of mass in the middle of 28×28. The same seed gives the same digits.

mod pen;
mod strokes;

use super::Dataset;
use crate::random::Random;

/// The width and height of an image in pixels.
pub const SIDE: usize = 28;

/// Draws `count` digits: as many of each as of any other, give or take one, in random order.
pub fn draw(count: usize, seed: u64) -> Dataset {
    let mut random = Random::new(seed);
    let mut labels: Vec<u8> = (0..count).map(|index| (index % 10) as u8).collect();
    random.shuffle(&mut labels);
    let samples = labels.iter().flat_map(|&label| digit(label, &mut random.fork())).collect();
    Dataset { shape: vec![SIDE, SIDE], samples, labels }
}

/// Draws one digit: 28×28 pixels, row-major, 0 is black.
///
/// # Panics
///
/// When `label` is not a digit.
pub fn digit(label: u8, random: &mut Random) -> [u8; SIDE * SIDE] {
    let variants = strokes::VARIANTS[usize::from(label)];
    let variant = variants[random.below(variants.len())];
    pen::draw(variant, random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_digits() {
        assert_eq!(draw(30, 5), draw(30, 5));
        assert_ne!(draw(30, 5), draw(30, 6));
    }

    #[test]
    fn all_digits_are_drawn_equally_often_in_mixed_order() {
        let dataset = draw(205, 1);
        assert_eq!(dataset.samples.len(), 205 * 784);
        for digit in 0..10 {
            let counted = dataset.labels.iter().map(|&label| u32::from(label == digit));
            assert!((20..=21).contains(&counted.sum::<u32>()));
        }
        assert_ne!(dataset.labels[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn every_digit_is_normalised_as_mnist_is() {
        let dataset = draw(300, 2);
        for index in 0..dataset.len() {
            let image = dataset.sample(index);
            let inked = |x: usize, y: usize| image[y * SIDE + x] > 0;
            let any = |inked: &dyn Fn(usize) -> bool| (0..SIDE).filter(|&at| inked(at)).count();
            let height = any(&|y| (0..SIDE).any(|x| inked(x, y)));
            let width = any(&|x| (0..SIDE).any(|y| inked(x, y)));
            // A pixel of soft edge on either side.
            assert!((19..=22).contains(&height.max(width)), "{index}: {width}×{height}");

            let mass: f32 = image.iter().map(|&value| f32::from(value)).sum();
            let centre = |position: &dyn Fn(usize) -> usize| {
                let moments = image.iter().enumerate();
                moments.map(|(at, &v)| f32::from(v) * position(at) as f32).sum::<f32>() / mass
            };
            let (x, y) = (centre(&|at| at % SIDE), centre(&|at| at / SIDE));
            assert!((x - 13.5).abs() < 1.0 && (y - 13.5).abs() < 1.0, "{index}: {x}, {y}");
            // MNIST's images are 19 % ink on average, from 4 % (ones) to 45 %.
            let ink = mass / 255.0 / (SIDE * SIDE) as f32;
            assert!((0.02..0.45).contains(&ink), "{index}: {ink}");
        }
    }
}

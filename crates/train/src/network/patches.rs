//! What a window sees of an image at each of its positions.
//!
//! Images are row-major with the channels of a pixel together, so that a row of a window is one run of values. A
//! convolution is then one product of matrices: patches, one row per position, times the kernel.

use crate::recipe::{Shape, Window};

/// The positions of a window over images of one shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patches {
    rows: usize,
    columns: usize,
    pub(crate) channels: usize,
    pub(crate) out_rows: usize,
    pub(crate) out_columns: usize,
    pub(crate) window: Window,
}

impl Patches {
    /// # Panics
    ///
    /// When the window does not fit; a valid recipe has none of those.
    pub(crate) fn new(input: Shape, window: Window) -> Patches {
        let Shape::Image { rows, columns, channels } = input else {
            panic!("a window slides over {input}, expected an image");
        };
        let positions = |pixels| window.positions(pixels).expect("a window that fits");
        Patches {
            rows,
            columns,
            channels,
            out_rows: positions(rows),
            out_columns: positions(columns),
            window,
        }
    }

    /// The number of positions.
    pub(crate) fn positions(&self) -> usize {
        self.out_rows * self.out_columns
    }

    /// The number of values at one position.
    pub(crate) fn len(&self) -> usize {
        self.window.size * self.window.size * self.channels
    }

    /// Calls `visit(patch, image)` with each run of values that lies inside the image: where it begins in all
    /// patches, one after the other, and where in the image, and its length.
    fn runs(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let Window { size, stride, padding } = self.window;
        for out_row in 0..self.out_rows {
            for out_column in 0..self.out_columns {
                let patch = (out_row * self.out_columns + out_column) * self.len();
                let left = out_column * stride;
                let first = padding.saturating_sub(left);
                let end = size.min((self.columns + padding).saturating_sub(left));
                if first >= end {
                    continue;
                }
                for row in 0..size {
                    let Some(image_row) = (out_row * stride + row).checked_sub(padding) else {
                        continue;
                    };
                    if image_row >= self.rows {
                        break;
                    }
                    let image = (image_row * self.columns + left + first - padding) * self.channels;
                    let at = patch + (row * size + first) * self.channels;
                    visit(at, image, (end - first) * self.channels);
                }
            }
        }
    }

    /// Writes the patches of `image`; what lies outside of it is 0.
    pub(crate) fn gather(&self, image: &[f32], patches: &mut [f32]) {
        if self.window.padding > 0 {
            patches.fill(0.0);
        }
        self.runs(|at, from, len| {
            patches[at..at + len].copy_from_slice(&image[from..from + len]);
        });
    }

    /// Adds each value of `patches` to the value of the image that it came from: the transpose of
    /// [`gather`](Self::gather).
    pub(crate) fn scatter(&self, patches: &[f32], image: &mut [f32]) {
        self.runs(|at, to, len| {
            for (sum, value) in image[to..to + len].iter_mut().zip(&patches[at..at + len]) {
                *sum += value;
            }
        });
    }

    /// The largest value in each window, for each channel, and where in the image it is.
    pub(crate) fn largest(&self, image: &[f32], output: &mut [f32], places: &mut [u32]) {
        output.fill(f32::NEG_INFINITY);
        let (len, channels) = (self.len(), self.channels);
        self.runs(|at, from, run| {
            let out = at / len * channels;
            for offset in 0..run {
                let (to, value) = (out + offset % channels, image[from + offset]);
                if value > output[to] {
                    output[to] = value;
                    places[to] = (from + offset) as u32;
                }
            }
        });
    }

    /// The mean of each window, for each channel, padding included as zeros.
    pub(crate) fn mean(&self, image: &[f32], output: &mut [f32]) {
        output.fill(0.0);
        let (len, channels, share) = (self.len(), self.channels, self.share());
        self.runs(|at, from, run| {
            let out = at / len * channels;
            for offset in 0..run {
                output[out + offset % channels] += image[from + offset] * share;
            }
        });
    }

    /// Adds to each value of the image its share of the means' gradient: the transpose of [`mean`](Self::mean).
    pub(crate) fn spread(&self, gradient: &[f32], image: &mut [f32]) {
        let (len, channels, share) = (self.len(), self.channels, self.share());
        self.runs(|at, to, run| {
            let out = at / len * channels;
            for offset in 0..run {
                image[to + offset] += gradient[out + offset % channels] * share;
            }
        });
    }

    fn share(&self) -> f32 {
        1.0 / (self.window.size * self.window.size) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patches(size: usize, stride: usize, padding: usize) -> Patches {
        let image = Shape::Image { rows: 3, columns: 4, channels: 2 };
        Patches::new(image, Window { size, stride, padding })
    }

    /// The value at a place of the image, or 0 outside.
    fn at(image: &[f32], row: isize, column: isize, channel: usize) -> f32 {
        if !(0..3).contains(&row) || !(0..4).contains(&column) {
            return 0.0;
        }
        image[((row * 4 + column) * 2) as usize + channel]
    }

    #[test]
    fn patches_are_what_the_definition_says() {
        let image: Vec<f32> = (1..=24).map(|value| value as f32).collect();
        for (size, stride, padding) in
            [(1, 1, 0), (2, 1, 0), (3, 1, 1), (3, 2, 1), (3, 2, 2), (2, 3, 1)]
        {
            let patches = patches(size, stride, padding);
            let mut found = vec![0.0; patches.positions() * patches.len()];
            patches.gather(&image, &mut found);
            let mut found = found.into_iter();
            for out_row in 0..patches.out_rows {
                for out_column in 0..patches.out_columns {
                    for row in 0..size {
                        for column in 0..size {
                            for channel in 0..2 {
                                let place = |out, within| {
                                    (out * stride + within) as isize - padding as isize
                                };
                                let expected = at(
                                    &image,
                                    place(out_row, row),
                                    place(out_column, column),
                                    channel,
                                );
                                assert_eq!(
                                    found.next(),
                                    Some(expected),
                                    "{size} {stride} {padding}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn scattering_is_the_transpose_of_gathering() {
        // <gather(x), y> = <x, scatter(y)> for all x and y.
        let image: Vec<f32> = (0..24).map(|value| (value * 7 % 11) as f32).collect();
        for (size, stride, padding) in [(2, 1, 0), (3, 1, 1), (3, 2, 1)] {
            let patches = patches(size, stride, padding);
            let len = patches.positions() * patches.len();
            let other: Vec<f32> = (0..len).map(|value| (value * 5 % 13) as f32).collect();
            let (mut gathered, mut scattered) = (vec![0.0; len], vec![0.0; 24]);
            patches.gather(&image, &mut gathered);
            patches.scatter(&other, &mut scattered);
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let difference = dot(&gathered, &other) - dot(&image, &scattered);
            assert!(difference.abs() < 1e-3, "{difference}");
        }
    }
}

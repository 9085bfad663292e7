//! Discrete Fourier transforms, in the place of the crate that the engine depends on.
//!
//! The engine needs them for the operators DFT and STFT only, which hardly any network has that leaves early. Still the
//! crate of this name, whose code is made for each processor and each length, was a twentieth of the whole program. This
//! is what the engine calls of it, by Cooley and Tukey's algorithm for any factors ("An algorithm for the machine
//! calculation of complex Fourier series", 1965): n times the sum of n's prime factors.

use std::f64::consts::TAU;
use std::fmt::Debug;

pub use num_complex;
use num_complex::Complex;
pub use num_traits;
use num_traits::{FromPrimitive, Signed};

/// What may be transformed: `f32`, `f64`.
pub trait FftNum: Copy + FromPrimitive + Signed + Sync + Send + Debug + 'static {}

impl<T: Copy + FromPrimitive + Signed + Sync + Send + Debug + 'static> FftNum for T {}

/// Which transform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FftDirection {
    /// With exp(-2πi·jk/n).
    Forward,
    /// With exp(2πi·jk/n), and not divided by n.
    Inverse,
}

/// Makes transforms.
#[derive(Debug, Clone, Copy, Default)]
pub struct FftPlanner;

impl FftPlanner {
    /// One that knows nothing yet, and needs not.
    pub fn new() -> Self {
        Self
    }

    /// The transform of `len` values.
    pub fn plan_fft<T: FftNum>(&mut self, len: usize, direction: FftDirection) -> Fft<T> {
        Fft::new(len, direction)
    }

    /// The same forwards.
    pub fn plan_fft_forward<T: FftNum>(&mut self, len: usize) -> Fft<T> {
        Fft::new(len, FftDirection::Forward)
    }
}

/// The transform of a number of values.
#[derive(Debug, Clone)]
pub struct Fft<T> {
    /// exp(∓2πi·k/n) for each k below n.
    roots: Vec<Complex<T>>,
}

impl<T: FftNum> Fft<T> {
    fn new(len: usize, direction: FftDirection) -> Self {
        let turn = match direction {
            FftDirection::Forward => -TAU,
            FftDirection::Inverse => TAU,
        };
        let number = |value| T::from_f64(value).expect("floating-point numbers are made of them");
        let root = |k: usize| {
            let (sin, cos) = (turn * k as f64 / len as f64).sin_cos();
            Complex::new(number(cos), number(sin))
        };
        Self { roots: (0..len).map(root).collect() }
    }

    /// Transforms each `len` values of a buffer in its place.
    pub fn process(&self, buffer: &mut [Complex<T>]) {
        let Some(len) = Some(self.roots.len()).filter(|len| *len > 0) else { return };
        let mut values = Vec::with_capacity(len);
        let mut terms = Vec::new();
        for chunk in buffer.chunks_exact_mut(len) {
            values.clear();
            values.extend_from_slice(chunk);
            self.transform(&values, 1, chunk, &mut terms);
        }
    }

    /// Transforms every `stride`-th of the values: as many as `out` takes.
    fn transform(
        &self,
        values: &[Complex<T>],
        stride: usize,
        out: &mut [Complex<T>],
        terms: &mut Vec<Complex<T>>,
    ) {
        let n = out.len();
        if n == 1 {
            out[0] = values[0];
            return;
        }
        let factor = (2..=n).find(|factor| n.is_multiple_of(*factor)).unwrap_or(n);
        let part = n / factor;
        for (r, out) in out.chunks_exact_mut(part).enumerate() {
            self.transform(&values[r * stride..], stride * factor, out, terms);
        }
        // A root of order n is one of order `len`, `stride` times as far.
        let root = |exponent: usize| self.roots[exponent % n * stride];
        for k in 0..part {
            terms.clear();
            terms.extend((0..factor).map(|r| out[r * part + k] * root(r * k)));
            for q in 0..factor {
                let sum = terms.iter().enumerate().map(|(r, term)| term * root(r * q * part));
                out[q * part + k] =
                    sum.fold(Complex::new(T::zero(), T::zero()), |sum, term| sum + term);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by_definition(values: &[Complex<f64>], sign: f64) -> Vec<Complex<f64>> {
        let n = values.len();
        let turn = |j: usize, k: usize| {
            Complex::from_polar(1.0, sign * TAU * (j * k % n) as f64 / n as f64)
        };
        (0..n)
            .map(|k| values.iter().enumerate().map(|(j, value)| value * turn(j, k)).sum())
            .collect()
    }

    fn farthest(a: &[Complex<f64>], b: &[Complex<f64>]) -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - b).norm()).fold(0.0, f64::max)
    }

    proptest! {
        #[test]
        fn every_length_gives_the_sums_by_which_it_is_defined(
            values in prop::collection::vec((-1.0..1.0f64, -1.0..1.0f64), 1..200)
        ) {
            let values: Vec<_> = values.into_iter().map(|(re, im)| Complex::new(re, im)).collect();
            for (direction, sign) in [(FftDirection::Forward, -1.0), (FftDirection::Inverse, 1.0)] {
                let mut done = values.clone();
                FftPlanner::new().plan_fft(values.len(), direction).process(&mut done);
                prop_assert!(farthest(&done, &by_definition(&values, sign)) < 1e-10);
            }
        }
    }

    #[test]
    fn a_buffer_may_hold_several_and_their_inverse_is_as_many_times_what_they_were() {
        let values: Vec<_> = (0..3 * 30).map(|k| Complex::new(f64::from(k), 1.0)).collect();
        let mut done = values.clone();
        FftPlanner::new().plan_fft_forward(30).process(&mut done);
        assert!(farthest(&done[30..60], &by_definition(&values[30..60], -1.0)) < 1e-9);
        FftPlanner::new().plan_fft(30, FftDirection::Inverse).process(&mut done);
        let thirty_times: Vec<_> = values.iter().map(|value| value * 30.0).collect();
        assert!(farthest(&done, &thirty_times) < 1e-9);
    }

    #[test]
    fn singles_are_as_close_as_singles_are() {
        let values: Vec<_> = (0..512u16).map(|k| (f64::from(k % 7), f64::from(k % 5))).collect();
        let mut done: Vec<_> =
            values.iter().map(|(re, im)| Complex::new(*re as f32, *im as f32)).collect();
        FftPlanner::new().plan_fft_forward(512).process(&mut done);
        let done: Vec<_> =
            done.iter().map(|c| Complex::new(f64::from(c.re), f64::from(c.im))).collect();
        let values: Vec<_> = values.iter().map(|(re, im)| Complex::new(*re, *im)).collect();
        assert!(farthest(&done, &by_definition(&values, -1.0)) < 1e-3);
        FftPlanner::new().plan_fft_forward::<f32>(0).process(&mut []);
    }
}

//! Products of matrices: all the arithmetic that takes time.
//!
//! `ndarray` hands them to `matrixmultiply`, which picks the processor's widest instructions at run time and always
//! adds in the same order, so that the same product has the same bits on the same kind of processor.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2};

/// Row-major values seen as a matrix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<'a> {
    view: ArrayView2<'a, f32>,
}

impl<'a> Matrix<'a> {
    /// # Panics
    ///
    /// When there are fewer than `rows × columns` values; more are left out.
    pub(crate) fn new(values: &'a [f32], rows: usize, columns: usize) -> Matrix<'a> {
        let view = ArrayView2::from_shape((rows, columns), &values[..rows * columns])
            .expect("as many values as rows × columns");
        Matrix { view }
    }

    /// Rows as columns.
    pub(crate) fn transposed(self) -> Matrix<'a> {
        Matrix { view: self.view.reversed_axes() }
    }
}

/// `sum += left · right`, row-major.
pub(crate) fn add_product(left: Matrix<'_>, right: Matrix<'_>, sum: &mut [f32]) {
    product(left, right, 1.0, sum);
}

/// `result = left · right`, row-major.
pub(crate) fn set_product(left: Matrix<'_>, right: Matrix<'_>, result: &mut [f32]) {
    product(left, right, 0.0, result);
}

fn product(left: Matrix<'_>, right: Matrix<'_>, keep: f32, result: &mut [f32]) {
    let shape = (left.view.nrows(), right.view.ncols());
    let mut result = ArrayViewMut2::from_shape(shape, &mut result[..shape.0 * shape.1])
        .expect("as many values as rows × columns");
    general_mat_mul(1.0, &left.view, &right.view, keep, &mut result);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_definition() {
        let (left, right) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 0.0, 2.0, 1.0, 0.0, 3.0]);
        let mut result = vec![1.0; 4];
        add_product(Matrix::new(&left, 2, 3), Matrix::new(&right, 3, 2), &mut result);
        assert_eq!(result, vec![6.0, 12.0, 15.0, 24.0]);
        set_product(Matrix::new(&left, 3, 2).transposed(), Matrix::new(&right, 3, 2), &mut result);
        assert_eq!(result, vec![7.0, 18.0, 10.0, 22.0]);
    }
}

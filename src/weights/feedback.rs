//! Rounding that makes up for itself: what rounding one weight of a row changes, for the inputs the row meets, the weights
//! behind it take back. It finds what GPTQ (Frantar et al., 2022) finds, written as Babai's nearest plane: with the
//! products of inputs `H = R Rᵀ`, R upper triangular, the squared error `e H eᵀ` of a row is the sum over its columns i of
//! `(Rᵢᵢ eᵢ + Σ_{k<i} Rₖᵢ eₖ)²`, so that each weight is best rounded from where the ones before it left off.

use crate::error::{Error, Result};

/// For the rows of one matrix.
#[derive(Debug, Clone)]
pub struct ErrorFeedback {
    depth: usize,
    /// `[in, in]`: in row k what an error of column k adds to the columns behind it.
    carried: Vec<f32>,
}

/// Rows that are rounded together, so that what is carried is read once for all of them.
pub const TOGETHER: usize = 8;

/// Accumulators of an inner product, so that it is compiled to SIMD.
const LANES: usize = 8;

impl ErrorFeedback {
    /// `products` is the sum of `xᵀ x` over inputs `x`, `[in, in]`. As much as `damping` times the mean of its diagonal is
    /// added to that: what inputs have in common here and perhaps not elsewhere then counts for less.
    ///
    /// # Errors
    /// [`Error::Tensor`] for products that are not finite. `name` serves messages.
    pub fn new(name: &str, products: &[f32], depth: usize, damping: f64) -> Result<Self> {
        assert_eq!(products.len(), depth * depth, "products of {depth} inputs");
        let mean = (0..depth).map(|k| f64::from(products[k * depth + k])).sum::<f64>() / depth as f64;
        if !(mean.is_finite() && products.iter().all(|value| value.is_finite())) {
            return Err(Error::tensor(name, "inputs that are finite", "others"));
        }
        // Where nothing was seen, every error is as bad.
        let damping = if mean > 0.0 { mean * damping } else { 1.0 };
        let mut r: Vec<f64> = products.iter().map(|value| f64::from(*value)).collect();
        (0..depth).for_each(|k| r[k * depth + k] += damping);
        // H = R Rᵀ from the last column on: row i of R needs the rows below it.
        for j in (0..depth).rev() {
            let (above, rest) = r.split_at_mut(j * depth);
            let row = &mut rest[..depth];
            let pivot = (row[j] - dot(&row[j + 1..], &row[j + 1..])).max(f64::MIN_POSITIVE).sqrt();
            row[j] = pivot;
            for other in above.chunks_exact_mut(depth) {
                other[j] = (other[j] - dot(&other[j + 1..], &row[j + 1..])) / pivot;
            }
        }
        let diagonal: Vec<f64> = (0..depth).map(|k| r[k * depth + k]).collect();
        let mut carried = vec![0.0f32; depth * depth];
        for (k, (carried, r)) in carried.chunks_exact_mut(depth).zip(r.chunks_exact(depth)).enumerate() {
            for at in k + 1..depth {
                carried[at] = (r[at] / diagonal[at]) as f32;
            }
        }
        Ok(Self { depth, carried })
    }

    /// Adds what an error of each row's column `k` asks of the columns behind it. `targets` are whole rows.
    pub fn carry(&self, k: usize, errors: &[f32], targets: &mut [f32]) {
        let carried = &self.carried[k * self.depth + k + 1..(k + 1) * self.depth];
        for (row, error) in targets.chunks_exact_mut(self.depth).zip(errors) {
            row[k + 1..].iter_mut().zip(carried).for_each(|(target, carried)| *target += error * carried);
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f64 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        (0..LANES).for_each(|lane| sums[lane] += a[lane] * b[lane]);
    }
    rest + sums.iter().sum::<f64>()
}

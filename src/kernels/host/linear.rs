//! Linear layers with the activation behind them, norms, and log-probabilities.

use super::counted::{self, CountedWeights, RoundedRows};
use super::few_rows::{PlainRows, few_rows};
use super::lanes::{Lanes, Work, run};
use super::math::{LogSoftmax, Normalise};
use super::packed::few_packed_rows;
use super::parallel::{Room, Shared, ranges};
use super::product::{Finish, LeftRows, Rows, Transposed, product};
use super::{Ending, Matrix, Values, tensor};
use burn::tensor::Tensor;

/// From this many rows on a product in tiles is faster, though it has to pack the weights.
const MANY_ROWS: usize = 16;

/// `x Wᵀ + b` → + residual → activation.
///
/// # Shapes
/// `[.., in]`, weights `[out, in]` → `[.., out]`
pub fn linear<const D: usize>(
    x: &Tensor<D>,
    weights: &Matrix<'_>,
    Ending { bias, residual, activation }: Ending<'_, D>,
) -> Option<Tensor<D>> {
    let [count, depth] = weights.dims();
    let values = Values::of(x)?;
    let (bias, residual) = (Values::maybe(bias)?, Values::maybe(residual)?);
    let values = values.as_slice();
    let rows = values.len() / depth;
    let mut result = Room::new(rows * count);
    let out = result.shared();
    let finish = Finish {
        column_bias: bias.as_ref().map(Values::as_slice),
        residual: residual.as_ref().map(Values::as_slice),
        activation,
        ..Finish::default()
    };
    if rows < MANY_ROWS {
        match weights {
            Matrix::Plain(..) => few_rows(values, &PlainRows { rows: weights.rows(), depth, count }, out),
            Matrix::Packed(packed) => few_packed_rows(values, packed, out),
            Matrix::Split(split) => few_rows(values, split, out),
        }
        if finish.changes() {
            // SAFETY: all of it has been written.
            run(Finished { out: unsafe { out.part(0, rows * count) }, count, finish });
        }
    } else {
        let left = LeftRows { rows: Rows { values, stride: depth }, count: rows };
        let size = [rows, depth, count];
        match weights {
            Matrix::Plain(..) => product(&left, &Transposed { rows: weights.rows(), count }, size, out, count, &finish),
            Matrix::Packed(packed) if counted::pays(packed) => {
                let left = RoundedRows::new(left.rows, [rows, depth], packed.group);
                product(&left, &CountedWeights(packed), size, out, count, &finish)
            }
            Matrix::Packed(packed) => product(&left, packed, size, out, count, &finish),
            Matrix::Split(split) => product(&left, split, size, out, count, &finish),
        }
    }
    let mut shape = x.dims();
    shape[D - 1] = count;
    // SAFETY: all of it has been written.
    Some(tensor(unsafe { result.filled() }, shape, &x.device()))
}

/// What follows the sums of a few rows.
struct Finished<'a> {
    out: &'a mut [f32],
    count: usize,
    finish: Finish<'a>,
}

impl Work for Finished<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        for (row, values) in self.out.chunks_exact_mut(self.count).enumerate() {
            unsafe { self.finish.apply::<L>(row, 0, row * self.count, values) };
        }
    }
}

/// LayerNorm over the last dimension.
///
/// # Shapes
/// `[.., C]` → `[.., C]`
pub fn layer_norm<const D: usize>(
    x: &Tensor<D>,
    weight: &Tensor<1>,
    bias: &Tensor<1>,
    epsilon: f64,
) -> Option<Tensor<D>> {
    let (values, weight, bias) = (Values::of(x)?, Values::of(weight)?, Values::of(bias)?);
    let (values, weight, bias) = (values.as_slice(), weight.as_slice(), bias.as_slice());
    let whole = values.len().is_multiple_of(weight.len().max(1)) && weight.len() == bias.len();
    assert!(whole, "{} values, a weight of {}, a bias of {}", values.len(), weight.len(), bias.len());
    let mut result = Room::new(values.len());
    let out = result.shared();
    // SAFETY: it is written before it is read.
    let rows = unsafe { out.part(0, values.len()) };
    run(Normalise { x: values, weight, bias, epsilon: epsilon as f32, out: rows });
    // SAFETY: all of it has been written.
    Some(tensor(unsafe { result.filled() }, x.dims(), &x.device()))
}

/// Log-probabilities over the last dimension.
///
/// # Shapes
/// `[n, V]` → `[n, V]`
pub fn log_softmax(logits: &Tensor<2>) -> Option<Tensor<2>> {
    let [rows, width] = logits.dims();
    let mut values = Values::of(logits)?.as_slice().to_vec();
    let out = Shared::new(&mut values);
    ranges(rows, 1, rows * width * 16, |range| {
        for row in range {
            // SAFETY: each row is handed out once.
            run(LogSoftmax { row: unsafe { out.part(row * width, width) } });
        }
    });
    Some(tensor(values, [rows, width], &logits.device()))
}

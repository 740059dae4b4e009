//! The stem's pooling, which leaves channels outermost for the convolutions that read it.

use super::grid;
use super::launch::{F32, Launch};
use burn::tensor::Tensor;

/// As [`max_pool`](crate::kernels::max_pool).
///
/// # Shapes
/// `[B, C, h, w]` → `[B, C, ceil(h / 2), ceil(w / 2)]`
pub fn max_pool(x: Tensor<4>) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let [rows, columns] = [height, width].map(|side| side.div_ceil(2));
    Launch::new("pool", include_str!("pool.wgsl"), [64, 1, 1])
        .reads("input", F32, x)
        .number("planes", batch * channels)
        .number("rows", rows)
        .number("columns", columns)
        .number("height", height)
        .number("width", width)
        .into_new("pooled", F32, [batch, channels, rows, columns], grid(batch * channels * rows * columns, 64))
}

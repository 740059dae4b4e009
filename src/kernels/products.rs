//! Convolutions as products of matrices, channels in rows: what training runs, because backends' own convolutions are
//! slow to differentiate.

use super::host;
use burn::tensor::Tensor;

/// A convolution whose padding keeps the size at stride 1.
///
/// # Shapes
/// x `[in, B, h, w]`, weight `[out, in, k, k]` → `[out, B, ceil(h / stride), ceil(w / stride)]`
pub fn convolve(x: Tensor<4>, weight: Tensor<4>, stride: usize) -> Tensor<4> {
    if let Some(y) = host::gradients::convolve(&x, &weight, stride) {
        return y;
    }
    let [_, batch, height, width] = x.dims();
    let [out, channels, kernel, _] = weight.dims();
    let [rows, columns] = [height, width].map(|side| side.div_ceil(stride));
    let weight = weight.permute([0, 2, 3, 1]).reshape([out, kernel * kernel * channels]);
    weight.matmul(windows(x, kernel, stride)).reshape([out, batch, rows, columns])
}

/// What each step of a window sees.
///
/// # Shapes
/// x `[in, B, h, w]` → `[k · k · in, B · ceil(h / stride) · ceil(w / stride)]`
pub fn windows(x: Tensor<4>, kernel: usize, stride: usize) -> Tensor<2> {
    let [channels, batch, height, width] = x.dims();
    let [rows, columns] = [height, width].map(|side| side.div_ceil(stride));
    let count = batch * rows * columns;
    let x = if kernel == 1 { x } else { x.pad([(kernel / 2, kernel / 2); 2], 0.0) };
    // A window of one place sees the first rows and columns only.
    let phases = phases(x, stride, if kernel == 1 { 1 } else { stride * stride });
    let window = |at: usize| {
        let [row, column] = [at / kernel, at % kernel];
        let phase = phases[row % stride * stride + column % stride].clone();
        let [row, column] = [row / stride, column / stride];
        phase.slice([0..channels, 0..batch, row..row + rows, column..column + columns]).reshape([channels, count])
    };
    match kernel {
        1 => window(0),
        _ => Tensor::cat((0..kernel * kernel).map(window).collect(), 0),
    }
}

/// Every `stride`-th row and column, from each of the first ones on, row by row, the first `count`: what a window's steps visit. Slices with
/// steps would do, but not every backend finds the way back through them quickly.
///
/// # Shapes
/// `[C, B, h, w]` → s · s of `[C, B, ceil(h / s), ceil(w / s)]`, zeros beyond the border
fn phases(x: Tensor<4>, stride: usize, count: usize) -> Vec<Tensor<4>> {
    if stride == 1 {
        return vec![x];
    }
    let [channels, batch, height, width] = x.dims();
    let [rows, columns] = [height, width].map(|side| side.div_ceil(stride));
    let x = x.pad([(0, rows * stride - height), (0, columns * stride - width)], 0.0);
    let x = x.reshape([channels * batch, rows, stride, columns, stride]);
    let phase = |at: usize| {
        let [row, column] = [at / stride, at % stride];
        let phase = x.clone().slice([0..channels * batch, 0..rows, row..row + 1, 0..columns, column..column + 1]);
        phase.reshape([channels, batch, rows, columns])
    };
    (0..count).map(phase).collect()
}

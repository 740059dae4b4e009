//! Convolutions as products of matrices, channels in rows: what training runs, because backends' own convolutions are
//! slow to differentiate.

use burn::tensor::{Slice, Tensor};

/// A convolution whose padding keeps the size at stride 1.
///
/// # Shapes
/// x `[in, B, h, w]`, weight `[out, in, k, k]` → `[out, B, ceil(h / stride), ceil(w / stride)]`
pub fn convolve(x: Tensor<4>, weight: Tensor<4>, stride: usize) -> Tensor<4> {
    let [channels, batch, height, width] = x.dims();
    let [out, _, kernel, _] = weight.dims();
    let [rows, columns] = [height, width].map(|side| side.div_ceil(stride));
    let count = batch * rows * columns;
    let x = if kernel == 1 { x } else { x.pad([(kernel / 2, kernel / 2); 2], 0.0) };
    let window = |at: usize| {
        let steps = |first: usize, count: usize| {
            Slice::with_step(first as isize, Some((first + (count - 1) * stride + 1) as isize), stride as isize)
        };
        let window = [Slice::full(), Slice::full(), steps(at / kernel, rows), steps(at % kernel, columns)];
        x.clone().slice(window).reshape([channels, count])
    };
    let windows = if kernel == 1 && stride == 1 {
        x.clone().reshape([channels, count])
    } else {
        Tensor::cat((0..kernel * kernel).map(window).collect(), 0)
    };
    let weight = weight.permute([0, 2, 3, 1]).reshape([out, kernel * kernel * channels]);
    weight.matmul(windows).reshape([out, batch, rows, columns])
}

//! Packed 4- and 8-bit weights, MLX convention: `w = scale · u + bias` by groups along the input dimension.

use burn::tensor::{Int, Tensor};

/// Unpacks a matrix where it lies.
///
/// # Shapes
/// words `[out, in · bits / 32]` (low bits first), scales and biases `[out, in / group]` → `[out, in]`
pub fn unpack(words: Tensor<2, Int>, scales: Tensor<2>, biases: Tensor<2>, bits: usize) -> Tensor<2> {
    let [out, words_per_row] = words.dims();
    let [_, groups] = scales.dims();
    let per_word = 32 / bits;
    let width = words_per_row * per_word;
    let mask = (1i32 << bits) - 1;
    let values: Vec<Tensor<3>> = (0..per_word)
        .map(|place| {
            let shifted = words.clone().bitwise_right_shift_scalar((place * bits) as i32);
            shifted.bitwise_and_scalar(mask).float().reshape([out, words_per_row, 1])
        })
        .collect();
    let values = Tensor::cat(values, 2).reshape([out, groups, width / groups]);
    (values * scales.reshape([out, groups, 1]) + biases.reshape([out, groups, 1])).reshape([out, width])
}

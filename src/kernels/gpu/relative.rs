//! Relative position biases.

use super::grid;
use super::launch::{F32, Launch, U32};
use crate::kernels::pairs::{NONE, TOKEN};
use burn::tensor::{Int, Tensor};

/// # Shapes
/// absolute `[1 or B, H, T, L]`, rows of all pairs `[samples · T · L]`, tables `[.., H]` → `[1 or B, H, T, L]`
pub fn add_relative(
    absolute: Tensor<4>,
    rows: Tensor<1, Int>,
    samples: usize,
    [image, token]: [Tensor<2>; 2],
) -> Tensor<4> {
    let [absolute_batch, heads, queries, keys] = absolute.dims();
    let batch = absolute_batch.max(samples);
    let count = batch * heads * queries * keys;
    Launch::new("relative", include_str!("relative.wgsl"), [64, 1, 1])
        .constant("HEADS", heads as u32)
        .constant("TOKEN", TOKEN)
        .constant("NONE", NONE)
        .reads("absolute", F32, absolute)
        .reads_words("rows", U32, rows)
        .reads("image", F32, image)
        .reads("token", F32, token)
        .number("batch", batch)
        .number("pairs", queries * keys)
        .number("absolute_batch", absolute_batch)
        .number("rows_batch", samples)
        .into_new("sum", F32, [batch, heads, queries, keys], grid(count, 64))
}

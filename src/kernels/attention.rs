//! Softmax attention with an additive bias.

use super::host;
use burn::tensor::{Tensor, activation};

/// Added to the scores of keys that must not be seen. Not -inf: a row in which every key is masked (the padded
/// query of a sample without image) stays finite, and WGSL has no literal for infinity.
pub const MASKED: f32 = -1e30;

/// `softmax(q kᵀ + bias) v`; the query comes scaled.
///
/// # Shapes
/// q `[B, H, T, D]`, k and v `[B, H, L, D]`, bias broadcastable to `[B, H, T, L]` → `[B, H, T, D]`
pub fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, bias: Tensor<4>) -> Tensor<4> {
    if let Some(context) = host::attention(&q, &k, &v, &bias) {
        return context;
    }
    let scores = q.matmul(k.swap_dims(2, 3)) + bias;
    activation::softmax(scores, 3).matmul(v)
}

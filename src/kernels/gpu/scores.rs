//! Products of queries and keys, for biases that are made once.

use super::launch::{F32, F32X4, Launch};
use super::{grid, widened};
use burn::tensor::Tensor;

/// scale · q kᵀ + mask.
///
/// # Shapes
/// q `[1 or B, T, C]`, k `[1 or B, L, C]`, mask `[1 or B, 1, 1 or T, L]` → `[1 or B, H, T, L]`
pub fn scores(q: Tensor<3>, k: Tensor<3>, heads: usize, scale: f64, mask: Option<Tensor<4>>) -> Tensor<4> {
    let [q, k] = [q, k].map(|x| widened(x, heads));
    let ([q_batch, queries, width], [k_batch, keys, _]) = (q.dims(), k.dims());
    let [masks, _, mask_rows, _] = mask.as_ref().map_or([1; 4], Tensor::dims);
    let batch = q_batch.max(k_batch).max(masks);
    let launch = Launch::new("scores", include_str!("scores.wgsl"), [64, 1, 1])
        .constant("HEADS", heads as u32)
        .constant("QUADS", (width / heads / 4) as u32)
        .reads("q", F32X4, q)
        .reads("k", F32X4, k);
    let launch = match mask {
        Some(mask) => launch.with(MASKED).reads("mask", F32, mask),
        None => launch.with(OPEN),
    };
    let count = batch * heads * queries * keys.div_ceil(4);
    let launch = launch
        .number("batch", batch)
        .number("queries", queries)
        .number("keys", keys)
        .number("q_batch", q_batch)
        .number("k_batch", k_batch)
        .number("masks", masks)
        .number("mask_rows", mask_rows)
        .number("scale", (scale as f32).to_bits() as usize);
    launch.into_new("scores", F32, [batch, heads, queries, keys], grid(count, 64))
}

const MASKED: &str = "
fn masked(at: u32) -> f32 { return mask[at]; }
";
const OPEN: &str = "
fn masked(at: u32) -> f32 { return 0.0; }
";

//! The end of a residual branch and the norm with which the next one begins, in one pass over the rows.

use super::adapter::{Team, most_bindings};
use super::grid;
use super::launch::{F32X4, Launch};
use crate::kernels::norm::{LAYER_NORM_EPSILON, LayerNorm};
use burn::tensor::Tensor;

/// `sum = residual + inner(branch)` and `norm(sum)`; the sum is given where it is not the branch itself, and `None`
/// altogether for a width that is no multiple of four.
///
/// # Shapes
/// `[n, C]` each
pub fn residual_norm(
    residual: Option<Tensor<2>>,
    branch: Tensor<2>,
    inner: Option<&LayerNorm>,
    norm: &LayerNorm,
) -> Option<(Option<Tensor<2>>, Tensor<2>)> {
    match (residual, inner) {
        (Some(residual), Some(inner)) if most_bindings(&branch.device()) < BINDINGS => {
            let (_, branch) = residual_norm_as(Team::of_adapter(), None, branch, None, inner)?;
            residual_norm_as(Team::of_adapter(), Some(residual), branch, None, norm)
        }
        (residual, inner) => residual_norm_as(Team::of_adapter(), residual, branch, inner, norm),
    }
}

/// Bindings of the kernel that adds a residual to a norm and makes another. WebGPU promises eight.
const BINDINGS: usize = 9;

pub fn residual_norm_as(
    team: Team,
    residual: Option<Tensor<2>>,
    branch: Tensor<2>,
    inner: Option<&LayerNorm>,
    norm: &LayerNorm,
) -> Option<(Option<Tensor<2>>, Tensor<2>)> {
    let [rows, width] = branch.dims();
    if !width.is_multiple_of(4) {
        return None;
    }
    // Alone, an invocation takes a row; a group of eight keeps an emulated adapter's vector units full.
    let (size, lanes) = if team == Team::Alone { (8, 1) } else { (128, 128) };
    let mut launch = Launch::new("norm", include_str!("norm.wgsl"), [size, 1, 1])
        .with(team.sums())
        .constant("LANES", lanes)
        .number("quads", width / 4)
        .reads("branch", F32X4, branch.clone());
    launch = match inner {
        Some(inner) => launch
            .with(include_str!("norm_inner.wgsl"))
            .reads("inner_weight", F32X4, inner.weight.val())
            .reads("inner_bias", F32X4, inner.bias.val()),
        None => launch.with(NO_INNER_NORM),
    };
    let sums = residual.is_some() || inner.is_some();
    launch = match residual {
        Some(residual) => launch.with(WITH_RESIDUAL).reads("residual", F32X4, residual),
        None => launch.with(NO_RESIDUAL),
    };
    launch = launch.reads("weight", F32X4, norm.weight.val()).reads("bias", F32X4, norm.bias.val());
    let (launch, sum) = if sums {
        let (launch, sum) = launch.with(KEEPS_SUM).makes("sums", F32X4, [rows, width]);
        (launch, Some(sum))
    } else {
        (launch.with(NO_SUM), None)
    };
    let groups = grid(rows * lanes as usize, size as usize);
    let launch = launch.number("rows", rows).number("epsilon", (LAYER_NORM_EPSILON as f32).to_bits() as usize);
    Some((sum, launch.into_new("normed", F32X4, [rows, width], groups)))
}

const NO_INNER_NORM: &str = "
fn inner_spread(start: u32, lane: u32, local: u32) -> Spread { return Spread(0.0, 1.0); }
fn normed_branch(start: u32, quad: u32, inner: Spread) -> vec4<f32> { return branch[start + quad]; }
";
const WITH_RESIDUAL: &str = "
fn added(start: u32, quad: u32, inner: Spread) -> vec4<f32> {
    return residual[start + quad] + normed_branch(start, quad, inner);
}
";
const NO_RESIDUAL: &str = "
fn added(start: u32, quad: u32, inner: Spread) -> vec4<f32> { return normed_branch(start, quad, inner); }
";
const KEEPS_SUM: &str = "
fn keep_sum(at: u32, value: vec4<f32>) { sums[at] = value; }
";
const NO_SUM: &str = "
fn keep_sum(at: u32, value: vec4<f32>) {}
";

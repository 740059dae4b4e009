//! Layer normalisation, alone and as the second half of a residual branch; group normalisation.

use super::gpu;
use super::host;
use burn::module::{Module, Param};
use burn::tensor::Tensor;

pub const LAYER_NORM_EPSILON: f64 = 1e-5;
const GROUP_NORM_EPSILON: f64 = 1e-6;

/// LayerNorm over the last dimension, with scale and shift.
#[derive(Module, Debug)]
pub struct LayerNorm {
    pub weight: Param<Tensor<1>>,
    pub bias: Param<Tensor<1>>,
}

impl LayerNorm {
    /// # Shapes
    /// `[.., C]` → `[.., C]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        if gpu::serves(&x.device()) {
            let dims = x.dims();
            let width = dims[D - 1];
            let rows = dims.iter().product::<usize>() / width;
            if let Some((_, y)) = gpu::residual_norm(None, x.clone().reshape([rows, width]), None, self) {
                return y.reshape(dims);
            }
        }
        let (weight, bias) = (self.weight.val(), self.bias.val());
        host::layer_norm(&x, &weight, &bias, LAYER_NORM_EPSILON)
            .or_else(|| host::gradients::layer_norm(&x, &weight, &bias, LAYER_NORM_EPSILON))
            .unwrap_or_else(|| burn::tensor::module::layer_norm(x, weight, Some(bias), LAYER_NORM_EPSILON))
    }
}

/// GroupNorm: each image's channels are normalised in `groups` groups, then scaled and shifted one by one.
#[derive(Module, Debug)]
pub struct GroupNorm {
    pub weight: Param<Tensor<1>>,
    pub bias: Param<Tensor<1>>,
    pub groups: usize,
}

impl GroupNorm {
    /// # Shapes
    /// `[B, C, h, w]` → `[B, C, h, w]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = x.dims();
        let x = x.reshape([batch * self.groups, channels / self.groups * height * width]);
        let normed = host::gradients::normed_rows(&x, GROUP_NORM_EPSILON).unwrap_or_else(|| {
            let centred = x.clone() - x.mean_dim(1);
            let variance = centred.clone().square().mean_dim(1);
            centred / (variance + GROUP_NORM_EPSILON).sqrt()
        });
        let each = |values: &Param<Tensor<1>>| values.val().reshape([1, channels, 1, 1]);
        normed.reshape([batch, channels, height, width]) * each(&self.weight) + each(&self.bias)
    }
}

/// `x · σ(x)`, which follows group norms.
pub fn silu(x: Tensor<4>) -> Tensor<4> {
    host::gradients::silu(&x).unwrap_or_else(|| burn::tensor::activation::silu(x))
}

/// A residual stream, and the norm of it that the next branch reads.
#[derive(Debug, Clone)]
pub struct Stream {
    pub x: Tensor<3>,
    /// `x` itself where no norm comes next.
    pub normed: Tensor<3>,
}

impl Stream {
    /// `x = residual + inner(branch)`, which is how a NormFormer branch ends, and `next(x)`, with which another begins.
    ///
    /// # Shapes
    /// `[B, T, C]` each
    pub fn new(
        residual: Option<Tensor<3>>,
        branch: Tensor<3>,
        inner: Option<&LayerNorm>,
        next: Option<&LayerNorm>,
    ) -> Self {
        if let Some(next) = next
            && gpu::serves(&branch.device())
        {
            let dims = branch.dims();
            let [batch, length, width] = dims;
            let flat = |x: Tensor<3>| x.reshape([batch * length, width]);
            if let Some((sum, normed)) =
                gpu::residual_norm(residual.clone().map(flat), flat(branch.clone()), inner, next)
            {
                return Self { x: sum.map_or(branch, |sum| sum.reshape(dims)), normed: normed.reshape(dims) };
            }
        }
        let branch = normalise(inner, branch);
        let x = match residual {
            Some(residual) => residual + branch,
            None => branch,
        };
        Self { normed: normalise(next, x.clone()), x }
    }
}

/// Applies a norm that the configuration may have switched off.
pub fn normalise(norm: Option<&LayerNorm>, x: Tensor<3>) -> Tensor<3> {
    match norm {
        Some(norm) => norm.forward(x),
        None => x,
    }
}

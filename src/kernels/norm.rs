//! Layer normalisation, alone and as the second half of a residual branch.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

const LAYER_NORM_EPSILON: f64 = 1e-5;

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
        burn::tensor::module::layer_norm(x, self.weight.val(), Some(self.bias.val()), LAYER_NORM_EPSILON)
    }
}

/// `residual + norm(branch)`: how a NormFormer attention branch ends. Without a norm, a plain sum.
///
/// # Shapes
/// `[B, T, C]` each
pub fn residual_norm(residual: Tensor<3>, branch: Tensor<3>, norm: Option<&LayerNorm>) -> Tensor<3> {
    residual + normalise(norm, branch)
}

/// Applies a norm that the configuration may have switched off.
pub fn normalise(norm: Option<&LayerNorm>, x: Tensor<3>) -> Tensor<3> {
    match norm {
        Some(norm) => norm.forward(x),
        None => x,
    }
}

//! Layer normalisation, alone and as the second half of a residual branch; group normalisation.

use super::host;
use burn::module::{Module, Param};
use burn::tensor::Tensor;

const LAYER_NORM_EPSILON: f64 = 1e-5;
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
        if let Some(y) = self.with_parts(|norm| host::layer_norm(&x, norm, None)) {
            return y;
        }
        burn::tensor::module::layer_norm(x, self.weight.val(), Some(self.bias.val()), LAYER_NORM_EPSILON)
    }

    pub(super) fn with_parts<T>(&self, of: impl FnOnce(host::Norm<'_>) -> T) -> T {
        of((&self.weight.val(), &self.bias.val(), LAYER_NORM_EPSILON))
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
        let x = x.reshape([batch, self.groups, channels / self.groups * height * width]);
        let centred = x.clone() - x.mean_dim(2);
        let variance = centred.clone().square().mean_dim(2);
        let normed = centred / (variance + GROUP_NORM_EPSILON).sqrt();
        let each = |values: &Param<Tensor<1>>| values.val().reshape([1, channels, 1, 1]);
        normed.reshape([batch, channels, height, width]) * each(&self.weight) + each(&self.bias)
    }
}

/// `residual + norm(branch)`: how a NormFormer attention branch ends. Without a norm, a plain sum.
///
/// # Shapes
/// `[B, T, C]` each
pub fn residual_norm(residual: Tensor<3>, branch: Tensor<3>, norm: Option<&LayerNorm>) -> Tensor<3> {
    let fused = |norm: &LayerNorm| norm.with_parts(|norm| host::layer_norm(&branch, norm, Some(&residual)));
    if let Some(y) = norm.and_then(fused) {
        return y;
    }
    residual + normalise(norm, branch)
}

/// Applies a norm that the configuration may have switched off.
pub fn normalise(norm: Option<&LayerNorm>, x: Tensor<3>) -> Tensor<3> {
    match norm {
        Some(norm) => norm.forward(x),
        None => x,
    }
}

//! Linear layers: alone, and as norm → linear → activation.

use super::norm::{LayerNorm, normalise};
use super::weight::Weight;
use burn::module::{Module, Param};
use burn::tensor::{Tensor, activation};

/// What follows a linear layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    None,
    /// The exact form, through erf.
    Gelu,
}

/// `y = x Wᵀ + b`.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[out, in]`, as checkpoints store it.
    pub weight: Weight,
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// # Shapes
    /// `[B, T, in]` → `[B, T, out]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, length, width] = x.dims();
        let [out, _] = self.weight.dims();
        // One product of two matrices: a batched product would read the weights once a batch row.
        let y = self.weight.product(x.reshape([batch * length, width])).reshape([batch, length, out]);
        match &self.bias {
            Some(bias) => y + bias.val().reshape([1, 1, out]),
            None => y,
        }
    }

    /// norm → linear → activation, the way every branch of a pre-norm layer begins.
    ///
    /// # Shapes
    /// `[B, T, in]` → `[B, T, out]`
    pub fn forward_fused(&self, norm: Option<&LayerNorm>, x: Tensor<3>, activation: Activation) -> Tensor<3> {
        let y = self.forward(normalise(norm, x));
        match activation {
            Activation::None => y,
            Activation::Gelu => activation::gelu(y),
        }
    }
}

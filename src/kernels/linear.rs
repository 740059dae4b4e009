//! Linear layers: alone, and as norm → linear → activation.

use super::host;
use super::norm::{LayerNorm, normalise};
use super::weight::Weight;
use burn::module::{Module, Param};
use burn::tensor::{Tensor, activation};

/// What follows a linear layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Activation {
    #[default]
    None,
    Relu,
    /// The exact form, through erf.
    Gelu,
}

impl Activation {
    pub(super) fn of<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::None => x,
            Self::Relu => activation::relu(x),
            Self::Gelu => activation::gelu(x),
        }
    }
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
        if let Some(y) = self.on_host(None, &x, Activation::None) {
            return y;
        }
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
        if let Some(y) = self.on_host(norm, &x, activation) {
            return y;
        }
        activation.of(self.forward(normalise(norm, x)))
    }

    fn on_host(&self, norm: Option<&LayerNorm>, x: &Tensor<3>, activation: Activation) -> Option<Tensor<3>> {
        let bias = self.bias.as_ref().map(Param::val);
        let matrix = host::Matrix::of(&self.weight)?;
        let finish = host::Ending { bias: bias.as_ref(), activation, ..host::Ending::default() };
        match norm {
            None => host::linear(x, &matrix, None, finish),
            Some(norm) => norm.with_parts(|norm| host::linear(x, &matrix, Some(norm), finish)),
        }
    }
}

//! Linear layers: alone, and as norm → linear → activation.

use super::arguments::{Finish, Moment};
use super::gpu;
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
    /// The exact form, through erf.
    Gelu,
    Relu,
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
        self.forward_fused(None, x, Activation::None)
    }

    /// norm → linear → activation, the way every branch of a pre-norm layer begins.
    ///
    /// # Shapes
    /// `[B, T, in]` → `[B, T, out]`
    pub fn forward_fused(&self, norm: Option<&LayerNorm>, x: Tensor<3>, activation: Activation) -> Tensor<3> {
        let [batch, length, width] = x.dims();
        let [out, _] = self.weight.dims();
        // One product of two matrices: a batched product would read the weights once a batch row.
        let x = normalise(norm, x).reshape([batch * length, width]);
        let bias = self.bias.as_ref().map(Param::val);
        self.weight.linear(x, bias, activation).reshape([batch, length, out])
    }

    /// Layers with biases that read the same input, as one; `None` where they are packed in several ways.
    pub fn join(parts: &[&Linear]) -> Option<Self> {
        let weights: Vec<&Weight> = parts.iter().map(|part| &part.weight).collect();
        let biases: Vec<Tensor<1>> = parts.iter().filter_map(|part| part.bias.as_ref()).map(Param::val).collect();
        let bias = (!biases.is_empty()).then(|| Param::from_tensor(Tensor::cat(biases, 0)));
        Some(Self { weight: Weight::join(&weights)?, bias })
    }

    /// Writes the results for `x` into the rows of `table` that the new tokens of a pass take, on a device that
    /// [`serves`](super::gpu::serves) kernels.
    ///
    /// # Shapes
    /// x `[n, in]`, table `[n or more, out]`
    pub(super) fn write_into(&self, x: Tensor<2>, table: &Tensor<2>, moment: &Moment) {
        let finish = Finish { bias: self.bias.as_ref().map(Param::val), activation: Activation::None };
        gpu::linear_into(x, &self.weight, finish, table, moment);
    }
}

impl Activation {
    /// The activation as an operation of its own.
    pub fn apply<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::None => x,
            Self::Relu => activation::relu(x),
            Self::Gelu => host::gradients::gelu(&x).unwrap_or_else(|| activation::gelu(x)),
        }
    }
}

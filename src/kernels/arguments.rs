//! What the kernels of `gpu` and `host` are given and give back, declared once for builds with and without them.

#![allow(dead_code)] // A build without a side has no reader of that side's fields.

use super::linear::Activation;
use super::weight::Weight;
use burn::tensor::{Int, Tensor};

/// On a GPU: what a linear layer adds to its product.
pub struct Finish {
    pub bias: Option<Tensor<1>>,
    pub activation: Activation,
}

/// On a GPU: a convolution whose padding keeps the size at stride 1, and what follows it.
pub struct Convolution<'a> {
    /// `[out, in · k · k]`
    pub weight: &'a Weight,
    pub bias: Tensor<1>,
    /// k
    pub kernel: usize,
    pub stride: usize,
    /// Added before the ReLU, `[B, out, h', w']`.
    pub residual: Option<Tensor<4>>,
    pub relu: bool,
}

/// On a GPU: one pass through the decoder. What differs from a pass to the next lies in one buffer, so that steps of the
/// same rows are the same launches.
#[derive(Debug, Clone)]
pub struct Moment {
    /// The table's row of the first new token, how many keys each row sees, the first row of the biases; the new tokens' ids;
    /// for each row of the batch the table's row of each of its keys.
    pub words: Tensor<1, Int>,
    /// Rows of the batch and new tokens of each.
    pub queries: [usize; 2],
    pub keys: usize,
}

impl Moment {
    /// Where the ids lie.
    pub const IDS: usize = 3;

    /// Where the rows of keys lie.
    pub fn slots(&self) -> usize {
        Self::IDS + self.queries[0] * self.queries[1]
    }
}

/// On a GPU: what a step reads back.
#[derive(Debug, Clone)]
pub struct Found {
    /// `[n, probes + 2 · kept]`: the probes' log-probabilities, the best ones, their columns as floats, which hold
    /// every id of a vocabulary exactly.
    pub values: Tensor<2>,
    pub kept: usize,
    /// Of those kept.
    pub wanted: usize,
}

/// On the host: what follows a product before it is stored: + bias → + residual → activation.
#[derive(Clone, Copy)]
pub struct Ending<'a, const D: usize> {
    /// A value for each row of the weights.
    pub bias: Option<&'a Tensor<1>>,
    /// Of the result's shape.
    pub residual: Option<&'a Tensor<D>>,
    pub activation: Activation,
}

impl<const D: usize> Default for Ending<'_, D> {
    fn default() -> Self {
        Self { bias: None, residual: None, activation: Activation::None }
    }
}

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

/// On a GPU: keys and values that lie scattered over the rows of a table.
pub struct Slots<'a> {
    /// `[queries' rows · keys]`: the table's row of every key.
    pub rows: &'a Tensor<1, Int>,
    pub keys: usize,
    /// The table's row of the first query.
    pub first_query: usize,
    /// Rows of the batch and positions of each.
    pub queries: [usize; 2],
}

/// On a GPU: what a step reads back.
pub struct Found {
    /// `[n, probes + 2 · kept]`: the probes' log-probabilities, the best ones, their columns as floats, which hold
    /// every id of a vocabulary exactly.
    pub values: Tensor<2>,
    pub kept: usize,
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

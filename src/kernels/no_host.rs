//! Without the CPU backend every device is a GPU: no kernel here takes anything.

use super::arguments::Ending;
use super::attention::{Bias, Columns, Heads, KeysValues};
use super::split::SplitWeight;
use super::top_k::Best;
use super::weight::Weight;
use burn::tensor::{Device, Int, Tensor, TensorData};

#[path = "host/no_gradients.rs"]
pub mod gradients;

/// There are none.
pub enum Matrix {}

impl Matrix {
    pub fn of(_weight: &Weight) -> Option<Self> {
        None
    }

    pub fn plain<const D: usize>(_tensor: &Tensor<D>) -> Option<Self> {
        None
    }
}

/// Whether host memory is all there is.
pub const ALONE: bool = false;

pub fn adopted<const D: usize>(_data: TensorData) -> Tensor<D> {
    unreachable!("no device of this build is the host")
}

pub fn adopted_integers<const D: usize>(_data: TensorData) -> Tensor<D, Int> {
    unreachable!("no device of this build is the host")
}

pub fn in_host_memory(_device: &Device) -> bool {
    false
}

pub fn attention(_q: &Columns, _kv: &KeysValues, _bias: &Bias, _heads: &Heads) -> Option<Tensor<3>> {
    None
}

pub fn scores(_q: &Tensor<3>, _k: &Tensor<3>, _heads: usize) -> Option<Tensor<4>> {
    None
}

pub fn convolution(
    _x: &Tensor<4>,
    _weights: &Matrix,
    _window: [usize; 3],
    _ending: Ending<'_, 4>,
) -> Option<Tensor<4>> {
    None
}

pub fn best_products(
    _x: &Tensor<2>,
    _weight: &SplitWeight,
    _k: usize,
    _probes: &[Vec<u32>],
) -> Option<(Vec<Best>, Vec<Vec<f32>>)> {
    None
}

pub fn pixels_as_rows(_x: &Tensor<4>) -> Option<Tensor<3>> {
    None
}

pub fn max_pool(_x: &Tensor<4>) -> Option<Tensor<4>> {
    None
}

pub fn linear<const D: usize>(_x: &Tensor<D>, _weights: &Matrix, _ending: Ending<'_, D>) -> Option<Tensor<D>> {
    None
}

pub fn layer_norm<const D: usize>(
    _x: &Tensor<D>,
    _weight: &Tensor<1>,
    _bias: &Tensor<1>,
    _epsilon: f64,
) -> Option<Tensor<D>> {
    None
}

pub fn add_relative(
    _absolute: &Tensor<4>,
    _rows: &[u32],
    _samples: usize,
    _tables: &[Tensor<2>; 2],
) -> Option<Tensor<4>> {
    None
}

pub fn log_softmax(_logits: &Tensor<2>) -> Option<Tensor<2>> {
    None
}

//! Without the GPU backend no device has its kernels.

#![allow(dead_code)] // The names of the other side of the seam.

use super::arguments::{Convolution, Finish, Found, Moment};
use super::attention::{Bias, Columns, Heads};
use super::next_token::TokenScoring;
use super::norm::LayerNorm;
use super::packed::PackedWeight;
use super::weight::Weight;
use burn::tensor::{Device, Int, Tensor};

pub fn set_software(_software: bool) {}

pub fn serves(_device: &Device) -> bool {
    false
}

pub fn words(_words: Vec<u32>, _device: &Device) -> Tensor<1, Int> {
    unreachable!("no device of this build is a GPU")
}

pub fn rewrite(_place: &Tensor<1, Int>, _words: Vec<u32>) {
    unreachable!("no device of this build is a GPU")
}

pub fn rows_of_pass(_weight: &Weight, _: &Moment, _start: usize) -> Tensor<2> {
    unreachable!("no device of this build is a GPU")
}

/// There are no launches.
pub struct Steady<T>(std::marker::PhantomData<T>);

impl<T> Steady<T> {
    pub fn first(_device: &Device, _work: impl FnOnce() -> T) -> Self {
        unreachable!("no device of this build is a GPU")
    }

    pub fn left(&self) -> Option<&T> {
        None
    }

    /// # Safety
    /// It does nothing.
    pub unsafe fn again(&mut self, _work: impl FnOnce() -> T) -> bool {
        false
    }
}

pub fn remembers(_device: &Device, _shape: [usize; 2], _heads: usize, _tokens: usize) -> bool {
    false
}

pub fn linear(_x: Tensor<2>, _weight: &Weight, _finish: Finish) -> Tensor<2> {
    unreachable!("no device of this build is a GPU")
}

pub fn attention(_q: &Columns, _k: &Columns, _v: &Columns, _bias: &Bias, _heads: &Heads) -> Option<Tensor<3>> {
    None
}

pub fn attention_in_table(_: &[Columns; 3], _: &Bias, _: &Heads) -> Option<Tensor<3>> {
    None
}

pub fn residual_norm(
    _residual: Option<Tensor<2>>,
    _branch: Tensor<2>,
    _inner: Option<&LayerNorm>,
    _norm: &LayerNorm,
) -> Option<(Option<Tensor<2>>, Tensor<2>)> {
    None
}

pub fn best(_: Tensor<2>, _: &TokenScoring, _k: usize, _probes: &[u32], _widest: usize) -> Option<Found> {
    None
}

pub fn linear_into(_x: Tensor<2>, _weight: &Weight, _finish: Finish, _table: &Tensor<2>, _: &Moment) {
    unreachable!("no device of this build is a GPU")
}

pub fn convolve(_x: Tensor<4>, _convolution: Convolution<'_>) -> Tensor<4> {
    unreachable!("no device of this build is a GPU")
}

pub fn max_pool(_x: Tensor<4>) -> Tensor<4> {
    unreachable!("no device of this build is a GPU")
}

pub fn scores(_q: Tensor<3>, _k: Tensor<3>, _heads: usize, _scale: f64, _: Option<Tensor<4>>) -> Tensor<4> {
    unreachable!("no device of this build is a GPU")
}

pub fn add_relative(_absolute: Tensor<4>, _: Tensor<1, Int>, _samples: usize, _: [Tensor<2>; 2]) -> Tensor<4> {
    unreachable!("no device of this build is a GPU")
}

pub fn take_words(_table: Tensor<1, Int>, _numbers: &[u32], _width: usize) -> Tensor<1, Int> {
    unreachable!("no device of this build is a GPU")
}

pub fn packed_rows(_weight: &PackedWeight, _numbers: &[u32]) -> Tensor<2> {
    unreachable!("no device of this build is a GPU")
}

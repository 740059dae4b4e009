//! Values of the host as tensors of a device.
//!
//! `Tensor::from_data` brings with it the conversion of every type into every other. Where host memory is all there is,
//! as in a browser's build for the CPU, nothing needs them.

use super::host;
use burn::tensor::{Device, Int, Tensor, TensorData};

pub fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    let data = TensorData::new(values, shape);
    if host::ALONE { host::adopted(data) } else { Tensor::from_data(data, device) }
}

pub fn integers<const D: usize>(values: Vec<i32>, shape: [usize; D], device: &Device) -> Tensor<D, Int> {
    let data = TensorData::new(values, shape);
    if host::ALONE { host::adopted_integers(data) } else { Tensor::from_data(data, device) }
}

/// Numbers of rows.
pub fn indices(rows: impl Iterator<Item = usize>, device: &Device) -> Tensor<1, Int> {
    let rows: Vec<i32> = rows.map(|row| row as i32).collect();
    let count = rows.len();
    integers(rows, [count], device)
}

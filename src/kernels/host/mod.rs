//! The same operations where a tensor lies in memory that the host reads without waiting: kernels of SIMD registers,
//! on all cores natively. Each takes what it can and leaves the rest, gradients above all, to the plain-tensor version.

mod attention;
mod convolution;
mod few_rows;
mod lanes;
mod linear;
mod math;
mod parallel;
mod product;
#[cfg(test)]
mod tests;

use burn::backend::{DType, Flex, flex::FlexTensor};
use burn::tensor::{Device, Tensor, TensorData};

/// Weight and bias of a norm, and its epsilon.
pub type Norm<'a> = (&'a Tensor<1>, &'a Tensor<1>, f64);

pub use attention::attention;
pub use convolution::convolution;
pub use linear::{layer_norm, linear, log_softmax};

/// Whether the device's tensors lie in memory that the host reads without waiting.
pub fn in_host_memory(device: &Device) -> bool {
    matches!(device.as_dispatch(), burn::backend::DispatchDevice::Flex(_))
}

/// A tensor's values in row-major order, copied only where they lie in another.
struct Values(FlexTensor);

impl Values {
    /// `None` where they are not f32 in host memory, or gradients are followed.
    fn of<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
        if !in_host_memory(&tensor.device()) {
            return None;
        }
        let tensor = tensor.clone().try_into_primitive::<Flex>().ok()?;
        (tensor.dtype() == DType::F32).then(|| Self(tensor.to_contiguous()))
    }

    fn as_slice(&self) -> &[f32] {
        self.0.as_slice().expect("contiguous values of this type")
    }
}

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

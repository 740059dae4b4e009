//! The same operations where a tensor lies in memory that the host reads without waiting: kernels of SIMD registers,
//! on all cores natively. Each takes what it can and leaves the rest, gradients above all, to the plain-tensor version.

mod attention;
mod convolution;
mod counted;
mod few_rows;
#[cfg_attr(not(feature = "train"), path = "no_gradients.rs")]
pub mod gradients;
mod greatest;
mod lanes;
mod linear;
mod math;
mod memory;
mod packed;
mod parallel;
mod pixels;
mod pool;
mod product;
mod relative;
mod split;
#[cfg(test)]
mod tests;
mod winograd;

use super::arguments::Ending;
use super::packed::Words;
use super::upload::tensor;
use super::watched::WatchedWeight;
use super::weight::Weight;
use burn::backend::{DType, Flex, flex::FlexTensor};
use burn::tensor::{Device, Int, Tensor, TensorData};
use packed::PackedRows;
use product::Rows;
use split::SplitRows;

pub use attention::{attention, scores};
pub use convolution::convolution;
pub use greatest::best_products;
pub use linear::{layer_norm, linear, log_softmax};
pub use memory::Aligned;
pub use pixels::pixels_as_rows;
pub use pool::max_pool;
pub use relative::add_relative;

/// Whether host memory is all there is.
pub const ALONE: bool = !cfg!(any(feature = "gpu", feature = "train"));

/// A tensor of these values, which stay where they are.
pub fn adopted<const D: usize>(data: TensorData) -> Tensor<D> {
    Tensor::from_primitive::<Flex>(FlexTensor::from_data(data))
}

pub fn adopted_integers<const D: usize>(data: TensorData) -> Tensor<D, Int> {
    Tensor::from_primitive::<Flex>(FlexTensor::from_data(data))
}

/// Whether the device's tensors lie in memory that the host reads without waiting.
pub fn in_host_memory(device: &Device) -> bool {
    matches!(device.as_dispatch(), burn::backend::DispatchDevice::Flex(_))
}

/// The weights of a linear layer or of a convolution as the kernels read them.
pub enum Matrix<'a> {
    /// With its dimensions.
    Plain(Values, [usize; 2]),
    Packed(PackedRows<'a>),
    Split(SplitRows<'a>),
}

impl<'a> Matrix<'a> {
    /// `None` where the kernels here do not read them.
    pub fn of(weight: &'a Weight) -> Option<Self> {
        match weight {
            Weight::Plain(weight) | Weight::Watched(WatchedWeight { weight, .. }) => Self::plain(&weight.val()),
            Weight::Split(weight) => Some(Self::Split(SplitRows(weight))),
            Weight::Packed(weight) => match (&weight.codes, &weight.scales) {
                (Words::Host(codes), Words::Host(scales)) if PackedRows::suits(weight.bits, weight.group_size) => {
                    Some(Self::Packed(PackedRows {
                        codes,
                        scales,
                        count: weight.rows,
                        depth: weight.columns,
                        bits: weight.bits,
                        group: weight.group_size,
                    }))
                }
                _ => None,
            },
        }
    }

    /// The rows of a tensor's first dimension.
    pub fn plain<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
        let [count, ..] = tensor.dims()[..] else { return None };
        Some(Self::Plain(Values::of(tensor)?, [count, tensor.shape().num_elements() / count.max(1)]))
    }

    fn dims(&self) -> [usize; 2] {
        match self {
            Self::Plain(_, dims) => *dims,
            Self::Packed(packed) => [packed.count, packed.depth],
            Self::Split(split) => split.dims(),
        }
    }

    /// Of a plain one.
    fn rows(&self) -> Rows<'_> {
        match self {
            Self::Plain(values, [_, depth]) => Rows { values: values.as_slice(), stride: *depth },
            Self::Packed(_) | Self::Split(_) => Rows { values: &[], stride: 0 },
        }
    }
}

/// A tensor's values in row-major order, copied only where they lie in another.
pub struct Values(FlexTensor);

impl Values {
    /// `None` where they are not f32 in host memory, or gradients are followed.
    fn of<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
        if !in_host_memory(&tensor.device()) {
            return None;
        }
        let tensor = tensor.clone().try_into_primitive::<Flex>().ok()?;
        (tensor.dtype() == DType::F32).then(|| Self(tensor.to_contiguous()))
    }

    /// `None` where there is a tensor but no values of it.
    fn maybe<const D: usize>(tensor: Option<&Tensor<D>>) -> Option<Option<Self>> {
        match tensor {
            Some(tensor) => Self::of(tensor).map(Some),
            None => Some(None),
        }
    }

    fn as_slice(&self) -> &[f32] {
        self.0.as_slice().expect("contiguous values of this type")
    }
}

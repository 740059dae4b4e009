//! Convolution → BatchNorm → (+ residual) → ReLU, the stem's unit.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::module::{conv2d, max_pool2d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};

const BATCH_NORM_EPSILON: f64 = 1e-5;

/// BatchNorm with running statistics.
#[derive(Module, Debug)]
pub struct BatchNorm {
    pub weight: Param<Tensor<1>>,
    pub bias: Param<Tensor<1>>,
    pub running_mean: Param<Tensor<1>>,
    pub running_var: Param<Tensor<1>>,
}

/// A convolution and the norm behind it; after export the norm lives in the convolution's weight and bias.
#[derive(Module, Debug)]
pub struct ConvNorm {
    /// `[out, in, k, k]`
    pub weight: Param<Tensor<4>>,
    pub bias: Option<Param<Tensor<1>>>,
    pub norm: Option<BatchNorm>,
    pub stride: usize,
}

impl ConvNorm {
    /// Padding keeps the size at stride 1. `residual` is added before the ReLU.
    ///
    /// # Shapes
    /// `[B, in, h, w]` → `[B, out, ceil(h / stride), ceil(w / stride)]`
    pub fn forward(&self, x: Tensor<4>, residual: Option<Tensor<4>>, relu: bool) -> Tensor<4> {
        let weight = self.weight.val();
        let [_, _, kernel, _] = weight.dims();
        let padding = kernel / 2;
        let options = ConvOptions::new([self.stride; 2], [padding; 2], [1, 1], 1);
        let mut y = conv2d(x, weight, self.bias.as_ref().map(Param::val), options);
        if let Some(norm) = &self.norm {
            y = norm.forward(y);
        }
        if let Some(residual) = residual {
            y = y + residual;
        }
        if relu { burn::tensor::activation::relu(y) } else { y }
    }
}

impl BatchNorm {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, channels, _, _] = x.dims();
        let scale = self.weight.val() / (self.running_var.val() + BATCH_NORM_EPSILON).sqrt();
        let shift = self.bias.val() - self.running_mean.val() * scale.clone();
        x * scale.reshape([1, channels, 1, 1]) + shift.reshape([1, channels, 1, 1])
    }
}

/// The 3 × 3, stride 2 max-pooling behind the first convolution; the border counts as -inf.
///
/// # Shapes
/// `[B, C, h, w]` → `[B, C, ceil(h / 2), ceil(w / 2)]`
pub fn max_pool(x: Tensor<4>) -> Tensor<4> {
    max_pool2d(x, MaxPoolOptions::new([3, 3]).with_stride([2, 2]).with_padding([1, 1]))
}

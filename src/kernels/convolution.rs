//! Convolution → BatchNorm → (+ residual) → ReLU, the stem's unit; and the plain convolution of the image codes.

use super::host;
use super::linear::Activation;
use super::weight::Weight;
use burn::module::{Module, Param, RunningState};
use burn::tensor::Tensor;
use burn::tensor::module::{conv2d, max_pool2d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};

const BATCH_NORM_EPSILON: f64 = 1e-5;
/// The share of a batch in the running statistics.
const BATCH_NORM_MOMENTUM: f64 = 0.1;

/// BatchNorm: with the statistics of the batch while it is trained, unless it is frozen, else with running ones.
#[derive(Module, Debug)]
pub struct BatchNorm {
    pub weight: Param<Tensor<1>>,
    pub bias: Param<Tensor<1>>,
    pub running_mean: RunningState<Tensor<1>>,
    pub running_var: RunningState<Tensor<1>>,
    pub frozen: bool,
}

/// A convolution and the norm behind it; after export the norm lives in the convolution's weight and bias.
#[derive(Module, Debug)]
pub struct ConvNorm {
    /// `[out, in · k · k]`
    pub weight: Weight,
    pub bias: Option<Param<Tensor<1>>>,
    pub norm: Option<BatchNorm>,
    /// k, the side of its window.
    pub kernel: usize,
    pub stride: usize,
}

impl ConvNorm {
    /// Padding keeps the size at stride 1. `residual` is added before the ReLU.
    ///
    /// # Shapes
    /// `[B, in, h, w]` → `[B, out, ceil(h / stride), ceil(w / stride)]`
    pub fn forward(&self, x: Tensor<4>, residual: Option<Tensor<4>>, relu: bool) -> Tensor<4> {
        let padding = self.kernel / 2;
        let bias = self.bias.as_ref().map(Param::val);
        let activation = if relu { Activation::Relu } else { Activation::None };
        if self.norm.is_none() {
            let finish = host::Ending { bias: bias.as_ref(), residual: residual.as_ref(), activation };
            let matrix = host::Matrix::of(&self.weight);
            let window = [self.kernel, self.stride, padding];
            if let Some(y) = matrix.and_then(|matrix| host::convolution(&x, &matrix, window, finish)) {
                return y;
            }
        }
        let [_, channels, _, _] = x.dims();
        let [out, _] = self.weight.dims();
        let weight = self.weight.unpacked().reshape([out, channels, self.kernel, self.kernel]);
        let options = ConvOptions::new([self.stride; 2], [padding; 2], [1, 1], 1);
        let mut y = conv2d(x, weight, bias, options);
        if let Some(norm) = &self.norm {
            y = norm.forward(y);
        }
        if let Some(residual) = residual {
            y = y + residual;
        }
        activation.of(y)
    }
}

impl BatchNorm {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, channels, _, _] = x.dims();
        let (mean, var) = if self.frozen || !x.device().is_autodiff() {
            (self.running_mean.value(), self.running_var.value())
        } else {
            self.observe(x.clone())
        };
        let scale = self.weight.val() / (var + BATCH_NORM_EPSILON).sqrt();
        let shift = self.bias.val() - mean * scale.clone();
        x * scale.reshape([1, channels, 1, 1]) + shift.reshape([1, channels, 1, 1])
    }

    /// Mean and variance of each channel of the batch, which also enter the running statistics, the variance there
    /// without bias.
    fn observe(&self, x: Tensor<4>) -> (Tensor<1>, Tensor<1>) {
        let [batch, channels, height, width] = x.dims();
        let count = batch * height * width;
        let rows = x.swap_dims(0, 1).reshape([channels, count]);
        let mean = rows.clone().mean_dim(1);
        let var = (rows - mean.clone()).square().mean_dim(1).reshape([channels]);
        let mean = mean.reshape([channels]);
        let unbiased = var.clone().detach() * (count as f64 / count.saturating_sub(1).max(1) as f64);
        for (running, seen) in [(&self.running_mean, mean.clone().detach()), (&self.running_var, unbiased)] {
            running.update(running.value_sync() * (1.0 - BATCH_NORM_MOMENTUM) + seen * BATCH_NORM_MOMENTUM);
        }
        (mean, var)
    }
}

/// A convolution with a bias and nothing behind it.
#[derive(Module, Debug)]
pub struct Convolution {
    /// `[out, in, k, k]`
    pub weight: Param<Tensor<4>>,
    pub bias: Param<Tensor<1>>,
}

impl Convolution {
    /// Padding keeps the size.
    ///
    /// # Shapes
    /// `[B, in, h, w]` → `[B, out, h, w]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let weight = self.weight.val();
        let [_, _, kernel, _] = weight.dims();
        let bias = self.bias.val();
        let finish = host::Ending { bias: Some(&bias), ..host::Ending::default() };
        let matrix = host::Matrix::plain(&weight);
        if let Some(y) = matrix.and_then(|matrix| host::convolution(&x, &matrix, [kernel, 1, kernel / 2], finish)) {
            return y;
        }
        let options = ConvOptions::new([1, 1], [kernel / 2; 2], [1, 1], 1);
        conv2d(x, weight, Some(bias), options)
    }

    /// Stride 2, with zeros to the right of and below the image only (reference §10).
    ///
    /// # Shapes
    /// `[B, in, h, w]` → `[B, out, h / 2, w / 2]`
    pub fn downsample(&self, x: Tensor<4>) -> Tensor<4> {
        let padded = x.pad([(0, 1), (0, 1)], 0.0);
        conv2d(padded, self.weight.val(), Some(self.bias.val()), ConvOptions::new([2, 2], [0, 0], [1, 1], 1))
    }
}

/// The 3 × 3, stride 2 max-pooling behind the first convolution; the border counts as -inf.
///
/// # Shapes
/// `[B, C, h, w]` → `[B, C, ceil(h / 2), ceil(w / 2)]`
pub fn max_pool(x: Tensor<4>) -> Tensor<4> {
    max_pool2d(x, MaxPoolOptions::new([3, 3]).with_stride([2, 2]).with_padding([1, 1]))
}

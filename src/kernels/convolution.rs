//! Convolution → BatchNorm → (+ residual) → ReLU, the stem's unit; and the plain convolution of the image codes.

use super::arguments::{self, Ending};
use super::gpu;
use super::host;
use super::linear::Activation;
use super::products::{convolve, windows};
use super::watched::WATCHES;
use super::weight::Weight;
use burn::module::{Module, Param, RunningState};
use burn::tensor::module::{conv2d, max_pool2d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor};

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
        if WATCHES && let Weight::Watched(weight) = &self.weight {
            weight.seen.add(self.seen(x.clone()));
        }
        let device = x.device();
        if device.is_autodiff() && !gpu::serves(&device) {
            return self.forward_by_products(x, residual, relu);
        }
        let bias = self.bias.as_ref().map(Param::val);
        let activation = if relu { Activation::Relu } else { Activation::None };
        if gpu::serves(&device) {
            let (weight, kernel, stride) = (&self.weight, self.kernel, self.stride);
            let bias = bias.unwrap_or_else(|| Tensor::zeros([weight.dims()[0]], &device));
            let convolution = arguments::Convolution { weight, bias, kernel, stride, residual: None, relu: false };
            return match &self.norm {
                None => gpu::convolve(x, arguments::Convolution { residual, relu, ..convolution }),
                Some(norm) => end(norm.forward(gpu::convolve(x, convolution)), residual, activation),
            };
        }
        let padding = self.kernel / 2;
        if self.norm.is_none() {
            let ending = Ending { bias: bias.as_ref(), residual: residual.as_ref(), activation };
            let window = [self.kernel, self.stride, padding];
            let matrix = host::Matrix::of(&self.weight);
            if let Some(y) = matrix.and_then(|matrix| host::convolution(&x, &matrix, window, ending)) {
                return y;
            }
        }
        let [_, channels, _, _] = x.dims();
        let weight = self.window(channels);
        let options = ConvOptions::new([self.stride; 2], [padding; 2], [1, 1], 1);
        let y = conv2d(x, weight, bias, options);
        let y = match &self.norm {
            Some(norm) => norm.forward(y),
            None => y,
        };
        end(y, residual, activation)
    }

    /// What the weight is multiplied with.
    ///
    /// # Shapes
    /// `[B, in, h, w]` → `[n, in · k · k]`
    fn seen(&self, x: Tensor<4>) -> Tensor<2> {
        let [_, channels, _, _] = x.dims();
        let windows = windows(x.swap_dims(0, 1), self.kernel, self.stride);
        let [depth, count] = windows.dims();
        windows.reshape([depth / channels, channels, count]).swap_dims(0, 1).reshape([depth, count]).transpose()
    }

    /// The weight `[out, in, k, k]`.
    fn window(&self, channels: usize) -> Tensor<4> {
        let [out, _] = self.weight.dims();
        self.weight.unpacked().reshape([out, channels, self.kernel, self.kernel])
    }

    /// The same as products of matrices with channels in rows: what a backend is fast at, the way back too. Between units the
    /// channels stay outermost, and [`swap_dims`](Tensor::swap_dims) moves nothing.
    fn forward_by_products(&self, x: Tensor<4>, residual: Option<Tensor<4>>, relu: bool) -> Tensor<4> {
        let y = convolve(x.clone().swap_dims(0, 1), self.window(x.dims()[1]), self.stride);
        let [channels, batch, height, width] = y.dims();
        let rows = |x: Tensor<4>| x.reshape([channels, batch * height * width]);
        let mut y = rows(y);
        if let Some(bias) = &self.bias {
            y = y + bias.val().reshape([channels, 1]);
        }
        if let Some(norm) = &self.norm {
            y = norm.forward_rows(y);
        }
        if let Some(residual) = residual {
            y = y + rows(residual.swap_dims(0, 1));
        }
        let y = if relu { Activation::Relu.apply(y) } else { y };
        y.reshape([channels, batch, height, width]).swap_dims(0, 1)
    }
}

fn end(y: Tensor<4>, residual: Option<Tensor<4>>, activation: Activation) -> Tensor<4> {
    activation.apply(match residual {
        Some(residual) => y + residual,
        None => y,
    })
}

impl BatchNorm {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = x.dims();
        let (mean, var) = if self.is_fixed(&x.device()) {
            (self.running_mean.value(), self.running_var.value())
        } else {
            let rows = x.clone().swap_dims(0, 1).reshape([channels, batch * height * width]);
            let mean = rows.clone().mean_dim(1);
            let var = (rows - mean.clone()).square().mean_dim(1).reshape([channels]);
            let mean = mean.reshape([channels]);
            self.observe(mean.clone(), var.clone(), batch * height * width);
            (mean, var)
        };
        let scale = self.weight.val() / (var + BATCH_NORM_EPSILON).sqrt();
        let shift = self.bias.val() - mean * scale.clone();
        x * scale.reshape([1, channels, 1, 1]) + shift.reshape([1, channels, 1, 1])
    }

    /// The same with channels in rows, `[C, n]`.
    fn forward_rows(&self, x: Tensor<2>) -> Tensor<2> {
        let [channels, count] = x.dims();
        let row = |values: Tensor<1>| values.reshape([channels, 1]);
        let (centred, var) = if self.is_fixed(&x.device()) {
            (x - row(self.running_mean.value()), row(self.running_var.value()))
        } else {
            let (weight, bias) = (self.weight.val(), self.bias.val());
            if let Some((y, [mean, var])) = host::gradients::batch_norm(&x, &weight, &bias, BATCH_NORM_EPSILON) {
                self.observe(mean, var, count);
                return y;
            }
            let mean = x.clone().mean_dim(1);
            let centred = x - mean.clone();
            let var = centred.clone().square().mean_dim(1);
            self.observe(mean.reshape([channels]), var.clone().reshape([channels]), count);
            (centred, var)
        };
        centred * (row(self.weight.val()) / (var + BATCH_NORM_EPSILON).sqrt()) + row(self.bias.val())
    }

    /// Whether it normalises by running statistics, not by those of the batch.
    fn is_fixed(&self, device: &Device) -> bool {
        self.frozen || !device.is_autodiff()
    }

    /// Lets the statistics of a batch of `count` values a channel enter the running ones, the variance there without
    /// bias.
    fn observe(&self, mean: Tensor<1>, var: Tensor<1>, count: usize) {
        let unbiased = var.detach() * (count as f64 / count.saturating_sub(1).max(1) as f64);
        for (running, seen) in [(&self.running_mean, mean.detach()), (&self.running_var, unbiased)] {
            running.update(running.value_sync() * (1.0 - BATCH_NORM_MOMENTUM) + seen * BATCH_NORM_MOMENTUM);
        }
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
        if self.is_ours(&x.device()) {
            return self.convolved(x, 1);
        }
        let ending = Ending { bias: Some(&bias), ..Ending::default() };
        let matrix = host::Matrix::plain(&weight);
        if let Some(y) = matrix.and_then(|matrix| host::convolution(&x, &matrix, [kernel, 1, kernel / 2], ending)) {
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
        if self.is_ours(&x.device()) {
            // The kernel pads all sides by one. With another zero on top the second of its windows is the first wanted.
            let y = self.convolved(x.pad([(1, 1), (1, 1)], 0.0), 2);
            let [batch, out, height, width] = y.dims();
            return y.slice([0..batch, 0..out, 1..height, 1..width]);
        }
        let padded = x.pad([(0, 1), (0, 1)], 0.0);
        conv2d(padded, self.weight.val(), Some(self.bias.val()), ConvOptions::new([2, 2], [0, 0], [1, 1], 1))
    }

    /// Whether [`convolved`](Self::convolved) is the fast way.
    fn is_ours(&self, device: &Device) -> bool {
        gpu::serves(device) || device.is_autodiff()
    }

    /// By the kernel of GPUs or, followed by gradients, by products of matrices. Padding keeps the size at stride 1.
    fn convolved(&self, x: Tensor<4>, stride: usize) -> Tensor<4> {
        let weight = self.weight.val();
        let [out, channels, kernel, _] = weight.dims();
        if !gpu::serves(&x.device()) {
            let y = convolve(x.swap_dims(0, 1), weight, stride).swap_dims(0, 1);
            return y + self.bias.val().reshape([1, out, 1, 1]);
        }
        let weight = &Weight::Plain(Param::from_tensor(weight.reshape([out, channels * kernel * kernel])));
        let bias = self.bias.val();
        gpu::convolve(x, arguments::Convolution { weight, bias, kernel, stride, residual: None, relu: false })
    }
}

/// The 3 × 3, stride 2 max-pooling behind the first convolution; the border counts as -inf.
///
/// # Shapes
/// `[B, C, h, w]` → `[B, C, ceil(h / 2), ceil(w / 2)]`
pub fn max_pool(x: Tensor<4>) -> Tensor<4> {
    if gpu::serves(&x.device()) {
        return gpu::max_pool(x);
    }
    host::max_pool(&x)
        .unwrap_or_else(|| max_pool2d(x, MaxPoolOptions::new([3, 3]).with_stride([2, 2]).with_padding([1, 1])))
}

/// A row of channels each pixel.
///
/// # Shapes
/// `[B, C, h, w]` → `[B, h · w, C]`
pub fn pixels_as_rows(x: Tensor<4>) -> Tensor<3> {
    let [batch, channels, height, width] = x.dims();
    host::pixels_as_rows(&x).unwrap_or_else(|| x.reshape([batch, channels, height * width]).swap_dims(1, 2))
}

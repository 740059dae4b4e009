//! A convolution as a product of matrices, forth and back, channels in rows.

use super::{PLAIN, followed, recorded, slice};
use crate::kernels::host::parallel::{Shared, ranges};
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::flex::FlexTensor;
use burn::backend::ops::FloatTensorOps;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{Tensor, TensorData};
use std::ops::Range;

/// A convolution whose padding keeps the size at stride 1. `None` as with [`gelu`](super::gelu).
///
/// # Shapes
/// x `[in, B, h, w]`, weight `[out, in, k, k]` → `[out, B, ceil(h / stride), ceil(w / stride)]`
pub fn convolve(x: &Tensor<4>, weight: &Tensor<4>, stride: usize) -> Option<Tensor<4>> {
    let ([channels, images, height, width], [out, _, kernel, _]) = (x.dims(), weight.dims());
    let [rows, columns] = [height, width].map(|side| side.div_ceil(stride));
    let windows = Windows { channels, images, kernel, stride, height, width, rows, columns };
    let [x, weight] = [followed(x)?, followed(weight)?];
    let nodes = [x.node(), weight.node()];
    let [x, weight] = [x, weight].map(|part| part.into_primitive().to_contiguous());
    let seen = windows.cut(x);
    let flat = weight.reshape([out, windows.depth()].into());
    let y = Flex::float_matmul(flat.clone(), seen.clone()).reshape([out, images, rows, columns].into());
    Some(recorded(Convolved, nodes, y, || Seen { windows, seen, weight: flat }))
}

/// What a kernel's places see of images.
#[derive(Debug, Clone, Copy)]
struct Windows {
    channels: usize,
    images: usize,
    kernel: usize,
    stride: usize,
    height: usize,
    width: usize,
    /// Of the result.
    rows: usize,
    columns: usize,
}

impl Windows {
    /// Values under a kernel.
    fn depth(&self) -> usize {
        self.channels * self.kernel * self.kernel
    }

    /// Positions of the result.
    fn count(&self) -> usize {
        self.images * self.rows * self.columns
    }

    /// Whether each window is a value, in the order in which they lie.
    fn are_values(&self) -> bool {
        self.kernel == 1 && self.stride == 1
    }

    /// The windows in columns, zeros beyond the border: `[in, B, h, w]` → `[in · k · k, B · rows · columns]`.
    fn cut(&self, x: FlexTensor) -> FlexTensor {
        let shape = [self.depth(), self.count()];
        if self.are_values() {
            return x.reshape(shape.into());
        }
        let values = slice(&x);
        let mut windows = vec![0.0f32; shape[0] * shape[1]];
        self.by_channel(&mut windows, self.kernel * self.kernel * self.count(), |channel, windows| {
            self.runs(channel, |from, to, length| {
                let from = values[from..].iter().step_by(self.stride);
                windows[to..to + length].iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            });
        });
        FlexTensor::from_data(TensorData::new(windows, shape))
    }

    /// Adds up what belongs to the same value: the way back through [`cut`](Self::cut).
    fn gather(&self, windows: FlexTensor) -> FlexTensor {
        let shape = [self.channels, self.images, self.height, self.width];
        if self.are_values() {
            return windows.reshape(shape.into());
        }
        let windows = windows.to_contiguous();
        let given = slice(&windows);
        let plane = self.images * self.height * self.width;
        let all = self.kernel * self.kernel * self.count();
        let mut sums = vec![0.0f32; self.channels * plane];
        self.by_channel(&mut sums, plane, |channel, sums| {
            self.runs(channel, |to, from, length| {
                let to = sums[to - channel * plane..].iter_mut().step_by(self.stride);
                let from = &given[channel * all + from..][..length];
                to.zip(from).for_each(|(to, from)| *to += from);
            });
        });
        FlexTensor::from_data(TensorData::new(sums, shape))
    }

    /// Calls `each` with every channel and its `length` values.
    fn by_channel(&self, values: &mut [f32], length: usize, each: impl Fn(usize, &mut [f32]) + Sync) {
        let work = self.depth() * self.count() * PLAIN;
        let place = Shared::new(values);
        ranges(self.channels, 1, work, |range: Range<usize>| {
            for channel in range {
                // SAFETY: each channel is handed out once.
                each(channel, unsafe { place.part(channel * length, length) });
            }
        });
    }

    /// Calls `each` for every run of positions of a row that a place of the kernel sees within the border: where the
    /// first lies among the values, where among the channel's windows, and how many there are. Values are `stride` apart.
    fn runs(&self, channel: usize, mut each: impl FnMut(usize, usize, usize)) {
        let Self { images, kernel, stride, height, width, rows, columns, .. } = *self;
        let padding = kernel / 2;
        // The first position whose value is within the border, and the one behind the last.
        let within = |place: usize, side: usize, positions: usize| {
            let first = padding.saturating_sub(place).div_ceil(stride);
            let behind = (side + padding).saturating_sub(place).div_ceil(stride);
            first..behind.min(positions)
        };
        for place in 0..kernel * kernel {
            let [down, across] = [place / kernel, place % kernel];
            let seen = within(across, width, columns);
            if seen.is_empty() {
                continue;
            }
            for image in 0..images {
                for row in within(down, height, rows) {
                    let y = row * stride + down - padding;
                    let x = seen.start * stride + across - padding;
                    let from = ((channel * images + image) * height + y) * width + x;
                    let to = ((place * images + image) * rows + row) * columns + seen.start;
                    each(from, to, seen.len());
                }
            }
        }
    }
}

/// The way back through a convolution.
#[derive(Debug)]
struct Convolved;

/// What it needs: the windows that were seen, and the weights `[out, in · k · k]`.
#[derive(Debug, Clone)]
struct Seen {
    windows: Windows,
    seen: FlexTensor,
    weight: FlexTensor,
}

impl Backward<Flex, 2> for Convolved {
    type State = Seen;

    fn backward(self, ops: Ops<Seen, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let Seen { windows, seen, weight } = ops.state;
        let [out, _] = weight.shape().dims();
        let gradient = gradients.consume::<Flex>(&ops.node).to_contiguous().reshape([out, windows.count()].into());
        let [x, weights] = ops.parents;
        if let Some(weights) = weights {
            let found = Flex::float_matmul(gradient.clone(), seen.transpose(0, 1));
            let shape = [out, windows.channels, windows.kernel, windows.kernel];
            gradients.register::<Flex>(weights.id, found.to_contiguous().reshape(shape.into()));
        }
        if let Some(x) = x {
            let found = Flex::float_matmul(weight.transpose(0, 1), gradient);
            gradients.register::<Flex>(x.id, windows.gather(found));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::module::conv2d;
    use burn::tensor::ops::ConvOptions;
    use burn::tensor::{Device, Distribution};

    /// Sums of some hundred products of values around 1, in another order.
    const TOLERANCE: f32 = 1e-3;

    #[test]
    fn gradients_are_those_of_the_backends_own() {
        let device = Device::flex().autodiff();
        for (channels, out, images, kernel, stride, [height, width]) in [
            (3, 5, 2, 7, 2, [23, 17]),
            (5, 7, 1, 3, 1, [6, 5]),
            (4, 3, 3, 3, 2, [9, 8]),
            (9, 2, 2, 1, 1, [7, 9]),
            (3, 4, 1, 1, 2, [5, 6]),
            (2, 2, 1, 7, 1, [2, 1]),
            (2, 2, 1, 7, 2, [1, 3]),
        ] {
            let random = |shape: [usize; 4]| -> Tensor<4> {
                Tensor::random(shape, Distribution::Normal(0.0, 1.0), &device).require_grad()
            };
            let (x, weight) = (random([channels, images, height, width]), random([out, channels, kernel, kernel]));
            let found = convolve(&x, &weight, stride).expect("values in host memory");
            let options = ConvOptions::new([stride; 2], [kernel / 2; 2], [1, 1], 1);
            let expected = conv2d(x.clone().swap_dims(0, 1), weight.clone(), None, options).swap_dims(0, 1);
            let toward = random(found.dims()).detach();
            let learn = |y: Tensor<4>| {
                let gradients = (y.clone() * toward.clone()).sum().backward();
                let of = |input: &Tensor<4>| input.grad(&gradients).expect("an input that is followed");
                [y.inner(), of(&x), of(&weight)]
            };
            for (part, (found, expected)) in learn(found).into_iter().zip(learn(expected)).enumerate() {
                assert_eq!(found.dims(), expected.dims());
                let difference = (found - expected).abs().max().into_scalar::<f32>();
                assert!(
                    difference < TOLERANCE,
                    "{kernel} / {stride} over {height} x {width}, part {part}: {difference}"
                );
            }
        }
    }
}

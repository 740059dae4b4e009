//! A convolution as a product of its weights with the patches under them, which are cut out panel by panel.

use super::lanes::Lanes;
use super::parallel::Shared;
use super::product::{Finish, LeftRows, Right, product};
use super::{Ending, Matrix, Values, tensor};
use burn::tensor::Tensor;
use std::ops::Range;

/// The patches of one image: a column each pixel of the result, a row each input channel and place of the kernel.
pub struct Patches<'a> {
    /// `[channels, height, width]`
    pub image: &'a [f32],
    pub height: usize,
    pub width: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
    /// Columns and rows of the result.
    pub out_width: usize,
    pub out_height: usize,
}

impl Patches<'_> {
    /// One row of a panel that lies within a row of the result.
    #[inline(always)]
    fn run(&self, channel: usize, [ky, kx]: [usize; 2], [row, column]: [usize; 2], place: &mut [f32]) {
        let y = (row * self.stride + ky).wrapping_sub(self.padding);
        if y >= self.height {
            return place.fill(0.0);
        }
        let line = &self.image[(channel * self.height + y) * self.width..][..self.width];
        let x = (column * self.stride + kx).wrapping_sub(self.padding);
        let last = x.wrapping_add((place.len() - 1) * self.stride);
        if x < self.width && last < self.width && self.stride == 1 {
            place.copy_from_slice(&line[x..x + place.len()]);
        } else if x < self.width && last < self.width {
            place.iter_mut().zip(line[x..].iter().step_by(self.stride)).for_each(|(place, value)| *place = *value);
        } else {
            for (index, place) in place.iter_mut().enumerate() {
                *place = line.get(x.wrapping_add(index * self.stride)).copied().unwrap_or(0.0);
            }
        }
    }
}

impl Right for Patches<'_> {
    #[inline(always)]
    unsafe fn pack<L: Lanes>(&self, depth: Range<usize>, first: usize, width: usize, panel: &mut [f32]) {
        let area = self.kernel * self.kernel;
        let pixels = self.out_width * self.out_height;
        for (k, panel) in depth.zip(panel.chunks_exact_mut(width)) {
            let (channel, place) = (k / area, k % area);
            let place = [place / self.kernel, place % self.kernel];
            let mut pixel = first;
            let mut rest = panel;
            while !rest.is_empty() && pixel < pixels {
                let at = [pixel / self.out_width, pixel % self.out_width];
                let length = rest.len().min(self.out_width - at[1]);
                let (now, later) = rest.split_at_mut(length);
                self.run(channel, place, at, now);
                pixel += length;
                rest = later;
            }
            rest.fill(0.0);
        }
    }
}

/// Convolution with `padding` zeros around it → + bias a channel → + residual → activation.
///
/// # Shapes
/// x `[B, in, h, w]`, weights `[out, in · k · k]` → `[B, out, h', w']`
pub fn convolution(
    x: &Tensor<4>,
    weights: &Matrix<'_>,
    [kernel, stride, padding]: [usize; 3],
    Ending { bias, residual, activation }: Ending<'_, 4>,
) -> Option<Tensor<4>> {
    let [batch, channels, height, width] = x.dims();
    let [out, depth] = weights.dims();
    let [out_height, out_width] = [height, width].map(|side| (side + 2 * padding - kernel) / stride + 1);
    let values = Values::of(x)?;
    let (bias, residual) = (Values::maybe(bias)?, Values::maybe(residual)?);
    let pixels = out_height * out_width;
    let mut result = vec![0.0f32; batch * out * pixels];
    let images = values.as_slice().chunks_exact(channels * height * width);
    for (index, (image, result)) in images.zip(result.chunks_exact_mut(out * pixels)).enumerate() {
        let patches = Patches { image, height, width, kernel, stride, padding, out_width, out_height };
        let finish = Finish {
            row_bias: bias.as_ref().map(Values::as_slice),
            residual: residual.as_ref().map(|all| &all.as_slice()[index * out * pixels..(index + 1) * out * pixels]),
            activation,
            ..Finish::default()
        };
        let (size, place) = ([out, depth, pixels], Shared::new(result));
        match weights {
            Matrix::Plain(..) => {
                product(&LeftRows { rows: weights.rows(), count: out }, &patches, size, place, pixels, &finish)
            }
            Matrix::Packed(packed) => product(packed, &patches, size, place, pixels, &finish),
        }
    }
    Some(tensor(result, [batch, out, out_height, out_width], &x.device()))
}

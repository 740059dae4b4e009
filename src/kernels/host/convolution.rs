//! A convolution as a product of its weights with the patches under them, which are cut out panel by panel, or by fewer
//! products where [`winograd`] pays.

use super::counted::{self, CountedWeights, RoundedPatches};
use super::lanes::Lanes;
use super::parallel::Room;
use super::product::{Finish, LeftRows, Right, Rows, Straight, product};
use super::{Ending, Matrix, Values, tensor, winograd};
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

/// Where a run of pixels of one row of the result lies: its row and first column.
type Place = [usize; 2];

impl Patches<'_> {
    /// Fills the columns `place` of the panel's rows `depth` with a run of pixels of one row of the result.
    #[inline(always)]
    unsafe fn run<L: Lanes>(
        &self,
        depth: Range<usize>,
        [row, column]: Place,
        place: Range<usize>,
        width: usize,
        panel: &mut [f32],
    ) {
        let Self { kernel, stride, padding, height, .. } = *self;
        let (mut channel, mut ky, mut kx) =
            (depth.start / (kernel * kernel), depth.start / kernel % kernel, depth.start % kernel);
        let mut at = 0;
        while at < depth.len() {
            let taps = (kernel - kx).min(depth.len() - at);
            let y = (row * stride + ky).wrapping_sub(padding);
            let line = if y < height { &self.image[(channel * height + y) * self.width..] } else { &[] };
            for tap in 0..taps {
                let place = &mut panel[(at + tap) * width..][place.clone()];
                if y < height {
                    unsafe { self.line::<L>(line, column * stride + kx + tap, place) };
                } else {
                    place.fill(0.0);
                }
            }
            at += taps;
            (kx, ky) = (0, ky + 1);
            if ky == kernel {
                (ky, channel) = (0, channel + 1);
            }
        }
    }

    /// Every `stride`-th value from `start` on of a line with zeros around it, whatever follows the line.
    #[inline(always)]
    unsafe fn line<L: Lanes>(&self, line: &[f32], start: usize, place: &mut [f32]) {
        let Self { stride, padding, width, .. } = *self;
        if start >= padding && start + (place.len() - 1) * stride < width + padding {
            return unsafe { every::<L>(stride, &line[start - padding..], place) };
        }
        // How many places lie left of the image, and where those within it end.
        let left = padding.saturating_sub(start).div_ceil(stride).min(place.len());
        let end = (width + padding).saturating_sub(start).div_ceil(stride).clamp(left, place.len());
        place[..left].fill(0.0);
        place[end..].fill(0.0);
        if left < end {
            unsafe { every::<L>(stride, &line[start + left * stride - padding..], &mut place[left..end]) };
        }
    }
}

/// Copies every `stride`-th value.
#[inline(always)]
unsafe fn every<L: Lanes>(stride: usize, values: &[f32], place: &mut [f32]) {
    if stride == 1 {
        return place.copy_from_slice(&values[..place.len()]);
    }
    let mut done = 0;
    if stride == 2 {
        while done + L::COUNT <= place.len() && 2 * (done + L::COUNT) <= values.len() {
            // SAFETY: within both.
            unsafe { L::evens(values.as_ptr().add(2 * done)).store(place.as_mut_ptr().add(done)) };
            done += L::COUNT;
        }
    }
    for (index, place) in place.iter_mut().enumerate().skip(done) {
        *place = values[index * stride];
    }
}

impl Right for Patches<'_> {
    #[inline(always)]
    unsafe fn pack<L: Lanes>(&self, depth: Range<usize>, first: usize, width: usize, panel: &mut [f32]) {
        let pixels = self.out_width * self.out_height;
        if [self.kernel, self.stride, self.padding] == [1, 1, 0] {
            let image = Straight { rows: Rows { values: self.image, stride: pixels }, columns: pixels };
            return unsafe { image.pack::<L>(depth, first, width, panel) };
        }
        let last = (first + width).min(pixels);
        if last < first + width {
            panel.fill(0.0);
        }
        // Most panels lie within a row of the result.
        let mut pixel = first;
        while pixel < last {
            let at = [pixel / self.out_width, pixel % self.out_width];
            let length = (last - pixel).min(self.out_width - at[1]);
            let place = pixel - first..pixel - first + length;
            if length == 2 * L::COUNT {
                // The compiler then knows how much is copied.
                unsafe { self.run::<L>(depth.clone(), at, 0..2 * L::COUNT, 2 * L::COUNT, panel) };
            } else {
                unsafe { self.run::<L>(depth.clone(), at, place, width, panel) };
            }
            pixel += length;
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
    let kernels = if [kernel, stride, padding] == [3, 1, 1] && winograd::pays([out, channels], [height, width]) {
        winograd::Kernels::of(weights)
    } else {
        None
    };
    let mut result = Room::new(batch * out * pixels);
    let results = result.shared();
    let images = values.as_slice().chunks_exact(channels * height * width);
    for (index, image) in images.enumerate() {
        let place = results.behind(index * out * pixels);
        let patches = Patches { image, height, width, kernel, stride, padding, out_width, out_height };
        let finish = Finish {
            row_bias: bias.as_ref().map(Values::as_slice),
            residual: residual.as_ref().map(|all| &all.as_slice()[index * out * pixels..(index + 1) * out * pixels]),
            activation,
            ..Finish::default()
        };
        if let Some(kernels) = &kernels {
            winograd::convolve(image, [height, width], kernels, place, &finish);
            continue;
        }
        let size = [out, depth, pixels];
        match weights {
            Matrix::Plain(..) => {
                product(&LeftRows { rows: weights.rows(), count: out }, &patches, size, place, pixels, &finish)
            }
            Matrix::Packed(packed) if counted::pays(packed) => {
                let patches = RoundedPatches { patches: &patches, group: packed.group };
                product(&CountedWeights(packed), &patches, size, place, pixels, &finish)
            }
            Matrix::Packed(packed) => product(packed, &patches, size, place, pixels, &finish),
            Matrix::Split(_) => return None,
        }
    }
    // SAFETY: each image has been written.
    let result = unsafe { result.filled() };
    Some(tensor(result, [batch, out, out_height, out_width], &x.device()))
}

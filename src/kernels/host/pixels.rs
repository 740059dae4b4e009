//! Feature maps as rows of pixels.

use super::lanes::{Lanes, SQUARE, Work, run};
use super::parallel::{Room, ranges};
use super::product::turn;
use super::{Values, tensor};
use burn::tensor::Tensor;

/// As [`pixels_as_rows`](crate::kernels::pixels_as_rows).
pub fn pixels_as_rows(x: &Tensor<4>) -> Option<Tensor<3>> {
    let [batch, channels, height, width] = x.dims();
    let pixels = height * width;
    let values = Values::of(x)?;
    let mut result = Room::new(batch * pixels * channels);
    let rows = result.shared();
    ranges(batch, 1, values.as_slice().len(), |images| {
        for image in images {
            let [start, length] = [image * channels * pixels, channels * pixels];
            // SAFETY: each image is handed out once, and written before it is read.
            let rows = unsafe { rows.part(start, length) };
            run(Turned { map: &values.as_slice()[start..start + length], channels, rows });
        }
    });
    // SAFETY: each image has been written.
    Some(tensor(unsafe { result.filled() }, [batch, pixels, channels], &x.device()))
}

struct Turned<'a> {
    /// `[channels, pixels]`
    map: &'a [f32],
    channels: usize,
    rows: &'a mut [f32],
}

impl Work for Turned<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Self { map, channels, rows } = self;
        let pixels = map.len() / channels;
        let channel = |channel: usize| &map[channel * pixels..][..pixels];
        let whole = channels - channels % SQUARE;
        for first in (0..whole).step_by(SQUARE) {
            unsafe { turn::<L>(std::array::from_fn(|at| channel(first + at)), first, channels, rows) };
        }
        for last in whole..channels {
            rows.chunks_exact_mut(channels).zip(channel(last)).for_each(|(row, value)| row[last] = *value);
        }
    }
}

//! The max-pooling of the stem: the greatest of three rows, then of three columns.

use super::lanes::{Lanes, Work, run};
use super::parallel::{Shared, ranges};
use super::{Values, tensor};
use burn::tensor::Tensor;

/// The side of a window, and how far windows are apart.
const SIDE: usize = 3;
const STRIDE: usize = 2;

/// As [`max_pool`](crate::kernels::max_pool).
pub fn max_pool(x: &Tensor<4>) -> Option<Tensor<4>> {
    let [batch, channels, height, width] = x.dims();
    let values = Values::of(x)?;
    let planes = values.as_slice();
    let [rows, columns] = [height, width].map(|side| side.div_ceil(STRIDE));
    let mut pooled = vec![0.0f32; batch * channels * rows * columns];
    let out = Shared::new(&mut pooled);
    ranges(batch * channels, 1, planes.len() * SIDE, |range| {
        for plane in range {
            // SAFETY: each plane is handed out once.
            let out = unsafe { out.part(plane * rows * columns, rows * columns) };
            run(Pool { plane: &planes[plane * height * width..][..height * width], width, out });
        }
    });
    Some(tensor(pooled, [batch, channels, rows, columns], &x.device()))
}

/// [`f32::max`] is a call in WebAssembly.
#[inline(always)]
fn greater(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

struct Pool<'a> {
    plane: &'a [f32],
    width: usize,
    out: &'a mut [f32],
}

impl Work for Pool<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Self { plane, width, out } = self;
        let height = plane.len() / width;
        // With a border on both sides.
        let mut greatest = vec![f32::NEG_INFINITY; width + 2];
        for (row, out) in out.chunks_exact_mut(width.div_ceil(STRIDE)).enumerate() {
            let first = (row * STRIDE).saturating_sub(SIDE / 2);
            let last = (row * STRIDE + SIDE / 2).min(height - 1);
            let inner = &mut greatest[1..=width];
            inner.copy_from_slice(&plane[first * width..][..width]);
            for line in plane[(first + 1) * width..(last + 1) * width].chunks_exact(width) {
                inner.iter_mut().zip(line).for_each(|(greatest, value)| *greatest = greater(*greatest, *value));
            }
            for (out, window) in out.iter_mut().zip(greatest.windows(SIDE).step_by(STRIDE)) {
                *out = greater(greater(window[0], window[1]), window[2]);
            }
        }
    }
}

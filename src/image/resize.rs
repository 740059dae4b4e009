//! Separable resizing with 8-bit values between the passes, the recipe of the library that the original
//! uses (reference §5.1). A resizer in floating point differs by up to 24 steps at hard edges.

use super::{Pixels, check_size};
use crate::error::Result;
use std::f64::consts::PI;

/// Weights are whole multiples of 2^-22, so that sums are exact and do not depend on their order.
const PRECISION: u32 = 22;

/// The interpolation kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Cubic with a = -0.5: all images that the model looks at.
    Bicubic,
    /// Three-lobed sinc: images that are turned into codes.
    Lanczos,
}

impl Filter {
    fn support(self) -> f64 {
        match self {
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let x = x.abs();
        match self {
            Self::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            Self::Lanczos if x < 3.0 => sinc(x) * sinc(x / 3.0),
            _ => 0.0,
        }
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) }
}

/// [`resize`] with [`Filter::Bicubic`].
///
/// # Errors
/// As [`resize`].
pub fn resize_bicubic(pixels: &Pixels, width: u32, height: u32) -> Result<Pixels> {
    resize(pixels, width, height, Filter::Bicubic)
}

/// Resizes to exactly `width` x `height`; an image of that size comes back as it is.
///
/// # Errors
/// [`crate::error::Error::Image`] if the size asked for is zero or too large.
pub fn resize(pixels: &Pixels, width: u32, height: u32, filter: Filter) -> Result<Pixels> {
    check_size(width, height)?;
    if pixels.size() == (width, height) {
        return Ok(pixels.clone());
    }
    let columns = Taps::new(pixels.width, width, filter);
    let rows = Taps::new(pixels.height, height, filter);
    let mut rgb = vec![0; width as usize * height as usize * 3];
    let stride = width as usize * 3;
    let mut row = vec![0; stride];

    // Input rows are narrowed one at a time and added to the few output rows that they reach. Narrowing the
    // whole image first, the obvious way, would need gigabytes for a tall strip of a few pixels' width.
    let mut open: Vec<(usize, Vec<i32>)> = Vec::new();
    let mut spare: Vec<Vec<i32>> = Vec::new();
    let mut next = 0;
    for (y, source) in pixels.rgb.chunks_exact(pixels.width as usize * 3).enumerate() {
        while next < rows.len() && rows.start(next) <= y {
            let mut sums = spare.pop().unwrap_or_default();
            sums.clear();
            sums.resize(stride, 1 << (PRECISION - 1));
            open.push((next, sums));
            next += 1;
        }
        columns.apply(source, &mut row);
        for (index, sums) in &mut open {
            let weight = rows.weights(*index)[y - rows.start(*index)];
            for (sum, value) in sums.iter_mut().zip(&row) {
                *sum += weight * i32::from(*value);
            }
        }
        open.retain_mut(|(index, sums)| {
            if rows.end(*index) > y + 1 {
                return true;
            }
            let target = &mut rgb[*index * stride..][..stride];
            for (byte, sum) in target.iter_mut().zip(sums.iter()) {
                *byte = clip(*sum);
            }
            spare.push(std::mem::take(sums));
            false
        });
    }
    Ok(Pixels { width, height, rgb })
}

fn clip(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// For each output position the input positions that it reads, and their weights.
struct Taps {
    /// Start in the input, and end of the weights in `weights`.
    windows: Vec<(usize, usize)>,
    weights: Vec<i32>,
}

impl Taps {
    fn new(from: u32, to: u32, filter: Filter) -> Self {
        if from == to {
            // Weight one at the pixel itself gives it back unchanged, as skipping the pass would.
            let windows = (0..from as usize).map(|i| (i, i + 1)).collect();
            return Self { windows, weights: vec![1 << PRECISION; from as usize] };
        }
        let scale = f64::from(from) / f64::from(to);
        let stretch = scale.max(1.0);
        let support = filter.support() * stretch;
        let mut taps = Self { windows: Vec::with_capacity(to as usize), weights: Vec::new() };
        let mut window = Vec::new();
        for index in 0..to {
            let center = (f64::from(index) + 0.5) * scale;
            let start = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(from as usize);
            window.clear();
            // Multiplying by the reciprocal, not dividing, is part of the recipe: it decides last bits.
            window.extend((start..end).map(|x| filter.weight((x as f64 - center + 0.5) * (1.0 / stretch))));
            let total: f64 = window.iter().sum();
            taps.weights.extend(window.iter().map(|weight| fixed_point(weight / total)));
            taps.windows.push((start, taps.weights.len()));
        }
        taps
    }

    fn len(&self) -> usize {
        self.windows.len()
    }

    fn start(&self, index: usize) -> usize {
        self.windows[index].0
    }

    fn end(&self, index: usize) -> usize {
        self.start(index) + self.weights(index).len()
    }

    fn weights(&self, index: usize) -> &[i32] {
        let first = if index == 0 { 0 } else { self.windows[index - 1].1 };
        &self.weights[first..self.windows[index].1]
    }

    /// One row of RGB to another.
    fn apply(&self, source: &[u8], target: &mut [u8]) {
        let (source, _) = source.as_chunks::<3>();
        let (target, _) = target.as_chunks_mut::<3>();
        for (index, pixel) in target.iter_mut().enumerate() {
            let mut sums = [1i32 << (PRECISION - 1); 3];
            let weights = self.weights(index);
            for (weight, value) in weights.iter().zip(&source[self.start(index)..]) {
                for channel in 0..3 {
                    sums[channel] += weight * i32::from(value[channel]);
                }
            }
            *pixel = sums.map(clip);
        }
    }
}

/// To the nearest multiple of 2^-22, halves away from zero.
fn fixed_point(weight: f64) -> i32 {
    (weight * f64::from(1u32 << PRECISION)).round() as i32
}

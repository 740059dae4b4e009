//! Operations on colours: each channel for itself, by a table of its 256 values, and sharpening.

use crate::error::Result;
use crate::image::Pixels;

/// The weight of a pixel among its neighbours in the blurred image that sharpening moves away from.
const CENTER_WEIGHT: i32 = 5;

/// Stretches each channel from its darkest to its brightest value over the whole range.
///
/// # Errors
/// None for an image; so of all that follow.
pub fn autocontrast(pixels: &Pixels) -> Result<Pixels> {
    by_channel(pixels, |counts| {
        let low = counts.iter().position(|count| *count > 0).unwrap_or(0) as f32;
        let high = counts.iter().rposition(|count| *count > 0).unwrap_or(0) as f32;
        std::array::from_fn(|value| {
            let value = value as f32;
            // Values below the darkest do not occur. The conversion saturates and cuts off.
            if high > low { ((value - low) * 255.0 / (high - low)) as u8 } else { value as u8 }
        })
    })
}

/// Spreads each channel's values so that all are about equally frequent.
///
/// # Errors
/// As [`autocontrast`].
pub fn equalize(pixels: &Pixels) -> Result<Pixels> {
    by_channel(pixels, |counts| {
        let last = counts.iter().rposition(|count| *count > 0).unwrap_or(0);
        let step = counts[..last].iter().sum::<u64>() / 255;
        let mut sum = step / 2;
        std::array::from_fn(|value| {
            if step == 0 {
                return value as u8;
            }
            let level = (sum / step).min(255) as u8;
            sum += counts[value];
            level
        })
    })
}

/// Multiplies all values.
///
/// # Errors
/// As [`autocontrast`].
pub fn brightness(pixels: &Pixels, factor: f32) -> Result<Pixels> {
    by_channel(pixels, |_| std::array::from_fn(|value| (value as f32 * factor) as u8))
}

/// Moves each pixel away from the mean of its neighbourhood (`factor` above 1) or towards it (below). Pixels at the
/// edge stay.
///
/// # Errors
/// As [`autocontrast`].
pub fn sharpness(pixels: &Pixels, factor: f32) -> Result<Pixels> {
    let (width, height) = (pixels.width() as usize, pixels.height() as usize);
    let source = pixels.rgb();
    let mut rgb = source.to_vec();
    let stride = width * 3;
    for row in 1..height.saturating_sub(1) {
        for at in row * stride + 3..(row + 1) * stride - 3 {
            let around = |at: usize| [at - 3, at, at + 3].map(|at| i32::from(source[at])).iter().sum::<i32>();
            let center = i32::from(source[at]);
            let sum = around(at - stride) + around(at) + around(at + stride) + (CENTER_WEIGHT - 1) * center;
            let blurred = (sum as f32 / (8 + CENTER_WEIGHT) as f32).round_ties_even();
            rgb[at] = (blurred + factor * (center as f32 - blurred)) as u8;
        }
    }
    Pixels::from_rgb(pixels.width(), pixels.height(), rgb)
}

/// Replaces each channel's values by a table made from how often each occurs.
fn by_channel(pixels: &Pixels, table: impl Fn(&[u64; 256]) -> [u8; 256]) -> Result<Pixels> {
    let mut counts = [[0u64; 256]; 3];
    for pixel in pixels.rgb().as_chunks::<3>().0 {
        for (counts, value) in counts.iter_mut().zip(pixel) {
            counts[usize::from(*value)] += 1;
        }
    }
    let tables = counts.map(|counts| table(&counts));
    let change =
        |pixel: &[u8; 3]| std::array::from_fn::<u8, 3, _>(|channel| tables[channel][usize::from(pixel[channel])]);
    let rgb = pixels.rgb().as_chunks::<3>().0.iter().flat_map(change).collect();
    Pixels::from_rgb(pixels.width(), pixels.height(), rgb)
}

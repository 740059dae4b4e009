//! Pictures to the numbers that the model's stem reads, exactly as the original prepares them.

#[cfg(feature = "cli")]
mod decode;
#[cfg(feature = "cli")]
mod encode;
mod resize;

#[cfg(feature = "cli")]
pub use decode::decode;
#[cfg(feature = "cli")]
pub use encode::encode_png;
pub use resize::{Filter, resize, resize_bicubic};

use crate::error::{Error, Result};
use std::ops::Range;

/// The longest side of an image; JPEG's own limit.
pub const MAX_SIDE: u32 = 65_535;
/// The most pixels of an image. A header of a few bytes can claim any size, and what it claims is allocated.
pub const MAX_PIXELS: u64 = 64 << 20;

/// An RGB image, 8 bits a channel, row after row from the top.
#[derive(Clone, PartialEq, Eq)]
pub struct Pixels {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl std::fmt::Debug for Pixels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pixels {{ {} x {} }}", self.width, self.height)
    }
}

impl Pixels {
    /// Takes interleaved RGB.
    ///
    /// # Errors
    /// [`Error::Image`] if the size is zero or too large, or if `rgb` does not have `width · height · 3` bytes.
    pub fn from_rgb(width: u32, height: u32, rgb: Vec<u8>) -> Result<Self> {
        check_length(width, height, rgb.len(), 3)?;
        Ok(Self { width, height, rgb })
    }

    /// Takes interleaved RGBA, the form of `ImageData`. Alpha is dropped, not composited, as in the original.
    ///
    /// # Errors
    /// [`Error::Image`] if the size is zero or too large, or if `rgba` does not have `width · height · 4` bytes.
    pub fn from_rgba(width: u32, height: u32, rgba: &[u8]) -> Result<Self> {
        check_length(width, height, rgba.len(), 4)?;
        let rgb = rgba.as_chunks::<4>().0.iter().flat_map(|&[r, g, b, _]| [r, g, b]).collect();
        Ok(Self { width, height, rgb })
    }

    /// Pixels a row.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// `(width, height)`.
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// Interleaved RGB.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }
}

/// Refuses sizes before anything is allocated for them.
pub(crate) fn check_size(width: u32, height: u32) -> Result<()> {
    if width == 0 || height == 0 {
        return Err(Error::image(format!("{width} x {height} pixels: the image is empty")));
    }
    let pixels = u64::from(width) * u64::from(height);
    if width > MAX_SIDE || height > MAX_SIDE || pixels > MAX_PIXELS {
        let limit = MAX_PIXELS >> 20;
        let reason = format!(
            "{width} x {height} pixels; at most {limit} million and {MAX_SIDE} a side are read: make the image smaller"
        );
        return Err(Error::image(reason));
    }
    Ok(())
}

fn check_length(width: u32, height: u32, length: usize, channels: u64) -> Result<()> {
    check_size(width, height)?;
    let expected = u64::from(width) * u64::from(height) * channels;
    if length as u64 != expected {
        let reason = format!("{width} x {height} pixels of {channels} bytes are {expected} bytes, found {length}");
        return Err(Error::image(reason));
    }
    Ok(())
}

/// Which mean and deviation the channels are normalised with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Normalization {
    /// 0.5 and 0.5: values from -1 to 1.
    Half,
    /// The statistics of ImageNet.
    ImageNet,
}

impl Normalization {
    /// Mean and deviation of red, green and blue.
    fn statistics(self) -> [(f32, f32); 3] {
        match self {
            Self::Half => [(0.5, 0.5); 3],
            Self::ImageNet => [(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)],
        }
    }
}

/// An image of which everything is seen in its own shape: its longer side becomes `side`, and what is missing beside it is a
/// continuation of its edges (reference §5.3; in the middle, as modelscope has it).
///
/// # Errors
/// [`Error::Image`] if the size asked for is zero or too large.
pub fn fit_and_pad(pixels: &Pixels, side: u32) -> Result<Pixels> {
    let [columns, rows] = fitted(pixels.size(), side);
    let fitted = resize_bicubic(pixels, columns.len() as u32, rows.len() as u32)?;
    let inside = |at: u32, range: &Range<u32>| at.clamp(range.start, range.end - 1) - range.start;
    let mut rgb = Vec::with_capacity(side as usize * side as usize * 3);
    for row in 0..side {
        let start = inside(row, &rows) as usize * columns.len();
        for column in 0..side {
            let at = 3 * (start + inside(column, &columns) as usize);
            rgb.extend_from_slice(&fitted.rgb()[at..at + 3]);
        }
    }
    Pixels::from_rgb(side, side, rgb)
}

/// Columns and rows of a square with this side that an image of a size takes in it.
pub fn fitted((width, height): (u32, u32), side: u32) -> [Range<u32>; 2] {
    let ratio = f64::from(width.min(height)) / f64::from(width.max(height));
    let shorter = ((f64::from(side) * ratio) as u32).max(LEAST_PADDED).min(side);
    let start = (side - shorter) / 2;
    let (whole, part) = (0..side, start..start + shorter);
    if width >= height { [whole, part] } else { [part, whole] }
}

/// The least shorter side of what is padded, in pixels.
const LEAST_PADDED: u32 = 64;

/// The channels of an image as planes of normalised numbers.
///
/// # Shapes
/// `[3, height, width]`
pub fn normalize(pixels: &Pixels, normalization: Normalization) -> Vec<f32> {
    let mut planes = Vec::with_capacity(pixels.rgb.len());
    for (channel, (mean, deviation)) in normalization.statistics().into_iter().enumerate() {
        let values: [f32; 256] = std::array::from_fn(|byte| (byte as f32 / 255.0 - mean) / deviation);
        planes.extend(pixels.rgb.as_chunks::<3>().0.iter().map(|pixel| values[usize::from(pixel[channel])]));
    }
    planes
}

/// Planes of numbers from -1 to 1, as a model draws them, to an image. Numbers outside are cut off, and what lies
/// between two bytes becomes the lower one, as in the original.
///
/// # Shapes
/// `[3, height, width]`
///
/// # Errors
/// [`Error::Image`] if the size is zero or too large, or not that of `planes`.
pub fn from_planes(planes: &[f32], width: u32, height: u32) -> Result<Pixels> {
    let byte = |value: f32| (255.0 * ((value.clamp(-1.0, 1.0) + 1.0) / 2.0)) as u8;
    let count = planes.len() / 3;
    let rgb = (0..count).flat_map(|pixel| [0, 1, 2].map(|channel| byte(planes[channel * count + pixel]))).collect();
    Pixels::from_rgb(width, height, rgb)
}

/// The rectangle of `width` x `height` whose left upper corner is at `(left, top)`.
///
/// # Errors
/// [`Error::Image`] if it is empty or reaches beyond the image.
pub fn crop(pixels: &Pixels, (left, top): (u32, u32), width: u32, height: u32) -> Result<Pixels> {
    let inside = |start: u32, length: u32, side: u32| start.checked_add(length).is_some_and(|end| end <= side);
    if !inside(left, width, pixels.width) || !inside(top, height, pixels.height) {
        let whole = format!("{} x {}", pixels.width, pixels.height);
        return Err(Error::image(format!("{width} x {height} pixels at {left}, {top} are not inside {whole}")));
    }
    let rows = pixels.rgb.chunks_exact(pixels.width as usize * 3).skip(top as usize).take(height as usize);
    let columns = left as usize * 3..(left + width) as usize * 3;
    let rgb = rows.flat_map(|row| &row[columns.clone()]).copied().collect();
    Pixels::from_rgb(width, height, rgb)
}

/// The size of an image whose shorter side becomes `size`, its aspect kept, its longer side cut off at `max_size`.
pub fn resize_aspect((width, height): (u32, u32), size: u32, max_size: Option<u32>) -> (u32, u32) {
    let scaled = |long: u32, short: u32| {
        let scaled = u64::from(size) * u64::from(long) / u64::from(short.max(1));
        u32::try_from(scaled).unwrap_or(u32::MAX)
    };
    let (new_width, new_height) =
        if width < height { (size, scaled(height, width)) } else { (scaled(width, height), size) };
    let most = max_size.unwrap_or(u32::MAX);
    (new_width.min(most), new_height.min(most))
}

/// Sets the middle half of a square image, which the model is to draw, to the middle of its values.
///
/// # Shapes
/// planes `[3, side, side]`, normalised
pub fn hide_middle(planes: &mut [f32], side: u32) {
    let side = side as usize;
    let (start, end) = (side / 4, side / 4 + side / 2);
    for (row, values) in planes.chunks_mut(side).enumerate() {
        if (start..end).contains(&(row % side)) {
            values[start..end].fill(0.0);
        }
    }
}

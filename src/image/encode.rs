//! Pixels to image files, of the native build only.

use super::Pixels;
use crate::error::{Error, Result};
use ::image::codecs::png::PngEncoder;
use ::image::{ExtendedColorType, ImageEncoder};

/// A PNG file.
///
/// # Errors
/// [`Error::Image`] when it cannot be encoded.
pub fn encode_png(pixels: &Pixels) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes)
        .write_image(pixels.rgb(), pixels.width(), pixels.height(), ExtendedColorType::Rgb8)
        .map_err(|error| Error::image(format!("cannot be written: {error}")))?;
    Ok(bytes)
}

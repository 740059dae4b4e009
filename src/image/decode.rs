//! Image files to pixels. Browsers decode by themselves, so this is part of the native build only.

use super::{MAX_PIXELS, Pixels, check_size};
use crate::error::{Error, Result};
use ::image::metadata::Orientation;
use ::image::{DynamicImage, ImageDecoder, ImageError, ImageReader, Limits};
use std::io::Cursor;

/// Bytes that a decoder may allocate: the largest image with four 16-bit channels, twice.
const MAX_ALLOCATION: u64 = MAX_PIXELS * 8 * 2;

/// Decodes a JPEG, PNG or WebP file.
///
/// Upright as its EXIF orientation says, grey replicated, alpha dropped without compositing, 16 bits reduced
/// to 8.
///
/// # Errors
/// [`Error::Image`] if the bytes are empty, of another format, damaged, or an image too large to decode; the
/// size is read from the header and refused before anything is allocated for it.
pub fn decode(bytes: &[u8]) -> Result<Pixels> {
    if bytes.is_empty() {
        return Err(Error::image("the file is empty"));
    }
    let reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|error| Error::image(format!("cannot be read: {error}")))?;
    if reader.format().is_none() {
        return Err(Error::image("not a JPEG, PNG or WebP file"));
    }
    let mut decoder = reader.into_decoder().map_err(explain)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height)?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_ALLOCATION);
    decoder.set_limits(limits).map_err(explain)?;
    // A damaged EXIF block says nothing about the picture itself.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(explain)?;
    image.apply_orientation(orientation);
    let rgb = image.into_rgb8();
    let (width, height) = rgb.dimensions();
    Pixels::from_rgb(width, height, rgb.into_raw())
}

fn explain(error: ImageError) -> Error {
    match error {
        ImageError::Unsupported(_) => Error::image(format!("not a JPEG, PNG or WebP file that can be read: {error}")),
        ImageError::Limits(_) => Error::image(format!("too large: {error}")),
        _ => Error::image(format!("damaged or cut off: {error}")),
    }
}

//! Image files to pixels. Browsers decode by themselves, so this is part of the native build only.

use super::{MAX_PIXELS, Pixels, check_size};
use crate::error::{Error, Result};
use ::image::metadata::Orientation;
use ::image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
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
    if reader.format() == Some(ImageFormat::Jpeg) && is_cut_off(bytes) {
        return Err(Error::image("damaged or cut off: the JPEG ends within its picture"));
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

/// Whether a JPEG has no end: its decoder would fill the rest with grey.
fn is_cut_off(jpeg: &[u8]) -> bool {
    const END: u8 = 0xd9;
    // Those without a length: stuffed and restarted data, the start.
    let alone = |marker: u8| matches!(marker, 0x00 | 0x01 | 0xd0..=0xd8);
    let mut at = 0;
    while let [first, marker, rest @ ..] = &jpeg[at.min(jpeg.len())..] {
        at += match (first, *marker) {
            (0xff, END) => return false,
            (0xff, marker) if marker != 0xff && !alone(marker) => {
                let [high, low, ..] = rest else { return true };
                2 + usize::from(u16::from_be_bytes([*high, *low]))
            }
            (0xff, marker) if alone(marker) => 2,
            // A scan's data, up to the next marker.
            _ => 1,
        };
    }
    true
}

fn explain(error: ImageError) -> Error {
    match error {
        ImageError::Unsupported(_) => Error::image(format!("not a JPEG, PNG or WebP file that can be read: {error}")),
        ImageError::Limits(_) => Error::image(format!("too large: {error}")),
        _ => Error::image(format!("damaged or cut off: {error}")),
    }
}

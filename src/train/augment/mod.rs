//! Images of training are never seen twice the same (reference §5.3): sizes, crops, colours, small warps.
//!
//! Read `picture` (an image and its boxes, which move together), `color` and `warp` (single operations), `rand_augment`
//! (two of them by chance). Here is what each objective does with them.

mod color;
mod picture;
mod rand_augment;
mod warp;

pub use color::{autocontrast, brightness, equalize, sharpness};
pub use picture::Picture;
pub use rand_augment::{Operation, rand_augment};
pub use warp::{rotate, shear_x, shear_y, translate_x, translate_y};

use crate::error::{Error, Result};
use crate::image::{Normalization, Pixels, normalize};
use crate::train::PatchImage;

/// How much a detection image may be larger than what is cut out of it.
const JITTER: (f32, f32) = (1.0, 1.5);

/// Sizes of training images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageSizes {
    /// Side of the square that the model sees of an image with text.
    pub side: u32,
    /// An image's shorter side is first resized to something from `side` to this.
    pub short_side: u32,
    /// Its longer side is cut off at this.
    pub long_side: u32,
    /// Side of detection images and of pure images; the middle half of the latter is what is to be drawn.
    pub extra_side: u32,
}

impl ImageSizes {
    /// The sizes of the original's script for a model that sees `side` pixels.
    pub fn new(side: u32) -> Self {
        Self { side, short_side: side.max(480), long_side: side.max(672), extra_side: 256 }
    }

    /// An image that a text is about: resized, its middle, now and then other colours and a small warp.
    ///
    /// # Errors
    /// [`Error::Image`] for sizes that are zero or too large.
    pub fn about_text(&self, pixels: Pixels, random: &mut fastrand::Rng) -> Result<PatchImage> {
        let middle = self.resized(Picture::new(pixels), random)?.center_crop(self.side)?;
        Ok(patches(&rand_augment(middle.pixels, random)?))
    }

    /// An image in which something is to be found: cut out around the first box, which stays in the picture as far as
    /// it fits.
    ///
    /// # Errors
    /// As [`ImageSizes::about_text`], and if there is no box.
    pub fn about_region(&self, picture: Picture, random: &mut fastrand::Rng) -> Result<Picture> {
        self.resized(picture, random)?.crop_around_first(self.side)
    }

    /// An image of several objects: mirrored half of the time, enlarged, and a part of it; objects that fall outside are
    /// dropped.
    ///
    /// # Errors
    /// As [`ImageSizes::about_text`].
    pub fn of_objects(&self, mut picture: Picture, random: &mut fastrand::Rng) -> Result<Picture> {
        if random.bool() {
            picture = picture.mirrored()?;
        }
        let side = self.extra_side as f32;
        let (width, height) = picture.pixels.size();
        let wanted = (side * (JITTER.0 + random.f32() * (JITTER.1 - JITTER.0))).round_ties_even();
        let scale = (wanted / height as f32).max(wanted / width as f32);
        // Rounding must not leave a side too short to be cut.
        let scaled = |length: u32| ((length as f32 * scale).round_ties_even() as u32).max(self.extra_side);
        let picture = picture.resized(scaled(width), scaled(height))?;
        let (spare_x, spare_y) = (picture.pixels.width() - self.extra_side, picture.pixels.height() - self.extra_side);
        let (left, top) = (random.u32(0..=spare_x), random.u32(0..=spare_y));
        let mut cut = picture.cropped(i64::from(left), i64::from(top), self.extra_side, self.extra_side)?;
        cut.drop_empty();
        Ok(cut)
    }

    /// An image whose middle is to be drawn: the middle is set to zero after normalisation.
    ///
    /// # Errors
    /// [`Error::Image`] for an image of another size: its codes were made of exactly that middle.
    pub fn without_middle(&self, pixels: &Pixels) -> Result<PatchImage> {
        let side = self.extra_side;
        if pixels.size() != (side, side) {
            let (width, height) = pixels.size();
            return Err(Error::image(format!("expected {side} x {side} pixels, found {width} x {height}")));
        }
        let mut image = patches(pixels);
        let (side, start, end) = (side as usize, side as usize / 4, side as usize * 3 / 4);
        for row in 0..3 * side {
            if (start..end).contains(&(row % side)) {
                image.values[row * side + start..row * side + end].fill(0.0);
            }
        }
        Ok(image)
    }

    fn resized(&self, picture: Picture, random: &mut fastrand::Rng) -> Result<Picture> {
        let short = random.u32(self.side..=self.short_side.max(self.side));
        picture.resized_to_short_side(short, self.long_side)
    }
}

/// Pixels as the stem reads them.
pub fn patches(pixels: &Pixels) -> PatchImage {
    let (width, height) = pixels.size();
    PatchImage { width: width as usize, height: height as usize, values: normalize(pixels, Normalization::Half) }
}

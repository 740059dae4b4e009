//! Two operations by chance, at a strength of 7 out of 10.

use super::color::{autocontrast, brightness, equalize, sharpness};
use super::warp::{rotate, shear_x, shear_y, translate_x, translate_y};
use crate::error::Result;
use crate::image::Pixels;

/// Operations drawn for an image.
const DRAWN: usize = 2;
const STRENGTH: f64 = 0.7;
/// Brightness and sharpness: 0.1 at no strength, 1.9 at full.
const ENHANCE: f32 = STRENGTH as f32 * 1.8 + 0.1;
const SHEAR: f64 = STRENGTH * 0.3;
/// Pixels.
const TRANSLATE: f64 = STRENGTH * 10.0;
/// Degrees.
const ROTATE: f64 = STRENGTH * 30.0;

/// What may happen to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Identity,
    AutoContrast,
    Equalize,
    Brightness,
    Sharpness,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
}

impl Operation {
    pub const ALL: [Self; 10] = [
        Self::Identity,
        Self::AutoContrast,
        Self::Equalize,
        Self::Brightness,
        Self::Sharpness,
        Self::ShearX,
        Self::ShearY,
        Self::TranslateX,
        Self::TranslateY,
        Self::Rotate,
    ];

    /// Does it, to the other side if `reverse` and if there are sides.
    ///
    /// # Errors
    /// None for an image.
    pub fn apply(self, pixels: Pixels, reverse: bool) -> Result<Pixels> {
        let sign = if reverse { -1.0 } else { 1.0 };
        match self {
            Self::Identity => Ok(pixels),
            Self::AutoContrast => autocontrast(&pixels),
            Self::Equalize => equalize(&pixels),
            Self::Brightness => brightness(&pixels, ENHANCE),
            Self::Sharpness => sharpness(&pixels, ENHANCE),
            Self::ShearX => shear_x(&pixels, sign * SHEAR),
            Self::ShearY => shear_y(&pixels, sign * SHEAR),
            Self::TranslateX => translate_x(&pixels, sign * TRANSLATE),
            Self::TranslateY => translate_y(&pixels, sign * TRANSLATE),
            Self::Rotate => rotate(&pixels, sign * ROTATE),
        }
    }
}

/// Two operations, each done half of the time. The original draws the same two for all images of an epoch, because it
/// seeds its generator anew for each; here every image has its own.
///
/// # Errors
/// None for an image.
pub fn rand_augment(mut pixels: Pixels, random: &mut fastrand::Rng) -> Result<Pixels> {
    for _ in 0..DRAWN {
        let operation = Operation::ALL[random.usize(..Operation::ALL.len())];
        let (done, reverse) = (random.bool(), random.bool());
        if done {
            pixels = operation.apply(pixels, reverse)?;
        }
    }
    Ok(pixels)
}

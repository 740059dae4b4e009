//! Images to the codes that the large model reads and writes, and back (reference §5.1, §10).

use crate::config::VqganConfig;
use crate::error::{Error, Result};
use crate::image::{Filter, Normalization, Pixels, crop, from_planes, normalize, resize, resize_aspect};
use crate::kernels::{floats, integers, tensor};
use crate::model::Vqgan;

/// The middle part of an image has half its sides.
const MIDDLE: u32 = 2;

/// A model of image codes, and how images are prepared for it.
pub struct ImageCodes {
    config: VqganConfig,
    model: Vqgan,
}

impl ImageCodes {
    pub fn new(config: VqganConfig, model: Vqgan) -> Self {
        Self { config, model }
    }

    pub fn config(&self) -> &VqganConfig {
        &self.config
    }

    /// The codes of an image as it is, row after row.
    ///
    /// # Errors
    /// [`Error::Image`] unless its sides are multiples of the stride.
    pub async fn encode(&self, pixels: &Pixels) -> Result<Vec<usize>> {
        let (stride, (width, height)) = (self.config.stride() as u32, pixels.size());
        if !width.is_multiple_of(stride) || !height.is_multiple_of(stride) {
            let reason = format!("{width} x {height} pixels, where each code stands for {stride} x {stride} of them");
            return Err(Error::image(reason));
        }
        let count = width as usize / stride as usize * (height as usize / stride as usize);
        if count > MOST_CODES {
            return Err(Error::image(format!("{width} x {height} pixels take {count} codes, of {MOST_CODES} at most")));
        }
        let values = normalize(pixels, Normalization::Half);
        let values = tensor(values, [1, 3, height as usize, width as usize], &self.model.device());
        let codes = self.model.codes(values);
        let data = codes.into_data_async().await.map_err(Error::device)?;
        Ok(data.iter::<i64>().map(|code| code as usize).collect())
    }

    /// The codes of the square in an image's middle, its shorter side made `side` pixels long.
    ///
    /// # Errors
    /// Those of resizing, and of [`Self::encode`].
    pub async fn encode_square(&self, pixels: &Pixels, side: u32) -> Result<Vec<usize>> {
        let (width, height) = resize_aspect(pixels.size(), side, None);
        self.encode(&centre(&resize(pixels, width, height, Filter::Lanczos)?, side)?).await
    }

    /// The codes of the part of an image that image infilling hides: of the image as a square of twice `side` pixels,
    /// whatever its aspect, the `side` pixels in the middle (reference §6.1).
    ///
    /// # Errors
    /// As [`Self::encode_square`].
    pub async fn encode_middle(&self, pixels: &Pixels, side: u32) -> Result<Vec<usize>> {
        let whole = side.saturating_mul(MIDDLE);
        self.encode(&centre(&resize(pixels, whole, whole, Filter::Lanczos)?, side)?).await
    }

    /// The image of codes in raster order, `columns` in a row.
    ///
    /// # Errors
    /// [`Error::Option`] for a code that the codebook does not have, rows that are not complete, or more codes than memory
    /// is enough for.
    pub async fn decode(&self, codes: &[usize], columns: usize) -> Result<Pixels> {
        if columns == 0 || codes.is_empty() || !codes.len().is_multiple_of(columns) {
            return Err(Error::option("codes", format!("rows of {columns}"), format!("{} codes", codes.len())));
        }
        if codes.len() > MOST_CODES {
            return Err(Error::option("codes", format!("at most {MOST_CODES}"), format!("{} codes", codes.len())));
        }
        if let Some(code) = codes.iter().find(|code| **code >= self.config.n_embed) {
            return Err(Error::option("codes", format!("numbers below {}", self.config.n_embed), code));
        }
        let rows = codes.len() / columns;
        let codes: Vec<i32> = codes.iter().map(|code| *code as i32).collect();
        let codes = integers(codes, [1, rows, columns], &self.model.device());
        let image = self.model.decode(codes);
        let [_, _, height, width] = image.dims();
        from_planes(&floats(image).await?, width as u32, height as u32)
    }
}

/// Of the largest picture: 128 × 128. Attention between all of them takes a gigabyte.
const MOST_CODES: usize = 1 << 14;

/// The square of `side` pixels in the middle of an image that is at least as large.
fn centre(pixels: &Pixels, side: u32) -> Result<Pixels> {
    crop(pixels, ((pixels.width() - side) / 2, (pixels.height() - side) / 2), side, side)
}

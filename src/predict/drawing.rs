//! From the answers of the tasks that draw to pictures.

use super::{ImageCodes, Predictor};
use crate::config::AnswerOptions;
use crate::error::Result;
use crate::image::Pixels;
use crate::task::{Answer, Inputs, find};

/// A picture that the model drew.
#[derive(Debug, Clone)]
pub struct Drawing {
    pub pixels: Pixels,
    /// How likely the model thinks it, from 0 to 1, that the caption describes the picture, if it was asked.
    pub fit: Option<f64>,
}

impl Predictor {
    /// The picture of a sequence of codes. Rows that are not complete are left out, so that a drawing can be watched as
    /// it grows; none is complete at first. With a `caption` the model judges its own picture through its image-text
    /// matching: the best of several drawings is the one that fits best, where the original asks CLIP (reference §9.6).
    ///
    /// # Errors
    /// [`Error::Option`](crate::error::Error::Option) for a code that the codebook does not have, those of
    /// [`encode_image`](Self::encode_image) and [`answer`](Self::answer), and the device's.
    pub async fn draw(&self, codes: &ImageCodes, sequence: &[usize], caption: Option<&str>) -> Result<Option<Drawing>> {
        let columns = self.config.code_grid();
        let complete = &sequence[..sequence.len() - sequence.len() % columns];
        if complete.is_empty() {
            return Ok(None);
        }
        let pixels = codes.decode(complete, columns).await?;
        let fit = match caption {
            Some(caption) => Some(self.fit(&pixels, caption).await?),
            None => None,
        };
        Ok(Some(Drawing { pixels, fit }))
    }

    async fn fit(&self, pixels: &Pixels, caption: &str) -> Result<f64> {
        let (task, options) = (find("match")?, AnswerOptions::default());
        let image = self.encode_image(task, pixels, &options).await?;
        let answered = self.answer(task, Some(&image), &Inputs::of_text(caption), &options, async |_| Ok(())).await?;
        let Answer::Labels { alternatives, .. } = answered.answer else {
            return Ok(0.0);
        };
        Ok(alternatives.iter().find(|one| one.label == "yes").map_or(0.0, |yes| yes.probability))
    }
}

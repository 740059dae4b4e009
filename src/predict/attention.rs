//! Where the model looked while it wrote an answer.

use super::{EncodedImage, Predictor};
use crate::config::AnswerOptions;
use crate::error::Result;
use crate::image::fitted;
use crate::kernels::floats;
use crate::task::{Inputs, Task};
use serde::Serialize;

/// An answer's words, each with a weight for every patch of the image.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Attention {
    /// Patches in a row of the image.
    pub columns: usize,
    /// In the order of the answer.
    pub words: Vec<Attended>,
}

/// A word and where the model looked when it wrote it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Attended {
    /// The word; bins and codes are words of their own.
    pub text: String,
    /// The share of its attention that each patch had, row after row; what is left of 1 went to the instruction, and beside
    /// an image that is padded.
    pub weights: Vec<f32>,
}

impl Predictor {
    /// Reads an answer again in one pass of the decoder and tells, for each of its words, where the cross-attention
    /// that led to it went: the mean over layers, heads and the word's tokens. The other arguments are those of
    /// [`answer`](Self::answer), `tokens` what it [answered](super::Answered).
    ///
    /// # Errors
    /// [`Error::Task`](crate::error::Error::Task) as in [`answer`](Self::answer),
    /// [`Error::Option`](crate::error::Error::Option) for tokens that no answer of this model has.
    pub async fn attention(
        &self,
        task: &Task,
        image: &EncodedImage,
        inputs: &Inputs,
        options: &AnswerOptions,
        tokens: &[u32],
    ) -> Result<Attention> {
        let (read, cache, prefix) = self.reread(task, Some(image), inputs, options, tokens)?;
        let weights = self.model.cross_attention(&read, cache);
        let [_, patches, _] = image.features.patches.dims();
        let weights = weights.slice([0..1, 0..tokens.len(), 0..patches]);
        let weights = floats(weights).await?;

        let eos = self.config.eos_token_id;
        let answer = tokens.iter().copied().zip(weights.chunks(patches)).skip(prefix);
        let mut words: Vec<(Vec<u32>, Vec<&[f32]>)> = Vec::new();
        for (token, weights) in answer.filter(|(token, _)| *token != eos) {
            let goes_on = self.vocab.piece(token).is_some_and(|piece| !piece.starts_with(b" "));
            match words.last_mut().filter(|(word, _)| goes_on && word.iter().all(|id| self.vocab.piece(*id).is_some()))
            {
                Some((word, rows)) => {
                    word.push(token);
                    rows.push(weights);
                }
                None => words.push((vec![token], vec![weights])),
            }
        }
        let [columns, rows] = patches_of(image, patches.isqrt());
        let words = words.into_iter().map(|(word, seen)| {
            let mean = |patch: usize| seen.iter().map(|weights| weights[patch]).sum::<f32>() / seen.len() as f32;
            let places = rows.iter().flat_map(|row| columns.iter().map(move |column| row * patches.isqrt() + column));
            Attended { text: self.vocab.decode(&word).trim().to_owned(), weights: places.map(mean).collect() }
        });
        Ok(Attention { columns: columns.len(), words: words.collect() })
    }
}

/// Columns and rows of a square grid of patches that lie on the image, at least one of each.
fn patches_of(image: &EncodedImage, grid: usize) -> [Vec<usize>; 2] {
    let side = image.rule.side;
    let [columns, rows] = if image.rule.padded { fitted(image.size, side) } else { [0..side, 0..side] };
    [columns, rows].map(|range| {
        let middle = |patch: usize| ((2 * patch + 1) as u32 * side) / (2 * grid) as u32;
        (0..grid).filter(|patch| range.contains(&middle(*patch))).collect()
    })
}

//! From generated ids to what the caller asked for.

use super::{AnswerKind, ImageRule, Task};
use crate::vocab::boxes::{self, Ratio};
use crate::vocab::{Vocab, clean};
use serde::{Deserialize, Serialize};

/// One generated sequence, as the search returns it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hypothesis {
    /// The tokens, the decoder's prefix and EOS among them.
    pub tokens: Vec<u32>,
    /// What the search ranked it by.
    pub score: f64,
    /// The log-probability of each token.
    pub token_scores: Vec<f64>,
}

/// What of the question the answer depends on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AnswerContext {
    /// Tokens of the decoder's prefix; they are at the front of each hypothesis.
    pub prefix_len: usize,
    /// Width and height of the image as the caller has it.
    pub image: Option<(u32, u32)>,
    /// The side the model saw it at, if another than the task's own.
    pub side: Option<u32>,
}

/// A text and its score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scored {
    /// The answer.
    pub text: String,
    /// What the search ranked it by.
    pub score: f64,
}

/// A box and its score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Located {
    /// Left, top, right, bottom in pixels of the caller's image.
    pub pixels: [f64; 4],
    /// The same from 0 to 1.
    pub normalized: [f64; 4],
    /// What the search ranked it by.
    pub score: f64,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Answer {
    /// Words.
    Text {
        /// The best answer.
        text: String,
        /// The best answer as generated, before punctuation was removed.
        raw: String,
        /// What the search ranked it by.
        score: f64,
        /// All answers, the best first.
        alternatives: Vec<Scored>,
    },
    /// Places in the image, the best first; empty if the model wrote something other than four bins.
    Boxes {
        /// The boxes.
        boxes: Vec<Located>,
        /// The best answer as written, for the case that it is no box.
        raw: String,
    },
    /// Image codes, the best sequence first.
    Codes {
        /// For each sequence the code numbers in raster order.
        codes: Vec<Vec<usize>>,
        /// For each sequence its score.
        scores: Vec<f64>,
    },
}

impl Task {
    /// Reads the hypotheses, the best first, as this task's answer. No hypothesis gives an empty answer.
    pub fn answer(&self, hypotheses: &[Hypothesis], context: &AnswerContext, vocab: &Vocab) -> Answer {
        let written = |hypothesis: &Hypothesis| raw(hypothesis, context, vocab);
        let best = hypotheses.first().map(written).unwrap_or_default();
        match self.answer {
            AnswerKind::Text | AnswerKind::Caption => {
                let read = |hypothesis: &Hypothesis| match self.answer {
                    AnswerKind::Caption => clean::caption_output(&written(hypothesis)),
                    _ => written(hypothesis),
                };
                let alternatives: Vec<Scored> =
                    hypotheses.iter().map(|one| Scored { text: read(one), score: one.score }).collect();
                let (text, score) =
                    alternatives.first().map_or((String::new(), 0.0), |best| (best.text.clone(), best.score));
                Answer::Text { text, raw: best, score, alternatives }
            }
            AnswerKind::Box => {
                let locate = |one: &Hypothesis| self.locate(one, context, vocab);
                Answer::Boxes { boxes: hypotheses.iter().filter_map(locate).collect(), raw: best }
            }
            AnswerKind::Codes => {
                let codes = |one: &Hypothesis| {
                    answer_tokens(one, context).iter().filter_map(|id| vocab.code_index(*id)).collect()
                };
                Answer::Codes {
                    codes: hypotheses.iter().map(codes).collect(),
                    scores: hypotheses.iter().map(|one| one.score).collect(),
                }
            }
        }
    }

    /// The box that a hypothesis writes, if it writes exactly one.
    fn locate(&self, hypothesis: &Hypothesis, context: &AnswerContext, vocab: &Vocab) -> Option<Located> {
        let layout = vocab.layout();
        let tokens = answer_tokens(hypothesis, context);
        let tokens = tokens.strip_suffix(&[layout.eos]).unwrap_or(tokens);
        let bins: Vec<usize> = tokens.iter().map(|id| vocab.bin_index(*id)).collect::<Option<_>>()?;
        let bins: [usize; 4] = bins.try_into().ok()?;
        let side = context.side.or(self.image.map(|ImageRule { side, .. }| side))?;
        let (width, height) = context.image?;
        let ratio = Ratio::new((width, height), (side, side));
        let size = [f64::from(width), f64::from(height), f64::from(width), f64::from(height)];
        let coordinates = boxes::dequantise(bins, ratio, layout.num_bins);
        // The upper bins lie outside an image that the model saw at less than 512 pixels.
        let pixels: [f64; 4] = std::array::from_fn(|i| coordinates[i].clamp(0.0, size[i]));
        let normalized = std::array::from_fn(|i| pixels[i] / size[i].max(1.0));
        Some(Located { pixels, normalized, score: hypothesis.score })
    }
}

fn answer_tokens<'a>(hypothesis: &'a Hypothesis, context: &AnswerContext) -> &'a [u32] {
    hypothesis.tokens.get(context.prefix_len..).unwrap_or_default()
}

fn raw(hypothesis: &Hypothesis, context: &AnswerContext, vocab: &Vocab) -> String {
    let pad = vocab.layout().pad;
    let tokens: Vec<u32> = answer_tokens(hypothesis, context).iter().copied().filter(|id| *id != pad).collect();
    vocab.decode(&tokens).trim().to_owned()
}

//! What the model can be asked, in one table: [`TASKS`].
//!
//! Prediction, training, evaluation, the command line and the JavaScript types all read a task's row; nothing
//! else knows an instruction's text. A new task is a new row.

mod answer;
mod inputs;
mod listing;
mod prompt;
mod reading;
mod table;

pub use answer::{Answer, Likely, Located, Object, Scored};
pub use inputs::{Clean, Field, Input, Inputs};
pub use listing::{markdown, typescript};
pub use prompt::Prompt;
pub use reading::{AnswerContext, Hypothesis};
pub use table::TASKS;

pub use crate::config::PromptType;

use crate::config::{AnswerOptions, Decoding, OfaConfig};
use crate::error::{Error, Result};
use crate::image::{self, Normalization, Pixels, fit_and_pad, normalize, resize_bicubic};
use serde::{Deserialize, Serialize};

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Task {
    /// What users and programs call it.
    pub name: &'static str,
    /// One sentence for help texts.
    pub doc: &'static str,
    /// Instructions with `{field}` placeholders. The first whose fields are all given is used, so a form
    /// with an optional field stands before the form without it. Leading spaces are input to the model.
    pub templates: &'static [&'static str],
    /// What the caller gives, besides the image.
    pub inputs: &'static [Input],
    /// What comes back.
    pub answer: AnswerKind,
    /// What the decoder is given before it answers.
    pub prompt_type: PromptType,
    /// How the image is prepared; none for tasks on text alone.
    pub image: Option<ImageRule>,
    /// The search's options; call [`Task::decoding`].
    pub decoding: fn() -> Decoding,
    /// What may be generated at all.
    pub constraint: Constraint,
    /// What evaluation reports.
    pub metric: Metric,
}

/// The shape of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AnswerKind {
    /// Free text.
    Text,
    /// Text without ASCII punctuation, as captioning metrics compare it.
    Caption,
    /// One box.
    Box,
    /// Any number of boxes, each followed by what is in it.
    Objects,
    /// One of a closed set, with the probability of each.
    Label,
    /// Image codes.
    Codes,
}

/// How an image becomes the model's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageRule {
    /// The model sees a square with this side.
    pub side: u32,
    /// The image keeps its shape, and its edges go on beside it; others are resized whatever their aspect.
    pub padded: bool,
    /// Mean and deviation.
    pub normalization: Normalization,
    /// The middle half of the image is what the model has to draw. Its codes then tell the side.
    pub hide_middle: bool,
}

impl ImageRule {
    /// What the model sees of an image.
    ///
    /// # Shapes
    /// → `[3, side, side]`, row-major
    ///
    /// # Errors
    /// [`Error::Image`] for a side that is zero or too large.
    pub fn view(self, pixels: &Pixels) -> Result<Vec<f32>> {
        let Self { side, padded, normalization, hide_middle } = self;
        let square = if padded { fit_and_pad(pixels, side)? } else { resize_bicubic(pixels, side, side)? };
        let mut planes = normalize(&square, normalization);
        if hide_middle {
            image::hide_middle(&mut planes, side);
        }
        Ok(planes)
    }
}

/// What may be generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Constraint {
    /// Anything.
    Free,
    /// Anything, or, if the caller gives `answers`, only those.
    Answers,
    /// Always one of these.
    #[serde(skip_deserializing)]
    Labels(&'static [&'static str]),
    /// A box: four location bins and nothing else.
    Bins,
    /// A square raster of image codes and nothing else.
    Codes,
}

/// What evaluation reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Metric {
    /// CIDEr-D over reference captions.
    Cider,
    /// The mean confidence of the answer among the annotators'.
    VqaScore,
    /// The share of exact answers.
    Accuracy,
    /// The share of boxes with an IoU of one half and more.
    AccuracyAtHalf,
    /// F1 of labelled boxes with an IoU of one half and more.
    F1AtHalf,
    /// Matthews' correlation.
    Matthews,
    /// ROUGE-1, -2 and -L.
    Rouge,
    /// Normalised edit distance and exact matches.
    EditDistance,
    /// None yet.
    Unmeasured,
}

/// The row of a task.
///
/// # Errors
/// [`Error::Task`] listing the names there are.
pub fn find(name: &str) -> Result<&'static Task> {
    TASKS
        .iter()
        .find(|task| task.name == name)
        .ok_or_else(|| Error::task(name, format!("no such task; there are {}", names())))
}

/// Those of all tasks.
pub fn names() -> String {
    TASKS.iter().map(|task| task.name).collect::<Vec<_>>().join(", ")
}

impl Task {
    /// The task as a model knows it that looks at squares of `side` pixels, which are what the bins of regions count.
    pub fn seen_at(&self, side: u32) -> Self {
        Self { image: self.image.map(|rule| ImageRule { side, ..rule }), ..*self }
    }

    /// The search's options before the caller's wishes.
    pub fn decoding(&self) -> Decoding {
        (self.decoding)()
    }

    /// The search's options with the caller's wishes in them. Where the constraint gives the answer its form, no wish
    /// can break it.
    pub fn decoding_with(&self, wishes: &AnswerOptions, config: &OfaConfig) -> Decoding {
        let mut decoding = self.decoding().with(wishes);
        let code0 = config.mask_token_id + 1;
        let bin0 = code0 + config.num_codes as u32;
        let (range, length) = match self.constraint {
            Constraint::Bins => ((bin0, bin0 + config.num_bins as u32), BOX_LEN),
            Constraint::Codes => ((code0, bin0), config.code_grid().pow(2)),
            Constraint::Free | Constraint::Answers | Constraint::Labels(_) => return decoding,
        };
        decoding.constraint_range = Some(range);
        decoding.gen_box = self.constraint == Constraint::Bins;
        decoding.gen_code = self.constraint == Constraint::Codes;
        (decoding.min_len, decoding.max_len_a, decoding.max_len_b) = (length, 0.0, length);
        decoding
    }
}

/// Left, top, right, bottom.
const BOX_LEN: usize = 4;

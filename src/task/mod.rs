//! What the model can be asked, in one table: [`TASKS`].
//!
//! Prediction, training, evaluation, the command line and the JavaScript types all read a task's row; nothing
//! else knows an instruction's text. A new task is a new row.

mod answer;
mod inputs;
mod prompt;
mod table;

pub use answer::{Answer, AnswerContext, Hypothesis, Located, Scored};
pub use inputs::{Clean, Field, Input, Inputs};
pub use prompt::Prompt;
pub use table::{PLANNED, TASKS};

use crate::config::Decoding;
use crate::error::{Error, Result};
use crate::image::Normalization;
use serde::{Deserialize, Serialize};

/// One row of the table.
#[derive(Debug)]
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
    /// Image codes.
    Codes,
}

/// What the decoder reads before its own tokens (reference §6.2). Checkpoints are trained for one of them;
/// the pre-trained ones for `None`, the original's fine-tuning script of VQA for `PrevOutput`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptType {
    /// BOS alone.
    #[default]
    None,
    /// The whole source, EOS and all.
    Src,
    /// The source without its EOS.
    PrevOutput,
}

/// How an image becomes the model's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageRule {
    /// The image is resized to a square with this side, whatever its aspect.
    pub side: u32,
    /// Mean and deviation.
    pub normalization: Normalization,
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
    /// Image codes only.
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
    TASKS.iter().find(|task| task.name == name).ok_or_else(|| {
        let known: Vec<_> = TASKS.iter().map(|task| task.name).collect();
        Error::task(name, format!("no such task; there are {}", known.join(", ")))
    })
}

/// The row of a task that can be trained, whether it can be asked yet or not.
///
/// # Errors
/// [`Error::Task`] for a name of neither.
pub fn trainable(name: &str) -> Result<&'static Task> {
    PLANNED.iter().find(|task| task.name == name).map_or_else(|| find(name), Ok)
}

impl Task {
    /// The search's options before the caller's wishes.
    pub fn decoding(&self) -> Decoding {
        (self.decoding)()
    }
}

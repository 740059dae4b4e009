//! What rows of data teach: pretraining's objectives and the tasks that a model is fine-tuned for.
//!
//! Read `writer` (what each pretraining objective asks and answers, in ids), `negatives` (wrong captions and answers),
//! `pretraining` (rows to draws), `rows` (rows of one task to questions and examples), `finetuning` and `validation`.

mod finetuning;
mod negatives;
mod pretraining;
mod rows;
mod validation;
mod writer;

pub use finetuning::FineTuning;
pub use negatives::Negatives;
pub use pretraining::{Pretraining, PretrainingData};
pub use rows::{CAPTION_WORDS, RowOptions, Rows};
pub use validation::Validation;
pub use writer::Writer;

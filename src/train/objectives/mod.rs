//! What rows of data teach: pretraining's objectives and the tasks that a model is fine-tuned for.
//!
//! Read `writer` (what each pretraining objective asks and answers, in ids), `negatives` (wrong captions and answers),
//! `pretraining` (rows to draws), `rows` (rows of one task to questions and examples) and `finetuning`.

mod finetuning;
mod negatives;
mod pretraining;
mod rows;
mod writer;

pub use finetuning::FineTuning;
pub use negatives::Negatives;
pub use pretraining::{Pretraining, PretrainingData};
pub use rows::{RowOptions, Rows};
pub use writer::Writer;

use crate::error::Result;
use crate::task::{PLANNED, TASKS, Task, find};

/// A row of the table, whether or not its evaluation is finished.
fn row_of(name: &str) -> Result<&'static Task> {
    TASKS.iter().chain(PLANNED).find(|task| task.name == name).map_or_else(|| find(name), Ok)
}

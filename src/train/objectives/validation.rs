//! Questions of a validation file, read anew at every evaluation.

use super::pretraining::PRETRAINED;
use super::{RowOptions, Rows};
use crate::error::Result;
use crate::train::data::{Record, Records};
use crate::train::{Question, Questions};

/// Some rows of a file, spread over all of it.
pub struct Validation {
    records: Box<dyn Records>,
    count: u64,
    reader: Reader,
}

/// Who reads a row.
enum Reader {
    Task(Rows),
    /// Rows of pretraining say themselves which task they are of.
    Pretraining {
        caption: Rows,
        question: Rows,
        grounding: Rows,
    },
}

impl Validation {
    /// At most `count` rows of one task.
    pub fn of_task(records: Box<dyn Records>, rows: Rows, count: u64) -> Self {
        Self { records, count, reader: Reader::Task(rows) }
    }

    /// At most `count` rows of kind `vision_language`.
    ///
    /// # Errors
    /// Never, as long as the table has these tasks.
    pub fn of_pretraining(records: Box<dyn Records>, count: u64) -> Result<Self> {
        let rows = |task| Rows::new(task, RowOptions::default());
        let (caption, question, grounding) = (rows("caption")?, rows("vqa")?, rows("grounding")?);
        Ok(Self { records, count, reader: Reader::Pretraining { caption, question, grounding } })
    }

    fn question(&self, row: u64) -> Result<Question> {
        let record = self.records.record(row)?;
        match &self.reader {
            Reader::Task(rows) => rows.question(&record),
            Reader::Pretraining { caption, question, grounding } => match record.text("task")?.as_str() {
                "caption" => caption.question(&record),
                "qa" => question.question(&record),
                "visual_grounding" => grounding.question(&located(record)),
                other => Err(record.fail(format!("`task`: expected {PRETRAINED}, found {other}"))),
            },
        }
    }
}

impl Questions for Validation {
    fn ask(&self) -> Box<dyn Iterator<Item = Result<Question>> + '_> {
        let len = self.records.len();
        let count = self.count.min(len);
        Box::new((0..count).map(move |at| self.question(at * len / count)))
    }
}

/// A row of pretraining in which something is found, its fields called as those of fine-tuning are.
fn located(mut record: Record) -> Record {
    let has_box = record.optional("box").is_some();
    for (name, _) in &mut record.fields {
        match name.as_str() {
            "caption" => *name = "text".into(),
            // The original's files keep the box where questions keep their answer.
            "answer" if !has_box => *name = "box".into(),
            _ => {}
        }
    }
    record
}

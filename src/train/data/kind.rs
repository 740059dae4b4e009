//! Which fields a file's rows have, and in which columns of the original's TSV files they stand (reference §6.3).

use crate::error::{Error, Result};
use crate::task;

/// One kind of file.
#[derive(Debug)]
pub struct Kind {
    /// A task of the table, or a pretraining file.
    pub name: &'static str,
    /// The fields that are read, in the order in which `selected_cols` picks them. JSONL rows and shards use the same
    /// names as keys.
    pub fields: &'static [&'static str],
    /// For each field its column, counted from 0.
    pub columns: &'static [usize],
    /// The columns of evaluation files where they differ: captions are predicted an image, not a sentence.
    pub evaluation: Option<&'static [usize]>,
    /// What a shard's `.txt` member holds.
    pub text: &'static str,
}

const fn kind(
    name: &'static str,
    fields: &'static [&'static str],
    columns: &'static [usize],
    text: &'static str,
) -> Kind {
    Kind { name, fields, columns, evaluation: None, text }
}

const SENTENCE: &[&str] = &["text", "label"];
const SENTENCES: &[&str] = &["text", "text2", "label"];

/// All kinds.
pub static KINDS: &[Kind] = &[
    kind(
        "vision_language",
        &["id", "image", "caption", "question", "answer", "objects", "dataset", "task"],
        &[0, 1, 2, 3, 4, 5, 6, 7],
        "caption",
    ),
    kind("text", &["id", "text"], &[0, 1], "text"),
    kind("image", &["id", "image", "codes"], &[0, 1, 2], "codes"),
    kind("detection", &["id", "image", "boxes"], &[0, 1, 2], "boxes"),
    Kind {
        name: "caption",
        fields: &["id", "image", "caption"],
        columns: &[0, 4, 2],
        evaluation: Some(&[1, 4, 2]),
        text: "caption",
    },
    kind("vqa", &["id", "image", "question", "answer", "objects"], &[0, 5, 2, 3, 4], "question"),
    kind("grounding", &["id", "image", "text", "box"], &[0, 4, 2, 3], "text"),
    kind("entailment", &["id", "image", "text", "caption", "label"], &[0, 2, 3, 4, 5], "text"),
    kind("image_gen", &["id", "caption", "codes"], &[0, 2, 1], "caption"),
    kind("classify", &["image", "label"], &[0, 2], "label"),
    kind("summary", &["text", "target"], &[0, 1], "text"),
    kind("ocr", &["id", "image", "text"], &[0, 1, 2], "text"),
    kind("cola", SENTENCE, &[1, 2], "text"),
    kind("sst2", SENTENCE, &[0, 1], "text"),
    kind("mnli", SENTENCES, &[0, 1, 2], "text"),
    kind("mrpc", SENTENCES, &[0, 1, 2], "text"),
    kind("qnli", SENTENCES, &[1, 2, 3], "text"),
    kind("rte", SENTENCES, &[1, 2, 3], "text"),
    kind("qqp", SENTENCES, &[3, 4, 5], "text"),
];

impl Kind {
    /// The kind of a name.
    ///
    /// # Errors
    /// [`Error::Option`] listing the names there are.
    pub fn find(name: &str) -> Result<&'static Self> {
        KINDS.iter().find(|kind| kind.name == name).ok_or_else(|| {
            let known: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
            Error::option("kind", format!("one of {}", known.join(", ")), name)
        })
    }

    /// The kind of a task's rows.
    ///
    /// # Errors
    /// [`Error::Option`] listing the tasks that have some.
    pub fn of_task(name: &str) -> Result<&'static Self> {
        let of_tasks = || KINDS.iter().filter(|kind| task::find(kind.name).is_ok());
        of_tasks().find(|kind| kind.name == name).ok_or_else(|| {
            let known: Vec<_> = of_tasks().map(|kind| kind.name).collect();
            Error::option("TASK", format!("one that has files: {}", known.join(", ")), name)
        })
    }

    /// `selected_cols` as a person writes it: one column a field, as `0,4,2`.
    ///
    /// # Errors
    /// [`Error::Option`] if it is something else.
    pub fn selected(&self, columns: &str) -> Result<Vec<usize>> {
        let parsed: Option<Vec<usize>> = columns.split(',').map(|column| column.trim().parse().ok()).collect();
        parsed.filter(|parsed| parsed.len() == self.fields.len()).ok_or_else(|| {
            let expected = format!("{} column numbers: {}", self.fields.len(), self.fields.join(", "));
            Error::option("columns", expected, columns)
        })
    }
}

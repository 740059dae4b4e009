//! The table as documents show it: written once, checked by a test that fails when they are stale.

use super::{AnswerKind, Constraint, ImageRule, Metric, TASKS, Task};
use crate::config::Decoding;
use crate::image::Normalization;
use std::fmt::Write;

impl AnswerKind {
    /// In one word or two.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Caption => "text without punctuation",
            Self::Box => "a box",
            Self::Objects => "boxes and names",
            Self::Label => "a label and probabilities",
            Self::Codes => "image codes",
        }
    }

    /// The interface of `www/src/types.ts` that it arrives as.
    fn interface(self) -> &'static str {
        match self {
            Self::Text | Self::Caption => "TextAnswer",
            Self::Box => "BoxesAnswer",
            Self::Objects => "ObjectsAnswer",
            Self::Label => "LabelsAnswer",
            Self::Codes => "CodesAnswer",
        }
    }
}

impl ImageRule {
    /// Side, shape, normalisation and what is hidden.
    fn describe(self) -> String {
        let Self { side, padded, normalization, hide_middle } = self;
        let normalization = match normalization {
            Normalization::Half => "",
            Normalization::ImageNet => " imagenet",
        };
        let padded = if padded { " padded" } else { "" };
        format!("{side}{padded}{normalization}{}", if hide_middle { " middle" } else { "" })
    }
}

impl Metric {
    fn describe(self) -> &'static str {
        match self {
            Self::Cider => "CIDEr-D, BLEU, ROUGE-L",
            Self::VqaScore => "VQA soft accuracy",
            Self::Accuracy => "accuracy",
            Self::AccuracyAtHalf => "accuracy at IoU 0.5",
            Self::F1AtHalf => "F1 at IoU 0.5",
            Self::Matthews => "Matthews' correlation",
            Self::Rouge => "ROUGE-1, -2, -L",
            Self::EditDistance => "edit distance",
            Self::Unmeasured => "–",
        }
    }
}

impl Task {
    /// How its answer is looked for, unless the caller wishes otherwise.
    fn search(&self) -> String {
        let Decoding { num_beams, max_len_b, no_repeat_ngram_size, sampling, .. } = self.decoding();
        let search = match (sampling.and_then(|sampling| sampling.top_k), num_beams) {
            (Some(top_k), drawn) => format!("{drawn} drawn from the {top_k} likeliest"),
            (None, 1) => "greedy".to_owned(),
            (None, beams) => format!("beam of {beams}"),
        };
        let length = match self.constraint {
            Constraint::Labels(_) => ", only labels".to_owned(),
            Constraint::Bins => ", only bins".to_owned(),
            Constraint::Codes => ", only codes".to_owned(),
            Constraint::Free | Constraint::Answers => format!(", {max_len_b} tokens"),
        };
        let repeats = match no_repeat_ngram_size {
            0 => String::new(),
            size => format!(", no {size}-gram twice"),
        };
        search + &length + &repeats
    }

    /// The names of what the caller gives; what the task can do without has a question mark.
    pub fn given(&self) -> Vec<String> {
        let image = self.image.map(|_| "image".to_owned());
        let optional = |required: bool| if required { "" } else { "?" };
        let fields = self.inputs.iter().map(|input| format!("{}{}", input.field.name(), optional(input.required)));
        let answers = (self.constraint == Constraint::Answers)
            .then(|| format!("answers{}", optional(self.answer == AnswerKind::Label)));
        image.into_iter().chain(fields).chain(answers).collect()
    }
}

/// The README's table.
pub fn markdown() -> String {
    let heads = ["task", "given", "what it does", "instruction", "answer", "decoding", "measured by"];
    let mut table = format!("| {} |\n{}|\n", heads.join(" | "), "|---".repeat(heads.len()));
    for task in TASKS {
        let given = task.given().iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" ");
        let instructions = task.templates.iter().map(|template| format!("`{}`", template.trim()));
        let cells = [
            format!("`{}`", task.name),
            given,
            task.doc.to_owned(),
            instructions.collect::<Vec<_>>().join(" or "),
            task.answer.describe().to_owned(),
            task.search(),
            task.metric.describe().to_owned(),
        ];
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| {} |", cells.join(" | "));
    }
    table
}

/// The package's `tasks.gen.ts`.
pub fn typescript() -> String {
    let mut interfaces: Vec<_> = TASKS.iter().map(|task| task.answer.interface()).collect();
    interfaces.sort_unstable();
    interfaces.dedup();
    let mut text = format!(
        "// Written from the crate's table of tasks, src/task/table.rs, by a test: OFA_BLESS=1 cargo test listing\n\
         import type {{ {} }} from \"./types.js\";\n\n\
         /** What each task answers. */\n\
         export interface TaskAnswers {{\n",
        interfaces.join(", ")
    );
    for task in TASKS {
        let given = match task.given() {
            given if given.is_empty() => "nothing".to_owned(),
            given => given.join(", "),
        };
        let _ = writeln!(text, "  /** {} Given: {given}. */", task.doc);
        let _ = writeln!(text, "  {}: {};", task.name, task.answer.interface());
    }
    text += "}\n\n\
             /** How each task sees images, null for none: an encoded image serves the tasks that see it alike. */\n\
             export const TASK_IMAGES: Record<keyof TaskAnswers, string | null> = {\n";
    for task in TASKS {
        let seen = task.image.map(|rule| rule.describe());
        let _ = writeln!(text, "  {}: {},", task.name, seen.map_or("null".to_owned(), |seen| format!("\"{seen}\"")));
    }
    text + "};\n"
}

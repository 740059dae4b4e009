//! The table as documents show it: written once, checked by a test that fails when they are stale.

use super::{AnswerKind, Constraint, ImageRule, TASKS, Task};
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
    /// Side, normalisation and what is hidden.
    fn describe(self) -> String {
        let Self { side, normalization, hide_middle } = self;
        let normalization = match normalization {
            Normalization::Half => "",
            Normalization::ImageNet => " imagenet",
        };
        format!("{side}{normalization}{}", if hide_middle { " middle" } else { "" })
    }
}

impl Task {
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
    let mut table = "| task | given | what it does | answer |\n|---|---|---|---|\n".to_owned();
    for task in TASKS {
        let given = task.given().iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" ");
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| `{}` | {given} | {} | {} |", task.name, task.doc, task.answer.describe());
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

//! The original's recipes of fine-tuning, which the binary brings along (reference §7.3).

use crate::error::{Error, Result};

macro_rules! recipes {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../recipes/finetune/", $name, ".toml")))),*]
    };
}

/// Names and texts of the files in `recipes/finetune`.
pub static FINETUNING: &[(&str, &str)] = recipes![
    "caption-base",
    "caption-large",
    "caption-scst-base",
    "caption-scst-large",
    "classify",
    "cola",
    "entailment-base",
    "entailment-large",
    "grounding-base",
    "grounding-large",
    "image_gen",
    "mnli",
    "mrpc",
    "qnli",
    "qqp",
    "rte",
    "sst2",
    "summary",
    "vqa-base",
    "vqa-large",
];

/// Models from this width on are trained as the original's large one is, others as its base model.
const LARGE: usize = 1024;

/// The recipe of a name, or the one for a task and a model of this width.
///
/// # Errors
/// [`Error::Option`] listing the names there are.
pub fn builtin(name: &str, width: usize) -> Result<(&'static str, &'static str)> {
    let sized = format!("{name}-{}", if width < LARGE { "base" } else { "large" });
    let found = FINETUNING.iter().find(|(known, _)| *known == name || *known == sized);
    found.copied().ok_or_else(|| {
        let known: Vec<_> = FINETUNING.iter().map(|(known, _)| *known).collect();
        Error::option("recipe", format!("a file, or one of {}", known.join(", ")), name)
    })
}

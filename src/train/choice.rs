//! What a recipe's `[data]` may say, by kind.

use super::corpus::ScenesOptions;
use super::data::{KINDS, Kind};
use super::objectives::CAPTION_WORDS;
use super::recipe::DataChoice;
use crate::config::PromptType;
use crate::error::{Error, Result};
use crate::task::{Constraint, Metric, TASKS, Task};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// The kind of data that is made on the fly.
pub(super) const SCENES: &str = "scenes";

/// The data of a run.
#[derive(Debug)]
pub enum DataOptions {
    /// `scenes`: pictures made on the fly.
    Scenes(Box<ScenesOptions>),
    /// `pretrain`: the original's four kinds of files.
    Pretraining(Box<PretrainingOptions>),
    /// A task by its name: its rows.
    FineTuning(&'static Task, Box<FineTuningOptions>),
}

/// Files of which each epoch reads one, in turn: a list, or one text with commas.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(from = "Listed")]
pub struct Files(pub Vec<PathBuf>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Listed {
    Text(String),
    List(Vec<PathBuf>),
}

impl From<Listed> for Files {
    fn from(listed: Listed) -> Self {
        match listed {
            Listed::Text(text) => Self(text.split(',').map(|name| PathBuf::from(name.trim())).collect()),
            Listed::List(paths) => Self(paths),
        }
    }
}

/// Pretraining files: `.tsv` in the original's columns, `.jsonl` beside its images, `.tar` shards or folders of them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PretrainingOptions {
    /// Captions, questions and boxes. An epoch is a pass over these.
    pub vision_language: Files,
    pub text: Files,
    /// Images and the codes of their middle.
    pub image: Files,
    pub detection: Files,
    /// A folder with all_captions.txt, object.txt and type2ans.json; other rows give wrong captions and answers where
    /// one is missing.
    pub negatives: Option<PathBuf>,
    /// Rows like those of `vision_language` that evaluations ask.
    pub evaluation: Option<PathBuf>,
    /// Bounds of a random resize; by default 480 and 672, and never below the model's own side.
    pub short_side: Option<u32>,
    pub long_side: Option<u32>,
}

/// Rows of one task, in the same forms.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FineTuningOptions {
    pub training: Files,
    /// What evaluations ask.
    pub evaluation: Option<PathBuf>,
    /// TSV columns of the task's fields, for both files, if not the original's.
    pub columns: Option<Vec<usize>>,
    /// What the decoder reads before it answers, if not the task's own.
    pub prompt_type: Option<PromptType>,
    /// A file with one allowed answer a line.
    pub answers: Option<PathBuf>,
    /// Whether names of objects follow a question.
    pub objects: bool,
    /// Whether the image's caption comes with a sentence to be judged.
    pub caption: bool,
    /// Words kept of captions to be learnt.
    pub caption_words: usize,
    /// The share of tokens that the decoder reads wrong in training.
    pub noise: f64,
    /// Beams of evaluations; by default the task's, or every allowed answer scored.
    pub num_beams: Option<usize>,
    /// Learn from the model's own answers, by how good they are.
    pub self_critical: bool,
    /// JSON of the corpus whose n-grams weigh CIDEr-D; by default that of the training files.
    pub frequencies: Option<PathBuf>,
}

impl Default for FineTuningOptions {
    fn default() -> Self {
        Self {
            training: Files::default(),
            evaluation: None,
            columns: None,
            prompt_type: None,
            answers: None,
            objects: false,
            caption: false,
            caption_words: CAPTION_WORDS,
            noise: 0.0,
            num_beams: None,
            self_critical: false,
            frequencies: None,
        }
    }
}

impl DataOptions {
    /// # Errors
    /// [`Error::Option`] for a kind or a value that there is not and for a value that nothing would read,
    /// [`Error::File`] naming an unknown key.
    pub fn read(DataChoice { kind, options, .. }: &DataChoice) -> Result<Self> {
        fn table<T: DeserializeOwned>(options: &toml::Table) -> Result<T> {
            options.clone().try_into().map_err(|error| Error::file("recipe [data]", error))
        }
        match kind.as_str() {
            SCENES => match options.get("side") {
                Some(side) => Err(Error::option("data.side", "nothing: model.image_size is the side of scenes", side)),
                None => Ok(Self::Scenes(table(options)?)),
            },
            "pretrain" => Ok(Self::Pretraining(table(options)?)),
            name => {
                let tasks = || TASKS.iter().filter(|task| KINDS.iter().any(|kind| kind.name == task.name));
                let known = || tasks().map(|task| task.name).collect::<Vec<_>>().join(", ");
                let task = tasks().find(|task| task.name == name);
                let task =
                    task.ok_or_else(|| Error::option("data.kind", format!("scenes, pretrain, {}", known()), name))?;
                let options: Box<FineTuningOptions> = table(options)?;
                if options.self_critical && task.metric != Metric::Cider {
                    return Err(Error::option("data.self_critical", "false: only captions have rewards", true));
                }
                options.check_read(task)?;
                Ok(Self::FineTuning(task, options))
            }
        }
    }
}

impl DataOptions {
    /// The files whose rows train.
    pub fn files(&self) -> Vec<&Path> {
        let lists = match self {
            Self::Scenes(_) => vec![],
            Self::Pretraining(options) => {
                vec![&options.vision_language, &options.text, &options.image, &options.detection]
            }
            Self::FineTuning(_, options) => vec![&options.training],
        };
        lists.into_iter().flat_map(|Files(paths)| paths).map(PathBuf::as_path).collect()
    }
}

impl FineTuningOptions {
    /// Refuses what a task never reads: whoever sets it expects something of it.
    fn check_read(&self, task: &Task) -> Result<()> {
        let closed = task.constraint == Constraint::Answers;
        // What is given, whether it is read, and by what.
        let given = [
            ("answers", self.answers.is_some(), closed, "a task whose answers are a closed set"),
            ("objects", self.objects, task.name == "vqa", "vqa"),
            ("caption", self.caption, task.name == "entailment", "entailment"),
            ("caption_words", self.caption_words != CAPTION_WORDS, task.name == "caption", "caption"),
            ("frequencies", self.frequencies.is_some(), self.self_critical, "self-critical training"),
            ("noise", self.noise != 0.0, !self.self_critical, "training that is not self-critical"),
        ];
        match given.into_iter().find(|(_, is_given, is_read, _)| *is_given && !is_read) {
            Some((option, .., reader)) => {
                let expected = format!("nothing, since only {reader} has a use for it");
                Err(Error::option(format!("data.{option}"), expected, format!("a value for {}", task.name)))
            }
            None => Ok(()),
        }
    }

    /// The columns of a task's files, for training or for evaluation.
    ///
    /// # Errors
    /// [`Error::Option`] if there are not as many as the task's rows have fields.
    pub fn columns(&self, kind: &'static Kind, evaluation: bool) -> Result<Vec<usize>> {
        match &self.columns {
            Some(columns) if columns.len() == kind.fields.len() => Ok(columns.clone()),
            Some(columns) => {
                let expected = format!("{} column numbers: {}", kind.fields.len(), kind.fields.join(", "));
                Err(Error::option("data.columns", expected, format!("{columns:?}")))
            }
            None => Ok(kind.evaluation.filter(|_| evaluation).unwrap_or(kind.columns).to_vec()),
        }
    }
}

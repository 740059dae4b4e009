//! The questions of an evaluation set, or about scenes that are drawn on the fly.

use super::predict::lines;
use super::tasks::named;
use super::world::KnownWorld;
use crate::error::{Error, Result};
use crate::task::Constraint;
use crate::train::Question;
use crate::train::corpus::World;
use crate::train::data::{Kind, Records, open};
use crate::train::objectives::{RowOptions, Rows};
use clap::value_parser;
use std::path::{Path, PathBuf};

/// In place of a task: pictures drawn on the fly.
pub const SCENES: &str = "scenes";

#[derive(Debug, clap::Args)]
pub struct QuestionArgs {
    /// The evaluation set: .tsv in the original's columns, .jsonl beside its images, .tar shards or a folder of them
    #[arg(long, value_name = "FILE|DIR")]
    data: Option<PathBuf>,
    /// Questions to ask at most
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// A file with one allowed answer a line
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
    /// The TSV columns of the task's fields, such as 0,4,2 [default: the original's]
    #[arg(long, value_name = "N,…")]
    columns: Option<String>,
    /// Put the names of the row's objects behind its question
    #[arg(long)]
    with_objects: bool,
    /// Put the image's caption before the sentence to be judged
    #[arg(long)]
    with_caption: bool,
    /// Which scenes [default: 1]
    #[arg(long)]
    seed: Option<u64>,
    /// How many scenes [default: 200]
    #[arg(long, value_parser = value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Questions about each scene at most [default: 5]
    #[arg(long, value_parser = value_parser!(u64).range(1..))]
    each: Option<u64>,
    #[command(flatten)]
    world: KnownWorld,
}

/// Where questions come from, and how many are asked.
pub struct Questions {
    pub source: Source,
    limit: u64,
}

pub enum Source {
    Files { rows: Rows, records: Box<dyn Records> },
    Scenes { world: Box<World>, seed: u64, count: u64, each: usize },
}

impl QuestionArgs {
    /// Whether some were asked for.
    pub fn are_given(&self) -> bool {
        self.limit.is_some() || self.given().iter().any(|(_, is_given)| *is_given)
    }

    /// What only some tasks have a use for, and whether it is given.
    fn given(&self) -> [(&'static str, bool); 9] {
        [
            ("--data", self.data.is_some()),
            ("--columns", self.columns.is_some()),
            ("--answers", self.answers.is_some()),
            ("--with-objects", self.with_objects),
            ("--with-caption", self.with_caption),
            ("--seed", self.seed.is_some()),
            ("--count", self.count.is_some()),
            ("--each", self.each.is_some()),
            ("--recipe, --side", self.world.is_given()),
        ]
    }

    /// Nothing is asked for that the questions of `task` have no use for.
    fn check(&self, task: &str) -> Result<()> {
        let scenes = task == SCENES;
        let closed = !scenes && named(task)?.constraint == Constraint::Answers;
        let is_used = |option: &str| match option {
            "--data" | "--columns" => !scenes,
            "--answers" => closed,
            "--with-objects" => task == "vqa",
            "--with-caption" => task == "entailment",
            _ => scenes,
        };
        match self.given().into_iter().find(|(option, is_given)| *is_given && !is_used(option)) {
            Some((option, _)) => {
                Err(Error::option(option, format!("nothing, since {task} has no use for it"), "a value"))
            }
            None => Ok(()),
        }
    }

    /// Opens the set of `task`, which may be [`SCENES`]: then those of the world of the bundle `model`.
    ///
    /// # Errors
    /// [`Error::Option`] for what does not go together, and those of the files.
    pub fn open(&self, task: &str, model: &Path) -> Result<Questions> {
        let limit = self.limit.unwrap_or(u64::MAX);
        self.check(task)?;
        if task == SCENES {
            let world = Box::new(self.world.open(model)?);
            let (seed, count) = (self.seed.unwrap_or(1), self.count.unwrap_or(200));
            let source = Source::Scenes { world, seed, count, each: self.each.unwrap_or(5) as usize };
            return Ok(Questions { source, limit });
        }
        let answers = self.answers.as_deref().map(lines).transpose()?;
        let (objects, caption) = (self.with_objects, self.with_caption);
        let rows = Rows::new(task, RowOptions { answers, objects, caption, ..RowOptions::default() })?;
        let path = self.data.as_deref().ok_or_else(|| Error::option("data", "the evaluation set's file", "nothing"))?;
        let kind = Kind::of_task(task)?;
        let columns = match &self.columns {
            Some(columns) => kind.selected(columns)?,
            None => kind.evaluation.unwrap_or(kind.columns).to_vec(),
        };
        let records = open(path, kind, &columns)?;
        if records.is_empty() {
            return Err(Error::file(path.display(), "no row in it"));
        }
        Ok(Questions { source: Source::Files { rows, records }, limit })
    }
}

impl Questions {
    pub fn iter(&self) -> impl Iterator<Item = Result<Question>> {
        let questions: Box<dyn Iterator<Item = _>> = match &self.source {
            Source::Files { rows, records } => Box::new(rows.questions(records.as_ref())),
            Source::Scenes { world, seed, count, each } => Box::new(world.questions(*seed, *count, *each)),
        };
        questions.take(usize::try_from(self.limit).unwrap_or(usize::MAX))
    }

    /// At most so many.
    pub fn len(&self) -> u64 {
        let all = match &self.source {
            Source::Files { records, .. } => records.len(),
            Source::Scenes { count, each, .. } => *count * *each as u64,
        };
        all.min(self.limit)
    }
}

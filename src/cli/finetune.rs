//! `ofa finetune TASK`: a pretrained model for one task.

use super::tasks::named;
use super::training::RunArgs;
use crate::error::{Error, Result};
use crate::train::data::DataList;
use crate::train::{Recipe, builtin};
use crate::weights::read_files;
use std::path::{Path, PathBuf};
use toml::Value;

/// Trains a model for one task, on files of that task's rows.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A task whose rows files hold: caption, vqa, grounding, entailment, classify …
    task: String,
    /// A recipe file, or the name of one that comes with the program [default: the original's for the task]
    recipe: Option<String>,
    /// The bundle to start from
    #[arg(long, value_name = "DIR", required_unless_present = "resume")]
    model: Option<PathBuf>,
    /// Training files, one an epoch in turn, and last the one to evaluate on; .tsv in the original's columns, .jsonl
    /// beside its images, .tar shards or folders of them
    #[arg(long, value_name = "FILE,…")]
    data: Option<String>,
    #[command(flatten)]
    run: RunArgs,
}

pub fn run(args: Args) -> Result<()> {
    named(&args.task)?;
    let recipe = recipe(&args)?;
    if recipe.data.kind != args.task {
        return Err(Error::option("data.kind", format!("{}, the task", args.task), recipe.data.kind));
    }
    args.run.go(&format!("ofa finetune {}", args.task), recipe)
}

fn recipe(args: &Args) -> Result<Recipe> {
    let mut before = Vec::new();
    let mut set = |key: &str, value: Value| before.push(format!("{key}={value}"));
    let path = |path: &Path| Value::String(path.display().to_string());
    if let Some(model) = &args.model {
        set("model.from", path(model));
    }
    if let Some(list) = &args.data {
        let DataList { training, evaluation } = DataList::parse(list)?;
        set("data.training", Value::Array(training.iter().map(|file| path(file)).collect()));
        match evaluation {
            Some(file) => set("data.evaluation", path(&file)),
            None => set("run.evaluate_every", Value::Integer(0)),
        }
    }
    match (&args.recipe, &args.model) {
        (Some(file), _) if Path::new(file).is_file() => args.run.recipe(Some(Path::new(file)), before),
        (name, Some(model)) => {
            let (_, files) = read_files(model)?;
            let (name, text) = builtin(name.as_deref().unwrap_or(&args.task), files.config.d_model)?;
            Recipe::parse(name, text, &args.run.with(before))
        }
        (None, None) => args.run.recipe(None, before),
        (Some(name), None) => Err(Error::option("recipe", "a file, where there is no --model", name)),
    }
}

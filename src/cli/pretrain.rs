//! `ofa pretrain`: a model by a recipe.

use super::training::RunArgs;
use crate::error::Result;
use std::path::PathBuf;

/// Trains a model by a recipe.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The recipe, a TOML file; with --resume the one that the run was begun with
    #[arg(required_unless_present = "resume")]
    recipe: Option<PathBuf>,
    #[command(flatten)]
    run: RunArgs,
}

pub fn run(Args { recipe, run }: Args) -> Result<()> {
    run.go("ofa pretrain", run.recipe(recipe.as_deref(), Vec::new())?)
}

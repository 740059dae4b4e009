//! `ofa pretrain`: a model by a recipe.

use super::training::RunArgs;
use crate::error::Result;
use std::path::PathBuf;

/// Trains a model by a recipe.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The recipe, a TOML file; with --resume the one that the run was begun with
    #[arg(required_unless_present_any = ["resume", "export"])]
    recipe: Option<PathBuf>,
    /// Train nothing, but write the best checkpoint of the run in --out as an f32 bundle
    #[arg(long, value_name = "BUNDLE", requires = "out", conflicts_with_all = ["recipe", "dry_run", "resume"])]
    export: Option<PathBuf>,
    #[command(flatten)]
    run: RunArgs,
}

pub fn run(Args { recipe, export, run }: Args) -> Result<()> {
    if let Some(bundle) = &export {
        return run.export(bundle);
    }
    run.go("ofa pretrain", run.recipe(recipe.as_deref(), Vec::new())?)
}

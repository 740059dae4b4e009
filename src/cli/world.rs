//! The world of scenes that a model was trained in.

use crate::error::{Error, Result};
use crate::train::corpus::{ScenesOptions, World, fetched_folder};
use crate::train::{Recipe, world_of};
use crate::weights::{RECIPE, read_files};
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub struct KnownWorld {
    /// The recipe whose scenes are drawn [default: the one in the bundle, or beside it in its run]
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// The side in pixels at which scenes are drawn [default: the recipe's]
    #[arg(long, value_name = "PIXELS")]
    side: Option<u32>,
}

impl KnownWorld {
    /// Whether it was asked for.
    pub fn is_given(&self) -> bool {
        self.recipe.is_some() || self.side.is_some()
    }

    /// Opens it and says what is missing in it. Without a recipe it is the whole world of this crate.
    ///
    /// # Errors
    /// Those of a bundle's small files, of the recipe and of the stickers.
    pub fn open(&self, model: &Path) -> Result<World> {
        read_files(model)?;
        let beside = [Some(model), model.parent()].into_iter().flatten().map(|folder| folder.join(RECIPE));
        let recipe = self.recipe.clone().or_else(|| beside.into_iter().find(|path| path.is_file()));
        let mut options = match &recipe {
            Some(path) => world_of(&Recipe::read_saved(path, &[])?)?
                .ok_or_else(|| Error::file(path.display(), "a recipe for files, where scenes are wanted"))?,
            None => ScenesOptions { stickers: fetched_folder(), ..ScenesOptions::default() },
        };
        options.side = self.side.unwrap_or(options.side);
        let world = World::new(options)?;
        world.notes().iter().for_each(|note| tell!("{note}"));
        Ok(world)
    }
}

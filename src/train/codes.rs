//! A run that trains a model of image codes: its recipe, where its pictures come from, and its checkpoint.

use super::corpus::{ScenesOptions, World};
use super::recipe::{parsed, text, wrong};
use super::seed::seed_of;
use super::session::lock;
use super::vqvae::{VqvaeOptions, VqvaeTrainer, VqvaeUpdated};
use crate::config::VqganConfig;
use crate::error::{Error, Result};
use crate::image::{Filter, Pixels, crop, decode, resize, resize_aspect};
use crate::weights::{Manifest, Precision, RECIPE, VQGAN, encode_shard, read_shard, replace_file, write_vqgan};
use burn::tensor::Device;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use std::fs::{self, File};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use toml::{Table, Value};

const CHECKPOINT: &str = "checkpoint.safetensors";
/// Pixels of scenes that are learnt; half a scene is the least that is drawn, and twice as large the largest.
const SCENE_SIDES: RangeInclusive<u32> = 8..=512;

/// Everything that decides a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CodesRecipe {
    pub seed: u64,
    /// Pixels of the squares that are learnt.
    pub side: u32,
    /// Squares an update.
    pub batch: usize,
    /// Updates between two checkpoints.
    pub checkpoint_every: u64,
    /// The directory whose images are learnt, in place of scenes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<PathBuf>,
    /// `config.json` of the model.
    pub model: VqganConfig,
    pub update: VqvaeOptions,
    /// The world whose pictures are learnt, where no directory is given; its seed is that of the run unless given.
    pub data: ScenesOptions,
}

impl Default for CodesRecipe {
    fn default() -> Self {
        Self {
            seed: 1,
            side: 128,
            batch: 8,
            checkpoint_every: 500,
            images: None,
            model: VqganConfig::small(),
            update: VqvaeOptions::default(),
            data: ScenesOptions::default(),
        }
    }
}

impl CodesRecipe {
    /// Reads a recipe, or takes the defaults without a file, and applies `--set` arguments.
    ///
    /// # Errors
    /// [`Error::File`] naming what is unknown or of the wrong kind, [`Error::Option`] and [`Error::Config`] for what
    /// cannot be used.
    pub fn read(path: Option<&Path>, sets: &[String]) -> Result<Self> {
        let (name, text) = match path {
            Some(path) => (path.display().to_string(), text(path)?),
            None => ("the default recipe".to_owned(), String::new()),
        };
        let mut table: Table = parsed(&name, &text, sets)?;
        if let Some(model) = table.get_mut("model") {
            // A few keys of the model's may be all that differs.
            let default = Table::try_from(Self::default().model).map_err(|error| Error::file(&name, error))?;
            *model = over(default, model, "model")?;
        }
        if let Some(seed) = table.get("seed").filter(|seed| seed.is_integer()).cloned()
            && let Some(data) = table.entry("data").or_insert(Value::Table(Table::new())).as_table_mut()
        {
            data.entry("seed").or_insert(seed);
        }
        let recipe: Self = table.try_into().map_err(|error| wrong::<Self>(&name, &text, error))?;
        if !(1..=1024).contains(&recipe.batch) || recipe.checkpoint_every == 0 {
            let found = format!("{} and {}", recipe.batch, recipe.checkpoint_every);
            return Err(Error::option("batch and checkpoint_every", "1 to 1024, and at least 1", found));
        }
        recipe.check_data()?;
        recipe.model.validate()?;
        let stride = recipe.model.stride() as u32;
        if recipe.side == 0 || !recipe.side.is_multiple_of(stride) {
            return Err(Error::option("side", format!("multiples of {stride}, the pixels of a code"), recipe.side));
        }
        Ok(recipe)
    }

    /// Refuses what is said of scenes where only their pictures are learnt, at the recipe's own side. A run's recipe says
    /// the defaults of that, too.
    fn check_data(&self) -> Result<()> {
        let plain = ScenesOptions::default();
        let ScenesOptions { side, codes, samples, extra_samples, tasks, epoch, .. } = &self.data;
        let unread = [
            ("data.side", *side != plain.side),
            ("data.codes", *codes != plain.codes),
            ("data.samples", *samples != plain.samples),
            ("data.extra_samples", *extra_samples != plain.extra_samples),
            ("data.tasks", *tasks != plain.tasks),
            ("data.epoch", *epoch != plain.epoch),
        ];
        match unread.iter().find(|(_, is_set)| *is_set) {
            Some((option, _)) => {
                Err(Error::option(option, "nothing, since only pictures of scenes are learnt", "a value"))
            }
            None => Ok(()),
        }
    }

    /// Refuses to go on from a run whose pictures were others or came in another order, or whose model was another.
    fn goes_on_from(&self, path: &Path) -> Result<()> {
        let before: Self = parsed(&path.display().to_string(), &text(path)?, &[])?;
        let same = |option: &str, before: &dyn Debug, now: &dyn Debug| {
            let (before, now) = (format!("{before:?}"), format!("{now:?}"));
            if before == now { Ok(()) } else { Err(Error::option(option, format!("{before}, as the run began"), now)) }
        };
        same("seed", &before.seed, &self.seed)?;
        same("side", &before.side, &self.side)?;
        same("batch", &before.batch, &self.batch)?;
        same("images", &before.source(), &self.source())?;
        same("model", &before.model, &self.model)
    }

    /// Where pictures come from, for a person.
    fn source(&self) -> String {
        self.images.as_ref().map_or_else(|| "none: scenes".to_owned(), |images| images.display().to_string())
    }

    /// The world whose pictures are learnt.
    ///
    /// # Errors
    /// Those of [`World::new`].
    pub fn world(&self) -> Result<World> {
        if !SCENE_SIDES.contains(&self.side) {
            let (least, most) = (SCENE_SIDES.start(), SCENE_SIDES.end());
            return Err(Error::option("side", format!("{least} to {most} pixels of scenes"), self.side));
        }
        // Middles are of pictures twice as large.
        World::new(ScenesOptions { side: 2 * self.side, ..self.data.clone() })
    }
}

/// `given` over what a table says already, which has no other keys.
fn over(mut default: Table, given: &Value, path: &str) -> Result<Value> {
    let given = given.as_table().ok_or_else(|| Error::option(path, "a table", given))?;
    for (key, value) in given {
        let path = format!("{path}.{key}");
        let value = match default.remove(key) {
            Some(Value::Table(inner)) => over(inner, value, &path)?,
            None if key != "double_z" => return Err(Error::option(path, "a key of the model", "no such key")),
            _ => value.clone(),
        };
        default.insert(key.clone(), value);
    }
    Ok(Value::Table(default))
}

/// Where squares come from: a pure function of the position, so that a run goes on where it stopped.
pub trait Pictures: Sync {
    /// # Errors
    /// What keeps a picture from being made or read.
    fn picture(&self, position: u64, side: u32) -> Result<Pixels>;
}

/// What image codes stand for in training: whole pictures, and the middles of pictures twice as large.
impl Pictures for World {
    fn picture(&self, position: u64, side: u32) -> Result<Pixels> {
        let (scene, _) = self.scene(0, position)?;
        if position.is_multiple_of(2) {
            return self.painter().render(&scene, side);
        }
        crop(&self.painter().render(&scene, 2 * side)?, (side / 2, side / 2), side, side)
    }
}

/// The middles of the images in a directory.
pub struct ImageFolder {
    files: Vec<PathBuf>,
    seed: u64,
}

impl ImageFolder {
    /// # Errors
    /// [`Error::File`] for a directory that cannot be read or has no images.
    pub fn open(directory: &Path, seed: u64) -> Result<Self> {
        let failed = |error: std::io::Error| Error::file(directory.display(), error);
        let mut files = Vec::new();
        for entry in fs::read_dir(directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
            if ["jpg", "jpeg", "png", "webp"].iter().any(|known| extension == *known) {
                files.push(path);
            }
        }
        if files.is_empty() {
            return Err(Error::file(directory.display(), "no JPEG, PNG or WebP file in it"));
        }
        // Whatever order the system lists them in, a seed draws the same.
        files.sort();
        Ok(Self { files, seed })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.files.len()
    }
}

impl Pictures for ImageFolder {
    fn picture(&self, position: u64, side: u32) -> Result<Pixels> {
        let drawn = fastrand::Rng::with_seed(seed_of(&[self.seed, position])).usize(..self.files.len());
        let path = &self.files[drawn];
        let read = || {
            let bytes = fs::read(path).map_err(|error| Error::file(path.display(), error))?;
            let pixels = decode(&bytes)?;
            let (width, height) = resize_aspect(pixels.size(), side, None);
            let resized = resize(&pixels, width, height, Filter::Lanczos)?;
            crop(&resized, ((width - side) / 2, (height - side) / 2), side, side)
        };
        read().map_err(|error| Error::file(path.display(), error))
    }
}

/// A run in its directory, which holds the checkpoint and, in the folder `vqgan`, the model.
pub struct CodesRun {
    directory: PathBuf,
    recipe: CodesRecipe,
    pub trainer: VqvaeTrainer,
    _lock: File,
}

/// What a run tells.
pub enum CodesEvent<'a> {
    Updated(&'a VqvaeUpdated),
    /// A picture that could not be made or read: its update does without it.
    Skipped(&'a Error),
}

impl CodesRun {
    /// Begins a run in `directory`, or goes on with the one that is there where `resume` says so.
    ///
    /// # Errors
    /// [`Error::File`] for a directory that holds another run, or none to go on with; those of the trainer and of a
    /// checkpoint of another model.
    pub fn open(recipe: CodesRecipe, directory: &Path, device: &Device, resume: bool) -> Result<Self> {
        fs::create_dir_all(directory).map_err(|error| Error::file(directory.display(), error))?;
        let lock = lock(directory)?;
        if resume {
            recipe.goes_on_from(&directory.join(RECIPE))?;
        }
        let mut trainer = VqvaeTrainer::new(recipe.model.clone(), recipe.update.clone(), recipe.seed, device)?;
        let path = directory.join(CHECKPOINT);
        if path.is_file() {
            if !resume {
                let reason = "holds a run already: pass --resume to go on with it, or choose another directory";
                return Err(Error::file(directory.display(), reason));
            }
            let bytes = fs::read(&path).map_err(|error| Error::file(path.display(), error))?;
            trainer.restore(&read_shard(&path.display().to_string(), &bytes)?)?;
        }
        let resolved = toml::to_string_pretty(&recipe).map_err(|error| Error::file(RECIPE, error))?;
        replace_file(&directory.join(RECIPE), resolved.as_bytes())?;
        Ok(Self { directory: directory.to_owned(), recipe, trainer, _lock: lock })
    }

    /// Updates until the recipe's last, with a checkpoint now and then and the model at the end; or, once it is
    /// `interrupted`, until the next checkpoint, which is at once, and there is no model. `report` hears of everything.
    ///
    /// # Errors
    /// Those of the updates and of writing, and that of a picture where all of an update are missing.
    pub async fn go(
        &mut self,
        pictures: &dyn Pictures,
        interrupted: &AtomicBool,
        mut report: impl FnMut(CodesEvent<'_>),
    ) -> Result<Option<Manifest>> {
        let CodesRecipe { side, batch, checkpoint_every, update, .. } = &self.recipe;
        let (batch, every, last) = (*batch as u64, *checkpoint_every, update.updates);
        while self.trainer.updates() < last {
            let first = self.trainer.updates() * batch;
            let made: Vec<Result<Pixels>> =
                (first..first + batch).into_par_iter().map(|position| pictures.picture(position, *side)).collect();
            let (mut drawn, mut failed) = (Vec::new(), None);
            for picture in made {
                match picture {
                    Ok(picture) => drawn.push(picture),
                    Err(error) => {
                        report(CodesEvent::Skipped(&error));
                        failed = Some(error);
                    }
                }
            }
            if let (true, Some(error)) = (drawn.is_empty(), failed) {
                return Err(error);
            }
            let updated = self.trainer.update(&drawn).await?;
            report(CodesEvent::Updated(&updated));
            let stop = interrupted.load(Ordering::Relaxed) && updated.update < last;
            if updated.update.is_multiple_of(every) || updated.update == last || stop {
                self.save().await?;
            }
            if stop {
                return Ok(None);
            }
        }
        let tensors = self.trainer.tensors()?.into_iter().map(Ok);
        write_vqgan(&self.directory.join(VQGAN), self.trainer.config(), Precision::F32, tensors).map(Some)
    }

    async fn save(&self) -> Result<()> {
        let bytes = encode_shard(CHECKPOINT, &self.trainer.state().await?)?;
        replace_file(&self.directory.join(CHECKPOINT), &bytes)
    }
}

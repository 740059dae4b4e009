//! A run's directory, and everything that a run needs made from its recipe: begun, or resumed where it stopped.

use super::checkpoint::{Checkpoints, Progress, named, restore};
use super::choice::SCENES;
use super::fresh::AlikeHeads;
use super::parameters::Section;
use super::recipe::Recipe;
use super::trainer::Trainer;
use crate::config::{AnswerOptions, GenerationConfig, OfaConfig, STEM_STRIDE};
use crate::error::{Error, Result};
use crate::model::{Parameters, Random, parameter_shapes};
use crate::vocab::Vocab;
use crate::weights::{
    BundleFiles, DeviceWeights, Manifest, PackingChoice, Precision, RECIPE, RawTensor, VQGAN, VocabFiles, read_files,
    read_tensors, read_vqgan, replace_file, write_bundle_and, write_vqgan,
};
use burn::tensor::Device;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

const LOCK: &str = "run.lock";
/// Sizes of the data that a run was begun with.
const DATA: &str = "data.json";
/// From how many of the likeliest codes the pictures of scenes are drawn.
const SCENE_CODES: usize = 64;
const CHECKPOINTS: &str = "checkpoints";
/// Tokens of the longest captions of scenes, which have 30 words, and some to spare.
const SCENE_CAPTION: usize = 48;

/// A run that is ready to go.
pub struct Session {
    pub directory: PathBuf,
    pub recipe: Recipe,
    pub files: BundleFiles,
    pub trainer: Trainer,
    pub checkpoints: Checkpoints,
    pub progress: Progress,
    /// What the recipe says otherwise than that which the run was begun with.
    pub altered: Vec<String>,
    /// Held as long as the run works in its directory.
    lock: Option<File>,
}

impl Session {
    /// Begins the run of `recipe` in `directory`, or goes on with the run that is there where `resume` says so. Several
    /// ranks share a directory; only the first locks and writes it (`leads`).
    ///
    /// # Errors
    /// [`Error::File`] for a directory that is in use, or that holds another run; those of recipe, vocabulary, weights
    /// and checkpoint.
    pub fn open(recipe: Recipe, directory: &Path, device: &Device, resume: bool, leads: bool) -> Result<Self> {
        fs::create_dir_all(directory).map_err(|error| Error::file(directory.display(), error))?;
        let lock = leads.then(|| lock(directory)).transpose()?;
        let checkpoints = Checkpoints::open(&directory.join(CHECKPOINTS), recipe.run.keep_last)?;
        if leads {
            checkpoints.sweep()?;
        }
        let latest = checkpoints.latest()?;
        if latest.is_some() && !resume {
            let reason = "holds a run already: pass --resume to go on with it, or choose another directory";
            return Err(Error::file(directory.display(), reason));
        }
        let mut altered = Vec::new();
        if latest.is_some() {
            let begun = Self::recipe(directory, &[])?;
            same_schedule(&begun, &recipe)?;
            same_rounding(&begun, &recipe)?;
            altered = differences(&begun, &recipe)?;
        }
        let (files, mut trainer) = prepare(&recipe, device)?;
        let mut progress = match &latest {
            Some(checkpoint) => restore(checkpoint, &mut trainer)?,
            None => Progress::default(),
        };
        checkpoints.recall_best(&mut progress, leads)?;
        if leads {
            // The other ranks may be reading it.
            replace_file(&directory.join(RECIPE), recipe.to_toml()?.as_bytes())?;
        }
        Ok(Self { directory: directory.to_owned(), recipe, files, trainer, checkpoints, progress, altered, lock })
    }

    /// The run in `directory` at its best checkpoint, or at its latest where none was judged: to be exported, not to be
    /// gone on with.
    ///
    /// # Errors
    /// [`Error::File`] for a directory without a checkpoint, and those of [`Session::open`].
    pub fn best(directory: &Path, sets: &[String], device: &Device) -> Result<Self> {
        let lock = lock(directory)?;
        let recipe = Self::recipe(directory, sets)?;
        same_rounding(&Self::recipe(directory, &[])?, &recipe)?;
        let checkpoints = Checkpoints::open(&directory.join(CHECKPOINTS), recipe.run.keep_last)?;
        let best = checkpoints.best().map_or_else(|| checkpoints.latest(), |best| Ok(Some(best)))?;
        let best = best.ok_or_else(|| Error::file(directory.display(), "holds no checkpoint"))?;
        let (files, mut trainer) = prepare(&recipe, device)?;
        let progress = restore(&best, &mut trainer)?;
        Ok(Self {
            directory: directory.to_owned(),
            recipe,
            files,
            trainer,
            checkpoints,
            progress,
            altered: Vec::new(),
            lock: Some(lock),
        })
    }

    /// What to know of `files` that are not those that the run was begun with. A run that begins notes their sizes.
    ///
    /// # Errors
    /// [`Error::File`] when they cannot be noted.
    pub fn changed(&self, files: &[&Path]) -> Result<Vec<String>> {
        let size = |file: &Path| fs::metadata(file).ok().filter(|found| found.is_file()).map(|found| found.len());
        let found: BTreeMap<String, u64> =
            files.iter().filter_map(|file| Some((file.display().to_string(), size(file)?))).collect();
        let path = self.directory.join(DATA);
        if self.progress.draws == 0 {
            if self.lock.is_some() {
                replace_file(&path, serde_json::json!(found).to_string().as_bytes())?;
            }
            return Ok(Vec::new());
        }
        // Runs of before noted none.
        let before = fs::read_to_string(&path).unwrap_or_default();
        let before: BTreeMap<String, u64> = serde_json::from_str(&before).unwrap_or_default();
        let changed = found.iter().filter_map(|(file, size)| before.get(file).map(|before| (file, before, size)));
        let changed = changed.filter(|(_, before, size)| before != size);
        let note = |(file, before, size): (&String, &u64, &u64)| {
            format!("{file} has changed since the run began ({size} bytes, {before} then): what follows are other rows")
        };
        Ok(changed.map(note).collect())
    }

    /// The recipe that the run in `directory` was begun with.
    ///
    /// # Errors
    /// Those of [`Recipe::read`].
    pub fn recipe(directory: &Path, sets: &[String]) -> Result<Recipe> {
        Recipe::read_saved(&directory.join(RECIPE), sets)
    }

    pub fn vocab(&self) -> Result<Vocab> {
        Vocab::from_tokenizer_json(&self.files.tokenizer_json, &self.files.config)
    }

    /// Writes the trained model, averaged and rounded if the run does so, as an f32 bundle, with the model of image codes that it
    /// was trained with and the recipe.
    ///
    /// # Errors
    /// Those of [`write_bundle_and`] and of the model of image codes.
    pub fn export(&self, out: &Path) -> Result<Manifest> {
        let trainer = &self.trainer;
        let [parameters, statistics] = trainer.answering();
        let mut tensors = named(trainer.map(), Section::Parameters, parameters)?;
        tensors.extend(named(trainer.map(), Section::Statistics, statistics)?);
        if let Some(rounding) = trainer.rounding() {
            tensors = rounding.as_stored(tensors)?;
        }
        let mut tensors: HashMap<_, _> = tensors.into_iter().collect();
        let config = &self.files.config;
        let order = parameter_shapes(config, &trainer.values(Section::Parameters).device())?;
        let ordered = order.into_iter().filter_map(|(name, _)| tensors.remove_entry(&name)).map(Ok);
        let codes = self.recipe.data.options.get("codes").and_then(|codes| codes.as_str());
        write_bundle_and(out, &self.files, Precision::F32, ordered, |folder| {
            if let Some(codes) = codes {
                let (config, tensors) = read_vqgan(Path::new(codes))?;
                let single = |(name, tensor): (String, RawTensor<'static>)| -> Result<(String, RawTensor<'static>)> {
                    let values = tensor.to_f32(&name)?;
                    let tensor = RawTensor::from_f32(&name, tensor.shape, &values)?;
                    Ok((name, tensor))
                };
                write_vqgan(&folder.join(VQGAN), &config, Precision::F32, tensors.into_iter().map(single))?;
            }
            let path = folder.join(RECIPE);
            fs::write(&path, self.recipe.to_toml()?).map_err(|error| Error::file(path.display(), error))
        })
    }
}

/// The lock lives as long as the file is open, so that it goes with its process however that ends.
pub(super) fn lock(directory: &Path) -> Result<File> {
    let path = directory.join(LOCK);
    let file = File::create(&path).map_err(|error| Error::file(path.display(), error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Error::file(directory.display(), "another process is training in this directory"))
        }
        Err(TryLockError::Error(error)) => Err(Error::file(path.display(), error)),
    }
}

/// Values of a recipe that another has otherwise, as `key: old -> new`.
fn differences(old: &Recipe, new: &Recipe) -> Result<Vec<String>> {
    let values = |recipe: &Recipe| -> Result<BTreeMap<String, String>> {
        let table = toml::Table::try_from(recipe).map_err(|error| Error::file(RECIPE, error))?;
        let mut values = BTreeMap::new();
        flatten(toml::Value::Table(table), String::new(), &mut values);
        Ok(values)
    };
    let (old, new) = (values(old)?, values(new)?);
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let said = |values: &BTreeMap<String, String>, key| values.get(key).cloned().unwrap_or_else(|| "unset".into());
    let changed = keys.into_iter().filter(|key| old.get(*key) != new.get(*key));
    Ok(changed.map(|key| format!("{key}: {} -> {}", said(&old, key), said(&new, key))).collect())
}

/// Values by their dotted keys.
fn flatten(value: toml::Value, key: String, values: &mut BTreeMap<String, String>) {
    let toml::Value::Table(table) = value else {
        values.insert(key, value.to_string());
        return;
    };
    for (name, value) in table {
        flatten(value, if key.is_empty() { name } else { format!("{key}.{name}") }, values);
    }
}

/// More updates, or fewer, than the run was begun with would bend the fall of its learning rate: whoever wants that has
/// to say where it ends.
fn same_schedule(begun: &Recipe, asked: &Recipe) -> Result<()> {
    let total = |recipe: &Recipe| recipe.update.schedule.total(recipe.update.updates);
    let (old, new) = (total(begun), total(asked));
    if old == new || asked.update.schedule.total_updates.is_some() {
        return Ok(());
    }
    let expected = format!("{old}, over which the learning rate of this run falls");
    let found = format!(
        "{new}: also set update.schedule.total_updates, to {old} to keep the rate as it was, or to {new} to let it \
         follow from here on"
    );
    Err(Error::option("update.updates", expected, found))
}

/// Weights that were trained for one way of rounding lose by another, and the best of one is no measure for the other.
fn same_rounding(begun: &Recipe, asked: &Recipe) -> Result<()> {
    let [old, new] = [begun, asked].map(|recipe| recipe.update.quantization.as_ref());
    if old == new {
        return Ok(());
    }
    let said = |choice: Option<&PackingChoice>| choice.map_or_else(|| "none".to_owned(), ToString::to_string);
    let expected = format!("{}, as this run began: train from its model in a run of its own", said(old));
    Err(Error::option("update.quantization", expected, said(new)))
}

/// A bundle's small files for the model to be trained, and the model on its device.
pub(super) fn prepare(recipe: &Recipe, device: &Device) -> Result<(BundleFiles, Trainer)> {
    let device = device.clone().autodiff();
    let generation_config = generation(recipe)?.to_json()?;
    let trainer = |config: &OfaConfig, parameters: &mut dyn Parameters| {
        let (side, largest) = (recipe.model.image_size, config.image_bucket_size * STEM_STRIDE);
        if !(1..=largest).contains(&(side as usize)) {
            return Err(Error::option("model.image_size", format!("1 to {largest} for this model"), side));
        }
        Trainer::new(config.clone(), recipe.update.clone(), recipe.seed, parameters)
    };
    let (files, trainer) = match &recipe.model.from {
        Some(bundle) => {
            if bundle.is_file() {
                let expected = "a bundle's directory; `ofa convert` makes one of a checkpoint";
                return Err(Error::option("model.from", expected, bundle.display()));
            }
            let (manifest, files) = read_files(bundle)?;
            let config = recipe.model.config(Some(&files.config))?;
            let mut weights = DeviceWeights::new(&config, device);
            read_tensors(bundle, &manifest, |name, tensor| weights.insert(&name, &tensor))?;
            let trainer = trainer(&config, &mut weights)?;
            weights.finish()?;
            (BundleFiles { config, generation_config, ..files }, trainer)
        }
        None => {
            let vocabulary = VocabFiles::find(recipe.model.tokenizer.as_deref(), Path::new("."))?;
            let config = sized(recipe, &vocabulary)?;
            let tokenizer_json = vocabulary.tokenizer_json(config.num_codes, config.num_bins)?;
            Vocab::from_tokenizer_json(&tokenizer_json, &config)?;
            device.seed(recipe.seed);
            if recipe.model.alike_layers > config.encoder_layers {
                let expected = format!("at most {} layers, as the encoder has", config.encoder_layers);
                return Err(Error::option("model.alike_layers", expected, recipe.model.alike_layers));
            }
            let random = Random { device, pad_token_id: config.pad_token_id, gain: 1.0 };
            let mut fresh = AlikeHeads::new(random, &config, recipe.model.alike_layers, recipe.seed);
            let trainer = trainer(&config, &mut fresh)?;
            (BundleFiles { config, tokenizer_json, generation_config }, trainer)
        }
    };
    Ok((files, trainer))
}

/// How the model wants to be asked once it is trained.
fn generation(recipe: &Recipe) -> Result<GenerationConfig> {
    let image_size = Some(recipe.model.image_size);
    let mut all = GenerationConfig::for_all(AnswerOptions { image_size, ..AnswerOptions::default() });
    if recipe.data.kind == SCENES {
        // They name all there is, which may share words: the original's captions end after 16 tokens and repeat no three.
        let (max_len, no_repeat_ngram_size) = (Some(SCENE_CAPTION), Some(0));
        all = all.with_task("caption", AnswerOptions { max_len, no_repeat_ngram_size, ..AnswerOptions::default() });
        // The original draws from 256 codes of 8,192.
        all = all.with_task("image_gen", AnswerOptions { top_k: Some(SCENE_CODES), ..AnswerOptions::default() });
    }
    let prompt_type = recipe.data.options.get("prompt_type");
    let Some(prompt_type) = prompt_type else { return Ok(all) };
    let failed = |error: toml::de::Error| Error::file("recipe [data]", error);
    let prompt_type = Some(prompt_type.clone().try_into().map_err(failed)?);
    Ok(all.with_task(&recipe.data.kind, AnswerOptions { prompt_type, ..AnswerOptions::default() }))
}

/// A fresh model's configuration, its vocabulary as large as the files say unless the recipe says otherwise.
fn sized(recipe: &Recipe, vocabulary: &VocabFiles) -> Result<OfaConfig> {
    let mut choice = recipe.model.clone();
    if let Some(size) = vocabulary.text_size()?
        && !choice.config.contains_key("vocab_size")
    {
        // `<mask>` is the last id before the codes.
        let plain = OfaConfig { vocab_size: size, ..choice.config(None)? };
        let whole = size + plain.num_codes + plain.num_bins;
        choice.config.insert("vocab_size".into(), toml::Value::Integer(whole as i64));
        choice.config.entry("mask_token_id").or_insert(toml::Value::Integer(size as i64 - 1));
    }
    choice.config(None)
}

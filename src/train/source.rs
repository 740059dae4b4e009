//! From what a recipe says of its data to draws and questions.

use super::augment::ImageSizes;
use super::choice::{DataOptions, Files, FineTuningOptions, PretrainingOptions};
use super::corpus::{Codes, Scenes, ScenesOptions, World, fetched_folder};
use super::data::{self, EpochFiles, Kind, Records};
use super::evaluate::EvaluateOptions;
use super::metrics::cider::{self, DocumentFrequencies};
use super::objectives::{FineTuning, Negatives, Pretraining, PretrainingData, RowOptions, Rows, Validation};
use super::question::{Question, Questions};
use super::recipe::Recipe;
use super::sample::Draws;
use super::self_critical::SelfCritic;
use crate::config::{AnswerOptions, OfaConfig, VqganConfig};
use crate::error::{Error, Result};
use crate::image::Pixels;
use crate::predict::ImageCodes;
use crate::task::{Constraint, Metric, Task};
use crate::vocab::{Layout, Vocab, clean};
use burn::tensor::Device;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Of the questions of evaluations: never the seed of training.
const QUESTION_SEED: u64 = 0x5EED;

/// What samples and questions come from.
pub struct Source {
    pub draws: Box<dyn Draws>,
    pub questions: Box<dyn Questions>,
    /// How questions are asked.
    pub evaluate: EvaluateOptions,
    /// What the person should know of the data that were found.
    pub notes: Vec<String>,
}

impl Source {
    /// Image codes are made on `device`.
    ///
    /// # Errors
    /// Those of the files, and [`Error::Option`] for data that the recipe needs and does not name.
    pub fn open(
        options: DataOptions,
        recipe: &Recipe,
        config: &OfaConfig,
        vocab: Arc<Vocab>,
        device: &Device,
    ) -> Result<Self> {
        match options {
            DataOptions::Scenes(options) => scenes(*options, recipe, config, vocab, device),
            DataOptions::Pretraining(options) => pretraining(&options, recipe, config, vocab),
            DataOptions::FineTuning(task, options) => {
                check_constraint(task, recipe, vocab.layout())?;
                finetuning(task, &options, recipe, config, vocab)
            }
        }
    }

    fn new(draws: impl Draws + 'static, questions: impl Questions + 'static) -> Self {
        let evaluate = EvaluateOptions::default();
        Self { draws: Box::new(draws), questions: Box::new(questions), evaluate, notes: Vec::new() }
    }
}

/// The recipe with its epochs counted out into updates.
///
/// # Errors
/// Those of the data.
pub fn resolved(recipe: Recipe) -> Result<Recipe> {
    if recipe.data.epochs.is_none() {
        return Ok(recipe);
    }
    let draws = match DataOptions::read(&recipe.data)? {
        DataOptions::Scenes(options) => options.epoch,
        DataOptions::Pretraining(options) => {
            let Files(paths) = &options.vision_language;
            Some(files("vision_language", paths)?.len())
        }
        DataOptions::FineTuning(task, options) => Some(training_files(task, &options)?.len()),
    };
    recipe.with_epochs_of(draws)
}

fn scenes(
    options: ScenesOptions,
    recipe: &Recipe,
    config: &OfaConfig,
    vocab: Arc<Vocab>,
    device: &Device,
) -> Result<Source> {
    let options = drawn(options, recipe);
    let codes = options.codes.as_deref().map(|folder| codes(folder, config, device)).transpose()?;
    let wanted = options.tasks.infill_image > 0.0 || options.tasks.image_gen > 0.0;
    let unknown =
        (wanted && codes.is_none()).then_some("no pictures are drawn or filled in: data.codes names no image codes");
    let world = Arc::new(World::new(options)?);
    let asked = world.questions(QUESTION_SEED, recipe.run.questions as u64, 1).collect::<Result<Vec<_>>>()?;
    let measured = |question: &Question| question.task.metric != Metric::Unmeasured;
    let questions: Vec<Question> = asked.into_iter().filter(measured).collect();
    let notes = world.notes().iter().cloned().chain(unknown.map(str::to_owned)).collect();
    Ok(Source { notes, ..Source::new(Scenes::new(world, vocab, codes), questions) })
}

/// The options of a recipe's scenes, with what else decides how they are drawn.
fn drawn(options: ScenesOptions, recipe: &Recipe) -> ScenesOptions {
    let stickers = options.stickers.or_else(fetched_folder);
    ScenesOptions { side: recipe.model.image_size, stickers, ..options }
}

/// The world that a model was trained in by this recipe; `None` if it was trained on files.
///
/// # Errors
/// Those of the recipe's `[data]`.
pub fn world_of(recipe: &Recipe) -> Result<Option<ScenesOptions>> {
    Ok(match DataOptions::read(&recipe.data)? {
        DataOptions::Scenes(options) => Some(drawn(*options, recipe)),
        _ => None,
    })
}

fn codes(folder: &Path, config: &OfaConfig, device: &Device) -> Result<Codes> {
    let coder = ImageCodes::load(folder, device)?;
    check_codes(coder.config(), config)?;
    let encode = move |pixels: &Pixels| pollster::block_on(coder.encode(pixels));
    Ok(Codes { side: config.code_image_size as u32, encode: Box::new(encode) })
}

/// Refuses image codes that are not those `config` speaks of.
fn check_codes(coder: &VqganConfig, config: &OfaConfig) -> Result<()> {
    let (found, expected) = (coder.n_embed, config.num_codes);
    if found != expected {
        return Err(Error::option("data.codes", format!("a model of num_codes = {expected} codes"), found));
    }
    let (stride, side, grid) = (coder.stride(), config.code_image_size, config.code_grid());
    if stride * grid != side {
        let expected = format!("a model that makes {grid} x {grid} codes of code_image_size = {side} pixels");
        return Err(Error::option("data.codes", expected, format!("one whose codes are {stride} pixels a side")));
    }
    Ok(())
}

fn pretraining(options: &PretrainingOptions, recipe: &Recipe, config: &OfaConfig, vocab: Arc<Vocab>) -> Result<Source> {
    let optional = |kind, Files(paths): &Files| (!paths.is_empty()).then(|| files(kind, paths)).transpose();
    let data = PretrainingData {
        main: files("vision_language", &options.vision_language.0)?,
        texts: optional("text", &options.text)?,
        images: optional("image", &options.image)?,
        detection: optional("detection", &options.detection)?,
        negatives: options.negatives.as_deref().map(Negatives::open).transpose()?.unwrap_or_default(),
    };
    let side = recipe.model.image_size;
    let plain = ImageSizes::new(side);
    let sizes = ImageSizes {
        side,
        short_side: options.short_side.unwrap_or(plain.short_side),
        long_side: options.long_side.unwrap_or(plain.long_side),
        // The codes are those of the middle half.
        extra_side: 2 * config.code_image_size as u32,
    };
    let kind = Kind::find("vision_language")?;
    let draws = Pretraining::new(data, vocab, sizes, recipe.seed);
    Ok(match validation(options.evaluation.as_deref(), kind, kind.columns, recipe)? {
        Some(records) => Source::new(draws, Validation::of_pretraining(records, recipe.run.questions as u64)?),
        None => Source::new(draws, Vec::new()),
    })
}

/// Targets that the constraint forbids would be learnt at a loss without end.
fn check_constraint(task: &Task, recipe: &Recipe, layout: &Layout) -> Result<()> {
    let Some((start, end)) = recipe.update.loss.constraint_range else { return Ok(()) };
    let needed = match task.constraint {
        Constraint::Codes => layout.code0..layout.bin0,
        Constraint::Bins => layout.bin0..layout.size as u32,
        // Some words may do.
        Constraint::Free | Constraint::Answers | Constraint::Labels(_) if start < layout.mask => return Ok(()),
        Constraint::Free | Constraint::Answers | Constraint::Labels(_) => 0..layout.mask,
    };
    if start <= needed.start && needed.end <= end {
        return Ok(());
    }
    let expected = format!("[{}, {}], where this model has what `{}` answers", needed.start, needed.end, task.name);
    Err(Error::option("update.loss.constraint_range", expected, format!("[{start}, {end}]")))
}

fn finetuning(
    task: &'static Task,
    options: &FineTuningOptions,
    recipe: &Recipe,
    config: &OfaConfig,
    vocab: Arc<Vocab>,
) -> Result<Source> {
    let row_options = RowOptions {
        prompt_type: options.prompt_type,
        answers: options.answers.as_deref().map(lines).transpose()?,
        objects: options.objects,
        caption: options.caption,
        caption_words: options.caption_words,
        noise: options.noise,
        code_grid: Some(config.code_grid()),
    };
    let rows = || Rows::new(task.name, row_options.clone());
    let training = training_files(task, options)?;
    let mut notes = Vec::new();
    let critic = match (options.self_critical, &options.frequencies) {
        (false, _) => None,
        (true, given) => {
            SelfCritic::check(&recipe.update.loss)?;
            let frequencies = match given {
                Some(path) => DocumentFrequencies::read(path)?,
                None => {
                    notes.push("weights of n-grams are counted over the training captions (data.frequencies)".into());
                    frequencies(training.of(0))
                }
            };
            Some(SelfCritic::new(vocab.clone(), frequencies, task.decoding()))
        }
    };
    let kind = Kind::of_task(task.name)?;
    let columns = options.columns(kind, true)?;
    let draws = FineTuning::new(rows()?, training, vocab, recipe.model.image_size, recipe.seed, critic)?;
    let source = match validation(options.evaluation.as_deref(), kind, &columns, recipe)? {
        Some(records) => Source::new(draws, Validation::of_task(records, rows()?, recipe.run.questions as u64)),
        None => Source::new(draws, Vec::new()),
    };
    let answer = AnswerOptions { num_beams: options.num_beams, ..AnswerOptions::default() };
    Ok(Source { evaluate: EvaluateOptions { answer, ..EvaluateOptions::default() }, notes, ..source })
}

fn files(kind: &str, paths: &[PathBuf]) -> Result<EpochFiles> {
    let kind = Kind::find(kind)?;
    if paths.is_empty() {
        return Err(Error::option(format!("data.{}", kind.name), "a list of files", "nothing"));
    }
    EpochFiles::open(paths, kind, kind.columns)
}

fn training_files(task: &Task, options: &FineTuningOptions) -> Result<EpochFiles> {
    let Files(paths) = &options.training;
    if paths.is_empty() {
        return Err(Error::option("data.training", "a list of files", "nothing"));
    }
    let kind = Kind::of_task(task.name)?;
    EpochFiles::open(paths, kind, &options.columns(kind, false)?)
}

/// The file that evaluations ask, if there are to be any.
fn validation(
    path: Option<&Path>,
    kind: &'static Kind,
    columns: &[usize],
    recipe: &Recipe,
) -> Result<Option<Box<dyn Records>>> {
    match (path, recipe.run.evaluate_every) {
        (_, 0) => Ok(None),
        (Some(path), _) => data::open(path, kind, columns).map(Some),
        (None, every) => {
            let expected = format!("a file to ask, because run.evaluate_every is {every}");
            Err(Error::option("data.evaluation", expected, "nothing"))
        }
    }
}

/// Those of all captions of a file; rows that cannot be read are reported when they are drawn.
fn frequencies(records: &dyn Records) -> DocumentFrequencies {
    let texts = |row| records.record(row).and_then(|record| record.texts("caption")).ok();
    let ended = |texts: Vec<String>| texts.iter().map(|text| cider::ended(text)).collect();
    let captions: Vec<Vec<String>> = (0..records.len()).filter_map(texts).map(ended).collect();
    DocumentFrequencies::of(captions.iter().map(Vec::as_slice))
}

/// The lines of a text file, without the empty ones.
fn lines(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::file(path.display(), error))?;
    Ok(clean::lines(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_codes_of_another_number_or_stride_are_refused() {
        let mut coder = VqganConfig::small();
        let side = 4 * coder.stride();
        let config = OfaConfig { num_codes: coder.n_embed, code_image_size: side, ..OfaConfig::default() };
        check_codes(&coder, &config).expect("4 x 4 codes");
        coder.ddconfig.ch_mult.pop();
        let error = check_codes(&coder, &config).expect_err("codes of half the side").to_string();
        assert!(error.contains("data.codes") && error.contains("4 x 4") && error.contains("4 pixels"), "{error}");
        let fewer = OfaConfig { num_codes: 3, ..config };
        let error = check_codes(&coder, &fewer).expect_err("more codes").to_string();
        assert!(error.contains("num_codes = 3"), "{error}");
    }
}

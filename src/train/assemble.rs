//! From a recipe to what its run works with: the source of samples, and the questions that judge the model.

use super::corpus::{Scenes, ScenesOptions, World, fetched_folder};
use super::evaluate::{EvaluateOptions, Prediction, Report, evaluate};
use super::loader::Loader;
use super::parameters::Section;
use super::question::{Question, Reference};
use super::ranks::Alone;
use super::recipe::{DataChoice, Recipe};
use super::run::{Answered, Evaluation};
use super::sample::Draws;
use super::session::{Session, prepare};
use super::trainer::{Trainer, Updated};
use crate::config::GenerationConfig;
use crate::error::{Error, Result};
use crate::image::{Pixels, encode_png};
use crate::predict::Predictor;
use crate::task::{Answer, Metric};
use crate::vocab::Vocab;
use crate::weights::BundleFiles;
use burn::tensor::Device;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// Updates that a plan measures, after one that warms up.
const MEASURED: usize = 3;
/// Questions whose answers a person is shown at every evaluation.
const SHOWN: usize = 12;
/// Of the questions of evaluations: never the seed of training.
const QUESTION_SEED: u64 = 0x5EED;

/// What a run works with, beside its session.
pub struct Parts {
    pub draws: Box<dyn Draws>,
    questions: Vec<Question>,
    files: BundleFiles,
    /// What the person should know of the data that were found.
    pub notes: Vec<String>,
}

/// What a run would do.
pub struct Plan {
    pub trained: usize,
    pub frozen: usize,
    pub updates: u64,
    pub draws: u64,
    pub samples_per_update: f64,
    /// Shares of the samples.
    pub objectives: BTreeMap<&'static str, f64>,
    /// Bytes of weights, gradients, the optimiser's memory and averages.
    pub state_bytes: usize,
    /// Seconds of an update.
    pub seconds: f64,
    /// Seconds to make one update's batches.
    pub data_seconds: f64,
}

/// What the run of `session` works with.
///
/// # Errors
/// Those of the data.
pub fn parts(session: &Session) -> Result<Parts> {
    open(&session.recipe, &session.files)
}

fn open(recipe: &Recipe, files: &BundleFiles) -> Result<Parts> {
    let DataChoice { kind, options } = &recipe.data;
    let vocab = Vocab::from_tokenizer_json(&files.tokenizer_json, &files.config)?;
    match kind.as_str() {
        "scenes" => {
            let failed = |error: toml::de::Error| Error::file("recipe [data]", error);
            let mut options: ScenesOptions = options.clone().try_into().map_err(failed)?;
            options.side = recipe.model.image_size;
            options.stickers = options.stickers.or_else(fetched_folder);
            let world = Arc::new(World::new(options)?);
            let asked = world.questions(QUESTION_SEED, recipe.run.questions as u64).collect::<Result<Vec<_>>>()?;
            let questions = asked.into_iter().filter(|question| question.task.metric != Metric::Unmeasured).collect();
            let notes = world.notes().to_vec();
            let draws = Box::new(Scenes::new(world, Arc::new(vocab), None));
            Ok(Parts { draws, questions, files: files.clone(), notes })
        }
        _ => Err(Error::option("data.kind", "scenes", kind)),
    }
}

impl Parts {
    /// Judges a model in training by the questions of its recipe.
    ///
    /// # Errors
    /// Those of answering.
    pub fn evaluate(&self, trainer: &Trainer) -> Result<Evaluation> {
        let BundleFiles { config, tokenizer_json, generation_config } = &self.files;
        let vocab = Vocab::from_tokenizer_json(tokenizer_json, config)?;
        let generation = GenerationConfig::from_json(generation_config)?;
        let predictor = Predictor::new(config.clone(), generation, vocab, trainer.model())?;
        let questions = self.questions.iter().cloned().map(Ok);
        let report = pollster::block_on(evaluate(&predictor, questions, &EvaluateOptions::default(), |_| Ok(())))?;
        Ok(self.evaluation(&report))
    }

    fn evaluation(&self, report: &Report) -> Evaluation {
        let mut metrics = BTreeMap::new();
        let mut main = Vec::new();
        for (task, measured) in &report.tasks {
            // A row's first metric is the one it is known by.
            main.extend(measured.metrics.first().map(|(_, value)| *value));
            metrics.extend(measured.metrics.iter().map(|(name, value)| (format!("{task}.{name}"), *value)));
            for (group, measured) in &measured.groups {
                let first = measured.metrics.first();
                metrics.extend(first.map(|(name, value)| (format!("{task}/{group}.{name}"), *value)));
            }
        }
        let overall = main.iter().sum::<f64>() / main.len().max(1) as f64;
        let shown = self.questions.iter().zip(&report.predictions).take(SHOWN);
        Evaluation { metrics, overall, samples: shown.map(|(asked, answered)| sample(asked, answered)).collect() }
    }
}

fn sample(question: &Question, prediction: &Prediction) -> Answered {
    let png = |pixels: &Pixels| encode_png(pixels).ok();
    Answered {
        task: question.task.name.to_owned(),
        question: question.inputs.text.clone().unwrap_or_default(),
        answer: said(&prediction.answer),
        expected: match &question.reference {
            Reference::Texts(texts) => texts.first().cloned().unwrap_or_default(),
            other => format!("{other:?}"),
        },
        image: question.image.as_ref().and_then(png),
    }
}

fn said(answer: &Answer) -> String {
    match answer {
        Answer::Text { text, .. } => text.clone(),
        other => format!("{other:?}"),
    }
}

/// What the run of `recipe` would do, measured on a few updates of a trainer that is then thrown away.
///
/// # Errors
/// Everything that would stop the run from beginning.
pub fn plan(recipe: &Recipe, device: &Device) -> Result<Plan> {
    let (files, mut trainer) = prepare(recipe, device)?;
    let parts = open(recipe, &files)?;
    let map = trainer.map();
    let count = |trained: bool| -> usize {
        let entries = map.entries(Section::Parameters).filter(|entry| map.is_trained(&entry.name) == trained);
        entries.map(|entry| entry.range.len()).sum()
    };
    let (trained, frozen) = (count(true), count(false));
    // Weights in the model and in the row, a gradient, two moments, and an average.
    let copies = 5 + usize::from(recipe.update.ema_decay.is_some());
    let state_bytes = (trained + frozen) * copies * size_of::<f32>();

    let config = files.config.clone();
    let options = &recipe.batch;
    let loader = Loader { draws: parts.draws.as_ref(), options, config: &config, seed: recipe.seed, rank: (0, 1) };
    let (mut seconds, mut data_seconds, mut samples) = (0.0, 0.0, 0);
    let mut objectives: BTreeMap<&'static str, f64> = BTreeMap::new();
    for update in 0..=MEASURED {
        let started = Instant::now();
        let loaded = loader.load(update as u64 * options.draws)?;
        let made = started.elapsed().as_secs_f64();
        for objective in loaded.groups.iter().flatten().flat_map(|batch| &batch.objectives) {
            *objectives.entry(objective).or_default() += 1.0;
        }
        let started = Instant::now();
        let Updated { samples: count, .. } = pollster::block_on(trainer.update(&loaded.groups, &Alone))?;
        samples += count;
        if update > 0 {
            data_seconds += made / MEASURED as f64;
            seconds += started.elapsed().as_secs_f64() / MEASURED as f64;
        }
    }
    objectives.values_mut().for_each(|share| *share /= samples as f64);
    Ok(Plan {
        trained,
        frozen,
        updates: recipe.update.updates,
        draws: options.draws,
        samples_per_update: samples as f64 / (MEASURED + 1) as f64,
        objectives,
        state_bytes,
        seconds,
        data_seconds,
    })
}

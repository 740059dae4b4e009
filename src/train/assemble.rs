//! From a recipe to what its run works with: the source of samples, and the questions that judge the model.

use super::choice::DataOptions;
use super::evaluate::{EvaluateOptions, Report, evaluate, fitting};
use super::question::{Question, Questions};
use super::recipe::Recipe;
use super::run::Evaluation;
use super::sample::Draws;
use super::session::Session;
use super::shown::shown;
use super::source::Source;
use super::trainer::Trainer;
use crate::config::GenerationConfig;
use crate::error::{Error, Result};
use crate::predict::Predictor;
use crate::vocab::Vocab;
use crate::weights::BundleFiles;
use burn::tensor::Device;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Questions whose answers a person is shown at every evaluation.
const SHOWN: usize = 12;

/// What a run works with, beside its session.
pub struct Parts {
    pub draws: Box<dyn Draws>,
    questions: Box<dyn Questions>,
    evaluate: EvaluateOptions,
    files: BundleFiles,
    /// What the person should know of the data that were found.
    pub notes: Vec<String>,
}

/// What the run of `session` works with.
///
/// # Errors
/// Those of the data.
pub fn parts(session: &Session) -> Result<Parts> {
    let mut parts = open(&session.recipe, &session.files, &session.trainer.device())?;
    parts.notes.extend(session.changed(&DataOptions::read(&session.recipe.data)?.files())?);
    Ok(parts)
}

pub(super) fn open(recipe: &Recipe, files: &BundleFiles, device: &Device) -> Result<Parts> {
    let vocab = Arc::new(Vocab::from_tokenizer_json(&files.tokenizer_json, &files.config)?);
    let source = Source::open(DataOptions::read(&recipe.data)?, recipe, &files.config, vocab, device)?;
    let Source { draws, questions, evaluate, mut notes } = source;
    notes.extend(recipe.note_of_average());
    Ok(Parts { draws, questions, evaluate, files: files.clone(), notes })
}

impl Parts {
    /// Judges a model in training by the questions of its recipe.
    ///
    /// # Errors
    /// Those of answering.
    pub fn evaluate(&self, trainer: &Trainer) -> Result<Evaluation> {
        // A few are kept with their images, to be looked at.
        let (mut asked, mut left_out) = (Vec::new(), Vec::new());
        let predictor = self.predictor(trainer)?;
        let questions = fitting(self.questions.ask(), &predictor, &self.evaluate.answer).inspect(|question| {
            asked.extend(question.as_ref().ok().filter(|_| asked.len() < SHOWN).cloned());
            left_out.extend(question.as_ref().err().map(ToString::to_string));
        });
        let report = pollster::block_on(evaluate(&predictor, questions, &self.evaluate, |_| Ok(())))?;
        Ok(evaluation(&report, &asked, left_out))
    }

    /// Asks one question, so that what would stop an evaluation stops the run before its first update.
    ///
    /// # Errors
    /// Those of [`Self::evaluate`], and [`Error::Option`] where there is nothing to ask.
    pub fn rehearse(&self, trainer: &Trainer) -> Result<()> {
        let mut unreadable = None;
        let predictor = self.predictor(trainer)?;
        for question in fitting(self.questions.ask(), &predictor, &self.evaluate.answer) {
            match question {
                Ok(question) => {
                    let answered = evaluate(&predictor, [Ok(question)], &self.evaluate, |_| Ok(()));
                    return pollster::block_on(answered).map(|_| ());
                }
                Err(error) => unreadable = unreadable.or(Some(error)),
            }
        }
        let nothing = || Error::option("run.evaluate_every", "0 where there are no questions to evaluate with", "more");
        Err(unreadable.unwrap_or_else(nothing))
    }

    fn predictor(&self, trainer: &Trainer) -> Result<Predictor> {
        let BundleFiles { config, tokenizer_json, generation_config } = &self.files;
        let vocab = Vocab::from_tokenizer_json(tokenizer_json, config)?;
        let generation = GenerationConfig::from_json(generation_config)?;
        Predictor::new(config.clone(), generation, vocab, trainer.model())
    }
}

fn evaluation(report: &Report, asked: &[Question], left_out: Vec<String>) -> Evaluation {
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
    let samples = asked.iter().zip(&report.predictions).map(|(asked, answered)| shown(asked, answered));
    Evaluation { metrics, overall, samples: samples.collect(), left_out }
}

//! From a recipe to what its run works with: the source of samples, and the questions that judge the model.

use super::choice::DataOptions;
use super::evaluate::{EvaluateOptions, Prediction, Report, evaluate};
use super::question::{Question, Questions, Reference};
use super::recipe::Recipe;
use super::run::{Answered, Evaluation};
use super::sample::Draws;
use super::session::Session;
use super::source::Source;
use super::trainer::Trainer;
use crate::config::GenerationConfig;
use crate::error::Result;
use crate::image::{Pixels, encode_png};
use crate::predict::Predictor;
use crate::task::Answer;
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
    open(&session.recipe, &session.files, &session.trainer.device())
}

pub(super) fn open(recipe: &Recipe, files: &BundleFiles, device: &Device) -> Result<Parts> {
    let vocab = Arc::new(Vocab::from_tokenizer_json(&files.tokenizer_json, &files.config)?);
    let source = Source::open(DataOptions::read(&recipe.data)?, recipe, &files.config, vocab, device)?;
    let Source { draws, questions, evaluate, notes } = source;
    Ok(Parts { draws, questions, evaluate, files: files.clone(), notes })
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
        // A few are kept with their images, to be looked at.
        let mut shown = Vec::new();
        let questions = self.questions.ask().inspect(|question| {
            shown.extend(question.as_ref().ok().filter(|_| shown.len() < SHOWN).cloned());
        });
        let report = pollster::block_on(evaluate(&predictor, questions, &self.evaluate, |_| Ok(())))?;
        Ok(evaluation(&report, &shown))
    }
}

fn evaluation(report: &Report, shown: &[Question]) -> Evaluation {
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
    let samples = shown.iter().zip(&report.predictions).map(|(asked, answered)| sample(asked, answered));
    Evaluation { metrics, overall, samples: samples.collect() }
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

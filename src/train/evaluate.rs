//! Asks a model the questions of an evaluation set, through the same [`Predictor`] that answers everybody else.

use super::metrics::cider::DocumentFrequencies;
use super::metrics::{Judged, Measure, Scores};
use super::{Question, Reference};
use crate::config::AnswerOptions;
use crate::error::{Error, Result};
use crate::image::Pixels;
use crate::predict::{EncodedImage, Predictor, Timings};
use crate::task::{Answer, Task};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use web_time::Instant;

/// How to ask, and what to measure against.
#[derive(Debug, Clone, Default)]
pub struct EvaluateOptions {
    pub answer: AnswerOptions,
    /// For CIDEr-D; by default those of the evaluation's own references.
    pub frequencies: Option<DocumentFrequencies>,
}

/// What happens to a question.
#[derive(Debug)]
pub enum Step<'a> {
    Answered(&'a Prediction),
    /// A question that could not be read or asked: it is left out and counted.
    Skipped(&'a Error),
}

/// A question, without its image, and its answer.
#[derive(Debug, Clone)]
pub struct Prediction {
    pub id: String,
    pub task: &'static Task,
    pub group: Option<String>,
    /// Width and height.
    pub image: Option<(u32, u32)>,
    pub answer: Answer,
    pub reference: Reference,
    pub timings: Timings,
}

/// What came out.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// By task name.
    pub tasks: BTreeMap<&'static str, Measured>,
    /// Questions that could not be read or asked.
    pub skipped: usize,
    /// From the first question to the last answer.
    pub seconds: f64,
    /// In the order of the questions.
    #[serde(skip)]
    pub predictions: Vec<Prediction>,
}

/// Measures over some questions of one task.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    pub count: usize,
    #[serde(serialize_with = "as_map")]
    pub metrics: Scores,
    /// Of an answer, the image's share among it once for every image.
    pub mean_ms: f64,
    /// The same over the questions of each group.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, Measured>,
}

impl Report {
    /// `{"task": {"metric": value, …}, …}`; a task's groups stand among its metrics, each with the first of its own.
    pub fn metrics(&self) -> serde_json::Value {
        let tasks = self.tasks.iter().map(|(task, measured)| {
            let own = measured.metrics.iter().map(|(name, value)| (name.to_string(), *value));
            let of_group = |(group, measured): (&String, &Measured)| {
                measured.metrics.first().filter(|_| group != task).map(|(_, value)| (group.clone(), *value))
            };
            let all = own.chain(measured.groups.iter().filter_map(of_group));
            (task.to_string(), all.map(|(name, value)| (name, serde_json::Value::from(value))).collect())
        });
        serde_json::Value::Object(tasks.collect())
    }
}

/// Answers every question and measures the answers by task and by group. `report` hears of each; its error ends the
/// evaluation.
///
/// # Errors
/// The predictor's, [`Error::Task`] for a reference that the task's metric cannot use, what `report` returns, and the first
/// question's error if none could be read and asked.
pub async fn evaluate(
    predictor: &Predictor,
    questions: impl IntoIterator<Item = Result<Question>>,
    options: &EvaluateOptions,
    mut report: impl FnMut(Step<'_>) -> Result<()>,
) -> Result<Report> {
    let started = Instant::now();
    let (mut predictions, mut unreadable) = (Vec::new(), Vec::new());
    let mut images = Images::default();
    for question in fitting(questions, predictor, &options.answer) {
        match question {
            Ok(question) => {
                let prediction = answer(predictor, question, &options.answer, &mut images).await?;
                report(Step::Answered(&prediction))?;
                predictions.push(prediction);
            }
            Err(error) => {
                report(Step::Skipped(&error))?;
                unreadable.push(error);
            }
        }
    }
    let skipped = unreadable.len();
    if let (true, Some(error)) = (predictions.is_empty(), unreadable.into_iter().next()) {
        return Err(error);
    }
    let seconds = started.elapsed().as_secs_f64();
    let tasks = measure(&predictions, options.frequencies.as_ref())?;
    Ok(Report { tasks, skipped, seconds, predictions })
}

/// Questions that `predictor` can be asked, and why it cannot be asked the others: a text that is too long, say.
pub(super) fn fitting<'a>(
    questions: impl IntoIterator<Item = Result<Question>> + 'a,
    predictor: &'a Predictor,
    options: &'a AnswerOptions,
) -> impl Iterator<Item = Result<Question>> + 'a {
    questions.into_iter().map(move |question| {
        let question = question?;
        match predictor.fits(question.task, &question.inputs, options) {
            Err(Error::Task { task, reason }) => Err(Error::task(task, format!("question {}: {reason}", question.id))),
            fits => fits.map(|()| question),
        }
    })
}

async fn answer(
    predictor: &Predictor,
    question: Question,
    options: &AnswerOptions,
    images: &mut Images,
) -> Result<Prediction> {
    let Question { id, task, image: pixels, inputs, reference, group } = question;
    let image = pixels.as_ref().map(Pixels::size);
    let (encoded, fresh) = match pixels {
        Some(pixels) => {
            let (encoded, fresh) = images.encode(predictor, task, pixels, options).await?;
            (Some(encoded), fresh)
        }
        None => (None, false),
    };
    let answered = predictor.answer(task, encoded, &inputs, options, async |_| Ok(())).await?;
    let mut timings = answered.timings;
    if !fresh {
        timings.stem_ms = 0.0;
    }
    Ok(Prediction { id, task, group, image, answer: answered.answer, reference, timings })
}

/// The last image, as the tasks that were asked about it see it.
#[derive(Default)]
pub(super) struct Images {
    pixels: Option<Pixels>,
    by_task: BTreeMap<&'static str, EncodedImage>,
}

impl Images {
    /// The image, and whether it had to be encoded.
    pub async fn encode(
        &mut self,
        predictor: &Predictor,
        task: &'static Task,
        pixels: Pixels,
        options: &AnswerOptions,
    ) -> Result<(&EncodedImage, bool)> {
        if self.pixels.as_ref() != Some(&pixels) {
            self.by_task.clear();
        }
        let fresh = !self.by_task.contains_key(task.name);
        if fresh {
            let encoded = predictor.encode_image(task, &pixels, options).await?;
            self.by_task.insert(task.name, encoded);
        }
        self.pixels = Some(pixels);
        Ok((&self.by_task[task.name], fresh))
    }
}

/// The last image, as each of two models sees it.
#[derive(Default)]
pub(super) struct ImagesOfTwo([Images; 2]);

impl ImagesOfTwo {
    /// What each sees of a question's image, if it has one.
    pub async fn encode(
        &mut self,
        [first, second]: [&Predictor; 2],
        task: &'static Task,
        pixels: Option<Pixels>,
        options: &AnswerOptions,
    ) -> Result<[Option<&EncodedImage>; 2]> {
        let Some(pixels) = pixels else { return Ok([None; 2]) };
        let [of_first, of_second] = &mut self.0;
        let (seen_first, _) = of_first.encode(first, task, pixels.clone(), options).await?;
        let (seen_second, _) = of_second.encode(second, task, pixels, options).await?;
        Ok([Some(seen_first), Some(seen_second)])
    }
}

fn measure(
    predictions: &[Prediction],
    frequencies: Option<&DocumentFrequencies>,
) -> Result<BTreeMap<&'static str, Measured>> {
    let mut by_task: BTreeMap<&'static str, Vec<&Prediction>> = BTreeMap::new();
    for prediction in predictions {
        by_task.entry(prediction.task.name).or_default().push(prediction);
    }
    let mut tasks = BTreeMap::new();
    for (name, predictions) in by_task {
        let measure = Measure::new(predictions[0].task, &judged(&predictions), frequencies.cloned());
        let mut groups: BTreeMap<&String, Vec<&Prediction>> = BTreeMap::new();
        for prediction in &predictions {
            if let Some(group) = &prediction.group {
                groups.entry(group).or_default().push(prediction);
            }
        }
        let groups =
            groups.into_iter().map(|(group, of)| Ok((group.clone(), measured(&measure, &of, BTreeMap::new())?)));
        let groups = groups.collect::<Result<_>>()?;
        tasks.insert(name, measured(&measure, &predictions, groups)?);
    }
    Ok(tasks)
}

fn measured(measure: &Measure, predictions: &[&Prediction], groups: BTreeMap<String, Measured>) -> Result<Measured> {
    let milliseconds = predictions.iter().map(|one| one.timings).map(|t| t.stem_ms + t.encoder_ms + t.decode_ms);
    Ok(Measured {
        count: predictions.len(),
        metrics: measure.scores(&judged(predictions))?,
        mean_ms: super::metrics::words::mean(milliseconds),
        groups,
    })
}

fn judged<'a>(predictions: &[&'a Prediction]) -> Vec<Judged<'a>> {
    predictions.iter().map(|one| Judged { answer: &one.answer, reference: &one.reference, image: one.image }).collect()
}

fn as_map<S: Serializer>(scores: &Scores, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(scores.iter().copied())
}

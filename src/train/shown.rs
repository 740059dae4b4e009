//! A question and its answer as a person looks at them.

use super::evaluate::Prediction;
use super::metrics::{Judged, Measure};
use super::question::{Question, Reference};
use super::run::Answered;
use crate::image::{Pixels, encode_png};
use crate::task::{Answer, Metric};
use crate::vocab::clean;

pub fn shown(question: &Question, prediction: &Prediction) -> Answered {
    let png = |pixels: &Pixels| encode_png(pixels).ok();
    Answered {
        task: question.task.name.to_owned(),
        question: question.inputs.text.clone().unwrap_or_default(),
        answer: said(&prediction.answer),
        expected: expected(&question.reference, prediction.image),
        right: is_right(question, prediction),
        image: question.image.as_ref().and_then(png),
    }
}

/// The least of a task's first metric at which one answer counts as right.
const RIGHT: f64 = 0.5;

fn is_right(question: &Question, prediction: &Prediction) -> bool {
    // What these measure says nothing of one answer alone.
    if matches!(question.task.metric, Metric::Cider | Metric::Rouge)
        && let (Reference::Texts(texts), Some(said)) = (&question.reference, prediction.answer.text())
    {
        return texts.iter().any(|text| clean::caption_output(text) == clean::caption_output(said));
    }
    let Prediction { answer, reference, image, .. } = prediction;
    let judged = [Judged { answer, reference, image: *image }];
    let scores = Measure::new(question.task, &judged, None).scores(&judged);
    scores.is_ok_and(|scores| scores.first().is_some_and(|(_, value)| *value >= RIGHT))
}

fn said(answer: &Answer) -> String {
    let joined = |parts: Vec<String>| parts.join("; ");
    match answer {
        Answer::Text { text, .. } => text.clone(),
        Answer::Labels { label, probability, .. } => format!("{label} ({probability:.2})"),
        Answer::Boxes { boxes, raw, .. } => boxes.first().map_or_else(|| raw.clone(), |found| corners(found.pixels)),
        Answer::Objects { objects, .. } => {
            joined(objects.iter().map(|found| format!("{} at {}", found.label, corners(found.pixels))).collect())
        }
        Answer::Codes { codes, .. } => format!("{} image codes", codes.first().map_or(0, Vec::len)),
    }
}

fn expected(reference: &Reference, image: Option<(u32, u32)>) -> String {
    let (width, height) = image.map_or((1.0, 1.0), |(width, height)| (f64::from(width), f64::from(height)));
    let place = |region: &[f32; 4]| {
        let [left, top, right, bottom] = region.map(f64::from);
        corners([left * width, top * height, right * width, bottom * height])
    };
    let joined = |parts: Vec<String>| parts.join("; ");
    match reference {
        Reference::Texts(texts) => texts.first().cloned().unwrap_or_default(),
        Reference::Scored(answers) => {
            joined(answers.iter().map(|(answer, score)| format!("{answer} ({score:.2})")).collect())
        }
        Reference::Region(region) => place(region),
        Reference::Objects(objects) => {
            joined(objects.iter().map(|(region, label)| format!("{label} at {}", place(region))).collect())
        }
        Reference::Mentions(things) => joined(things.iter().map(|phrases| phrases.join(" or ")).collect()),
    }
}

/// Left, top, right and bottom in pixels.
fn corners(pixels: [f64; 4]) -> String {
    pixels.map(|value| format!("{value:.0}")).join(", ")
}

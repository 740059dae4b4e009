//! Answers as the official tools of each task read them.
//!
//! Captions, boxes and detections also come with their references in COCO's form, so that METEOR, SPICE or average
//! precision can be computed with the original tools from two files.

use super::{Prediction, Reference};
use crate::task::{Answer, AnswerKind};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// One task's answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Results {
    /// A list in the form of the task's tool.
    pub answers: Value,
    /// COCO annotations, where a tool reads them.
    pub references: Option<Value>,
}

/// The answers by task name.
pub fn results(predictions: &[Prediction]) -> BTreeMap<&'static str, Results> {
    let mut by_task: BTreeMap<&'static str, Vec<&Prediction>> = BTreeMap::new();
    for prediction in predictions {
        by_task.entry(prediction.task.name).or_default().push(prediction);
    }
    by_task.into_iter().map(|(name, predictions)| (name, of_task(&predictions))).collect()
}

fn of_task(predictions: &[&Prediction]) -> Results {
    match predictions[0].task.answer {
        AnswerKind::Caption => captions(predictions),
        AnswerKind::Box | AnswerKind::Objects => boxes(predictions),
        AnswerKind::Text | AnswerKind::Label | AnswerKind::Codes => {
            Results { answers: answers(predictions), references: None }
        }
    }
}

/// `[{"question_id", "answer"}]`, as VQA's server takes them.
fn answers(predictions: &[&Prediction]) -> Value {
    let answer = |one: &&Prediction| match one.answer.text() {
        Some(text) => json!({ "question_id": number(&one.id), "answer": text }),
        None => json!({ "question_id": number(&one.id), "answer": one.answer }),
    };
    predictions.iter().map(answer).collect()
}

/// `[{"image_id", "caption"}]`
fn captions(predictions: &[&Prediction]) -> Results {
    let caption = |one: &&Prediction| match &one.answer {
        Answer::Text { text, .. } => Some(json!({ "image_id": number(&one.id), "caption": text })),
        _ => None,
    };
    let mut annotations = Vec::new();
    for one in predictions {
        if let Reference::Texts(texts) = &one.reference {
            for text in texts {
                let annotation = json!({ "id": annotations.len() + 1, "image_id": number(&one.id), "caption": text });
                annotations.push(annotation);
            }
        }
    }
    let references =
        (!annotations.is_empty()).then(|| json!({ "images": images(predictions), "annotations": annotations }));
    Results { answers: predictions.iter().filter_map(caption).collect(), references }
}

/// `[{"image_id", "category_id", "bbox", "score"}]` with boxes as left, top, width, height in pixels.
fn boxes(predictions: &[&Prediction]) -> Results {
    let labels: BTreeSet<&str> = predictions
        .iter()
        .flat_map(|one| {
            found(one).into_iter().map(|(label, ..)| label).chain(expected(one).into_iter().map(|(label, _)| label))
        })
        .collect();
    // Categories count from 1.
    let category = |label: &str| labels.iter().position(|known| *known == label).map_or(0, |index| index + 1);
    let (mut answers, mut annotations) = (Vec::new(), Vec::new());
    for one in predictions {
        for (label, place, score) in found(one) {
            answers.push(json!({
                "image_id": number(&one.id),
                "category_id": category(label),
                "bbox": sides(place),
                "score": score,
            }));
        }
        for (label, place) in expected(one) {
            annotations.push(annotation(annotations.len() + 1, &one.id, category(label), place));
        }
    }
    let categories: Vec<Value> = labels.iter().map(|label| json!({ "id": category(label), "name": label })).collect();
    let references = json!({ "images": images(predictions), "annotations": annotations, "categories": categories });
    Results { answers: Value::Array(answers), references: Some(references) }
}

/// What the only box of an answer that finds one region is called.
const REGION: &str = "region";

/// The boxes of an answer: label, place, score. Objects of a list share its score.
fn found(one: &Prediction) -> Vec<(&str, [f64; 4], f64)> {
    match &one.answer {
        Answer::Boxes { boxes, .. } => {
            boxes.first().map(|best| (REGION, best.pixels, best.score)).into_iter().collect()
        }
        Answer::Objects { objects, score, .. } => {
            objects.iter().map(|object| (object.label.as_str(), object.pixels, *score)).collect()
        }
        _ => Vec::new(),
    }
}

/// The boxes of a reference.
fn expected(one: &Prediction) -> Vec<(&str, [f64; 4])> {
    let Some(image) = one.image else { return Vec::new() };
    let place = |region: &[f32; 4]| super::metrics::boxes::in_pixels(*region, image);
    match &one.reference {
        Reference::Region(region) => vec![(REGION, place(region))],
        Reference::Objects(objects) => objects.iter().map(|(region, label)| (label.as_str(), place(region))).collect(),
        _ => Vec::new(),
    }
}

fn annotation(id: usize, image: &str, category: usize, place: [f64; 4]) -> Value {
    let bbox = sides(place);
    json!({
        "id": id,
        "image_id": number(image),
        "category_id": category,
        "bbox": bbox,
        "area": bbox[2] * bbox[3],
        "iscrowd": 0,
    })
}

/// Questions stand for images, because several may be asked about one.
fn images(predictions: &[&Prediction]) -> Vec<Value> {
    let image = |one: &&Prediction| match one.image {
        Some((width, height)) => json!({ "id": number(&one.id), "width": width, "height": height }),
        None => json!({ "id": number(&one.id) }),
    };
    predictions.iter().map(image).collect()
}

/// Ids that are numbers are written as numbers, because the tools look them up so.
fn number(id: &str) -> Value {
    match id.parse::<u64>() {
        Ok(number) if number.to_string() == id => Value::from(number),
        _ => Value::from(id),
    }
}

/// Left, top, width, height.
fn sides([left, top, right, bottom]: [f64; 4]) -> [f64; 4] {
    [left, top, right - left, bottom - top]
}

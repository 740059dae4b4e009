//! Answers as the official tools of each task read them.
//!
//! Captions, boxes and detections also come with their references in COCO's form, so that METEOR, SPICE or average
//! precision can be computed with the original tools from two files.

use super::{Prediction, Reference};
use crate::task::{Answer, AnswerKind};
use serde_json::{Value, json};
use std::collections::BTreeMap;

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
        AnswerKind::Box => boxes(predictions),
        AnswerKind::Text | AnswerKind::Codes => Results { answers: answers(predictions), references: None },
    }
}

/// `[{"question_id", "answer"}]`, as VQA's server takes them.
fn answers(predictions: &[&Prediction]) -> Value {
    let answer = |one: &&Prediction| match &one.answer {
        Answer::Text { text, .. } => json!({ "question_id": number(&one.id), "answer": text }),
        other => json!({ "question_id": number(&one.id), "answer": other }),
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
    let (mut answers, mut annotations) = (Vec::new(), Vec::new());
    for one in predictions {
        if let Answer::Boxes { boxes, .. } = &one.answer
            && let Some(best) = boxes.first()
        {
            answers.push(json!({
                "image_id": number(&one.id),
                "category_id": REGION,
                "bbox": sides(best.pixels),
                "score": best.score,
            }));
        }
        if let (Reference::Region(region), Some(image)) = (&one.reference, one.image) {
            let place = super::metrics::boxes::in_pixels(*region, image);
            annotations.push(annotation(annotations.len() + 1, &one.id, REGION, place));
        }
    }
    let categories = json!([{ "id": REGION, "name": "region" }]);
    let references = json!({ "images": images(predictions), "annotations": annotations, "categories": categories });
    Results { answers: Value::Array(answers), references: Some(references) }
}

/// The only category of a task that finds one region.
const REGION: usize = 1;

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

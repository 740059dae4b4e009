//! The original's measures of boxes and texts.

use super::case::{Case, Differences};
use crate::error::{Error, Result};
use crate::train::metrics::cider::{DocumentFrequencies, cider_d};
use crate::train::metrics::{boxes, summary, words};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Absolute, on scores up to 10: sums in f64, in another order.
const SCORE_TOLERANCE: f64 = 1e-9;
/// Absolute: the original divides in f32.
const IOU_TOLERANCE: f32 = 1e-6;

/// Overlaps of pairs of boxes, and which count as the same place.
pub fn iou(bytes: &[u8]) -> Result<f32> {
    let (entry, shared) = (Value::Null, BTreeMap::new());
    let case = Case::at("iou.safetensors", "iou", bytes, &entry, &shared)?;
    let corners = |name: &str| -> Result<Vec<[f64; 4]>> {
        let values = case.floats(name)?;
        Ok(values.as_chunks::<4>().0.iter().map(|corners| corners.map(f64::from)).collect())
    };
    let pairs: Vec<_> = corners("hyps")?.into_iter().zip(corners("refs")?).collect();
    let overlaps: Vec<f32> = pairs.iter().map(|(found, expected)| boxes::iou(*found, *expected) as f32).collect();
    let same: Vec<f32> =
        pairs.iter().map(|(found, expected)| f32::from(u8::from(boxes::same_place(*found, *expected)))).collect();
    let mut differences = Differences::default();
    differences.compare("iou", [&overlaps, &case.floats("iou")?], 1, IOU_TOLERANCE, |_| true)?;
    differences.compare("acc", [&same, &case.floats("acc")?], 1, 0.0, |_| true)?;
    Ok(differences.largest)
}

#[derive(Deserialize)]
struct Golden {
    cider_d: CiderGolden,
    fix_tokenization: Vec<[String; 2]>,
}

/// Captions of images and their scores, as they are and with a word at their ends.
#[derive(Deserialize)]
struct CiderGolden {
    /// By the caption's number.
    gts: BTreeMap<String, Vec<String>>,
    hyps: Vec<String>,
    mean: f64,
    per_image: Vec<f64>,
    mean_with_eos: f64,
    per_image_with_eos: Vec<f64>,
}

/// CIDEr-D over a corpus, and the spelling of summaries.
pub fn texts(golden: &Value) -> Result<f32> {
    let golden: Golden = Golden::deserialize(golden).map_err(|error| Error::file("metrics.json", error))?;
    for [text, expected] in &golden.fix_tokenization {
        let found = summary::fix_tokenization(text);
        if found != *expected {
            return Err(Error::tensor(text, expected, found));
        }
    }
    let CiderGolden { gts, hyps, mean, per_image, mean_with_eos, per_image_with_eos } = golden.cider_d;
    let mut largest = 0.0f64;
    for (end, mean, per_image) in [("", mean, per_image), (" <eos>", mean_with_eos, per_image_with_eos)] {
        let ended = |text: &String| format!("{text}{end}");
        let references = |number: usize| -> Result<Vec<String>> {
            let texts = gts.get(&number.to_string());
            let texts =
                texts.ok_or_else(|| Error::file("metrics.json", format!("no references of caption {number}")))?;
            Ok(texts.iter().map(ended).collect())
        };
        let corpus: Vec<Vec<String>> = (0..hyps.len()).map(references).collect::<Result<_>>()?;
        let frequencies = DocumentFrequencies::of(corpus.iter().map(Vec::as_slice));
        let mut found: Vec<f64> = hyps
            .iter()
            .zip(&corpus)
            .map(|(caption, references)| cider_d(&ended(caption), references, &frequencies))
            .collect();
        found.push(words::mean(found.iter().copied()));
        let expected: Vec<f64> = per_image.into_iter().chain([mean]).collect();
        let difference = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        if found.len() != expected.len() || difference.is_nan() || difference > SCORE_TOLERANCE {
            return Err(Error::tensor("CIDEr-D", format!("{expected:?}"), format!("{found:?}")));
        }
        largest = largest.max(difference);
    }
    Ok(largest as f32)
}

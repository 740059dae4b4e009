//! What the trainer makes of rows: text noise with the original's recorded draws, pretraining samples, fine-tuning rows.

use super::data::{read, rows, same};
use crate::error::{Error, Result};
use crate::image::Pixels;
use crate::task::{Constraint, PromptType};
use crate::train::Reference;
use crate::train::data::{ImageData, Kind, Record};
use crate::train::noise::{Chance, WordStarts, span_shares};
use crate::train::objectives::{RowOptions, Rows, Writer};
use crate::vocab::Vocab;
use crate::vocab::boxes::{self, Ratio};
use serde_json::Value;

/// The original lists the shares of span lengths in single precision.
const SHARE_TOLERANCE: f64 = 1e-6;
/// The side of images whose boxes bins count without a factor.
const SIDE: u32 = 512;
/// The original's word starts are all below its `<mask>`.
const WORD_START_STATS: &str = "word_start_stats";

/// The cases of this file; `pretrain.json` and `templates.json` by their names.
pub fn run(name: &str, golden: &Value, vocab: &Vocab) -> Result<usize> {
    match name {
        "infilling" => infilling(golden, vocab),
        "pretraining" => samples(golden, vocab),
        _ => templates(golden, vocab),
    }
}

/// Draws as they were recorded. Whatever does not fit them shows as another text.
struct Recorded<'a> {
    draws: std::slice::Iter<'a, (String, Vec<usize>)>,
}

impl Recorded<'_> {
    fn next(&mut self, kind: &str) -> Vec<usize> {
        self.draws.next().filter(|(name, _)| name == kind).map(|(_, draws)| draws.clone()).unwrap_or_default()
    }
}

impl Chance for Recorded<'_> {
    fn spans(&mut self, count: usize) -> Vec<usize> {
        // Never fewer than asked for, or noise would ask for ever.
        let mut spans = self.next("span");
        spans.resize(count, 1);
        spans
    }

    fn permutation(&mut self, _count: usize) -> Vec<usize> {
        self.next("randperm")
    }
}

fn infilling(golden: &Value, vocab: &Vocab) -> Result<usize> {
    let starts = WordStarts::new(vocab);
    let traces = rows(&golden["infilling_trace"]);
    for trace in traces {
        let (input, output): (Vec<u32>, Vec<u32>) = (read(trace, "input")?, read(trace, "output")?);
        let draws: Vec<(String, Vec<usize>)> = read(trace, "draws")?;
        let mut recorded = Recorded { draws: draws.iter() };
        same("infilling_trace", starts.noised(&input, &mut recorded), output.clone())?;
        same("draws left over", recorded.draws.len(), 0)?;

        // The same text through the objective, which adds the instruction around it.
        let texts: Vec<String> = read(golden, "texts")?;
        let text = texts.get(read::<usize>(trace, "text_index")?).map(String::as_str).unwrap_or_default();
        let mut recorded = Recorded { draws: draws.iter() };
        let sample = Writer::new(vocab).text_infilling(text, &starts, &mut recorded)?;
        let around: Vec<u32> = read(golden, "infilling_prefix")?;
        let (before, after) = around.split_at(around.len().saturating_sub(2));
        let layout = vocab.layout();
        let noised = &output[1..output.len() - 1];
        same("source", sample.source, [&[layout.bos], before, noised, after, &[layout.eos]].concat())?;
        same("target", sample.target, input[1..input.len() - 1].to_vec())?;
    }
    let stats = rows(&golden["samples"]).iter().find(|sample| sample["type"] == WORD_START_STATS);
    if let Some(stats) = stats {
        same("word starts", starts.count(), read(stats, "n_true")?)?;
        let first: Vec<u8> = read(stats, "first_40")?;
        let found: Vec<u8> = (0..first.len() as u32).map(|id| u8::from(starts.begins(id))).collect();
        same("first word starts", found, first)?;
        let shares: Vec<f64> = read(stats, "span_probs")?;
        let found = span_shares();
        same("span lengths", found.len(), shares.len())?;
        for (found, expected) in found.iter().zip(shares) {
            if (found - expected).abs() > SHARE_TOLERANCE {
                return Err(Error::tensor("span_probs", expected, found));
            }
        }
    }
    Ok(traces.len())
}

/// The recorded samples do not say what rows they came from, so the texts are read out of them and written again.
fn samples(golden: &Value, vocab: &Vocab) -> Result<usize> {
    let writer = Writer::new(vocab);
    let mut compared = 0;
    for golden in rows(&golden["samples"]) {
        let kind: String = read(golden, "type")?;
        if kind == WORD_START_STATS {
            continue;
        }
        let text: String = read(golden, "source_text")?;
        let quoted: Vec<&str> = text.split(" \" ").collect();
        // What is written, without the tokens that are padding where they are not judged.
        let written: Vec<u32> = match golden["prev"].is_array() {
            true => read::<Vec<u32>>(golden, "prev")?.into_iter().skip(1).collect(),
            false if golden["target"].is_array() => {
                let mut target: Vec<u32> = read(golden, "target")?;
                target.pop();
                target
            }
            false => Vec::new(),
        };
        let answer = vocab.decode(&written).trim().to_owned();
        let conf: f32 = serde_json::from_value(golden["conf"].clone())
            .or_else(|_| serde_json::from_value(golden["conf"][0].clone()))
            .map_err(|error| Error::file("conf", error))?;
        let right = answer == "yes";
        let sample = match (kind.as_str(), quoted.as_slice()) {
            ("caption", [_]) => writer.caption(&answer, &read::<String>(golden, "dataset")?)?,
            ("caption", [_, caption, ..]) => writer.matching(caption.trim_end_matches(" \"?"), right)?,
            ("qa", [question]) => writer.question(question, &answer, conf)?,
            ("qa", [_, question, answer]) => {
                let question = question.trim_end_matches(" \". is");
                writer.answer_matching(question, answer.trim_end_matches(" \"?"), conf, right)?
            }
            ("visual_grounding", [_]) => {
                let source: Vec<u32> = read(golden, "source")?;
                writer.region_caption(&answer, corners(&source, vocab)?)?
            }
            ("visual_grounding", [_, phrase, ..]) => writer.grounding(phrase, corners(&written, vocab)?)?,
            ("detection", _) => writer.detection(&objects(&written, vocab)?)?,
            ("image_infilling", _) => {
                let head: Vec<u32> = read(golden, "target_head")?;
                let codes: Vec<usize> = head.iter().filter_map(|id| vocab.code_index(*id)).collect();
                let sample = writer.image_infilling(&codes)?;
                same(&text, (sample.codes, sample.target.clone()), (true, head))?;
                sample
            }
            _ => return Err(Error::file("pretrain.json", format!("cannot read a sample of {kind}: {text}"))),
        };
        let layout = vocab.layout();
        same(&text, sample.source.clone(), read(golden, "source")?)?;
        same(&text, sample.conf, conf)?;
        if golden["target"].is_array() {
            same(&text, sample.judged(layout.eos, layout.pad), read(golden, "target")?)?;
            if golden["prev"].is_array() {
                same(&text, sample.previous(layout.bos), read(golden, "prev")?)?;
            }
        }
        compared += 1;
    }
    Ok(compared)
}

/// The first box among some tokens, in pixels.
fn corners(ids: &[u32], vocab: &Vocab) -> Result<[f32; 4]> {
    let bins: Vec<usize> = ids.iter().filter_map(|id| vocab.bin_index(*id)).take(4).collect();
    let bins: [usize; 4] = bins.try_into().map_err(|bins| Error::file("pretrain.json", format!("no box: {bins:?}")))?;
    Ok(boxes::dequantise(bins, Ratio { x: 1.0, y: 1.0 }, vocab.layout().num_bins).map(|side| side as f32))
}

fn objects(ids: &[u32], vocab: &Vocab) -> Result<Vec<([f32; 4], String)>> {
    let mut objects = Vec::new();
    let mut rest = ids;
    while !rest.is_empty() {
        let corners = corners(rest, vocab)?;
        rest = rest.get(4..).unwrap_or_default();
        let label = rest.iter().position(|id| vocab.bin_index(*id).is_some()).unwrap_or(rest.len());
        objects.push((corners, vocab.decode(&rest[..label]).trim_start().to_owned()));
        rest = &rest[label..];
    }
    Ok(objects)
}

/// Fine-tuning rows, from their columns to the decoder's input and target.
fn templates(golden: &Value, vocab: &Vocab) -> Result<usize> {
    for golden in rows(golden) {
        let (task, record) = record(golden)?;
        let flag = |name: &str| golden[name].as_bool() == Some(true);
        let prompt_type: Option<PromptType> = serde_json::from_value(golden["prompt_type"].clone()).unwrap_or_default();
        let options = RowOptions {
            prompt_type,
            objects: flag("add_object"),
            caption: flag("add_caption"),
            ..RowOptions::default()
        };
        let reader = Rows::new(task, options)?;
        let what = golden.to_string();
        if golden["task"] == "caption_valid" {
            // The original joins an image's captions again after cleaning each; here they stay apart.
            let Reference::Texts(captions) = reader.question(&record)?.reference else {
                return Err(Error::file("templates.json", "captions are no texts"));
            };
            let mut found = vocab.encode(&format!(" {}", captions.join("&&")))?;
            found.push(vocab.layout().eos);
            same(&what, found, read(golden, "target")?)?;
            continue;
        }
        let sample = reader.sample(&record, vocab, SIDE, &mut fastrand::Rng::with_seed(0))?;
        same(&what, sample.source.clone(), read(golden, "source")?)?;
        let layout = vocab.layout();
        let (previous, target) = (sample.previous(layout.bos), sample.judged(layout.eos, layout.pad));
        if reader.task().image.is_none() && matches!(reader.task().constraint, Constraint::Labels(_)) {
            // Sentence tasks are scored at their first token; the original stops there, this crate also learns EOS.
            let mut expected: Vec<u32> = read(golden, "target")?;
            expected.push(layout.eos);
            same(&what, target, expected)?;
        } else {
            same(&what, target, read(golden, "target")?)?;
            same(&what, previous, read(golden, "prev_output_tokens")?)?;
        }
        if golden["conf"].is_array() {
            same(&what, sample.conf, read::<Vec<f32>>(golden, "conf")?.first().copied().unwrap_or_default())?;
        }
    }
    Ok(rows(golden).len())
}

/// A recorded row, whose columns stand in the order of `selected_cols`, as one of this crate's.
fn record(golden: &Value) -> Result<(&'static str, Record)> {
    let named: String = read(golden, "task")?;
    let kind = Kind::find(match named.as_str() {
        "caption_train" | "caption_valid" => "caption",
        "refcoco" => "grounding",
        "snli_ve" => "entailment",
        "image_classify" => "classify",
        "gigaword" => "summary",
        other => other,
    })?;
    let cells: Vec<String> = read(golden, "row")?;
    let (width, height) = serde_json::from_value(golden["image_wh"].clone()).unwrap_or((8, 8));
    let pixels = Pixels::from_rgb(width, height, vec![0; (width * height) as usize * 3])?;
    let mut record = Record { place: format!("templates.json: {named}"), fields: Vec::new(), image: None };
    for (name, cell) in kind.fields.iter().zip(cells) {
        match *name {
            "image" => record.image = Some(ImageData::Pixels(pixels.clone())),
            _ => record.fields.push(((*name).to_owned(), Value::String(cell))),
        }
    }
    Ok((kind.name, record))
}

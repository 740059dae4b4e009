//! What surrounds the model: token ids, cleaned text, prepared images, boxes. All exact, but for metrics.

use super::case::Case;
use super::{Outcome, metrics};
use crate::config::Size;
use crate::error::{Error, Result};
use crate::image::{Filter, Normalization, Pixels, decode, normalize, resize, resize_aspect, resize_bicubic};
use crate::vocab::boxes::{self, Ratio};
use crate::vocab::{Vocab, clean, tokenizer_json_from_fairseq};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// The words that goldens of cleaning keep where they do not say otherwise: more than any of them has.
const ALL_WORDS: usize = 1000;
const TARGET_WORDS: usize = 20;
/// Of a prepared image the goldens keep its corners and every so many pixels.
const CORNER: u32 = 8;
const NORMALISED_CORNER: u32 = 4;
const STRIDE: usize = 6;

/// The goldens of one directory `data`.
pub struct DataGoldens<'a> {
    /// Reads a file of the directory.
    pub file: &'a dyn Fn(&str) -> Result<Vec<u8>>,
    /// The original's BPE files, where they are at hand.
    pub bpe: Option<&'a Path>,
}

impl DataGoldens<'_> {
    pub const CASES: [&'static str; 10] = [
        "tokenization",
        "cleaning",
        "image_preprocess",
        "resize_aspect",
        "boxes",
        "iou",
        "metrics",
        "infilling",
        "pretraining",
        "templates",
    ];
    /// Those that compare ids of the original's vocabulary.
    const NEED_BPE: [&'static str; 4] = ["tokenization", "infilling", "pretraining", "templates"];

    pub fn run(&self, name: &str) -> Outcome {
        if Self::NEED_BPE.contains(&name) && self.bpe.is_none() {
            return Outcome::Skipped { reason: "the original's BPE files are not here (OFA_BPE)".into() };
        }
        let checked = match name {
            "tokenization" => self.tokenization(),
            "infilling" | "pretraining" => self.trained(name, "pretrain"),
            "templates" => self.trained(name, "templates"),
            "cleaning" => self.cleaning(),
            "image_preprocess" => self.images(),
            "resize_aspect" => self.aspects(),
            "iou" => return outcome((self.file)("iou.safetensors").and_then(|bytes| metrics::iou(&bytes))),
            "metrics" => return outcome(self.json("metrics").and_then(|golden| metrics::texts(&golden))),
            _ => self.boxes(),
        };
        match checked {
            Ok(0) => Outcome::Failed { reason: "nothing to compare".into() },
            Ok(_) => Outcome::Passed { difference: 0.0 },
            Err(error) => Outcome::Failed { reason: error.to_string() },
        }
    }

    fn json(&self, name: &str) -> Result<Value> {
        let name = format!("{name}.json");
        serde_json::from_slice(&(self.file)(&name)?).map_err(|error| Error::file(name, error))
    }

    fn trained(&self, name: &str, file: &str) -> Result<usize> {
        super::pretraining::run(name, &self.json(file)?, &self.vocab()?)
    }

    fn vocab(&self) -> Result<Vocab> {
        let bpe = self.bpe.ok_or_else(|| Error::option("bpe", "a directory", "none"))?;
        let config = Size::Tiny.config();
        let text = |name: &str| {
            let path = bpe.join(name);
            std::fs::read_to_string(&path).map_err(|error| Error::file(path.display(), error))
        };
        let (dict, encoder, merges) = (text("dict.txt")?, text("encoder.json")?, text("vocab.bpe")?);
        let json = tokenizer_json_from_fairseq(&dict, &encoder, &merges, config.num_codes, config.num_bins)?;
        Vocab::from_tokenizer_json(&json, &config)
    }

    fn tokenization(&self) -> Result<usize> {
        let vocab = self.vocab()?;
        let golden = self.json("tokenization")?;
        let (encode, decode) = (rows(&golden["encode"]), rows(&golden["decode"]));
        for row in encode {
            let words: String = read(row, "text")?;
            let ids: Vec<u32> = read(row, "ids")?;
            same(&words, vocab.encode(&words)?, ids.clone())?;
            same(&words, vocab.decode(&ids), read(row, "roundtrip")?)?;
        }
        for row in decode {
            let ids: Vec<u32> = read(row, "ids")?;
            same(&format!("{ids:?}"), vocab.decode(&ids), read(row, "text")?)?;
        }
        Ok(encode.len() + decode.len())
    }

    fn cleaning(&self) -> Result<usize> {
        let golden = self.json("tokenization")?;
        let (pre, target) = (rows(&golden["pre"]), rows(&golden["caption_target"]));
        for row in pre {
            let words: String = read(row, "text")?;
            same(&words, clean::pre_caption(&words, ALL_WORDS), read(row, "pre_caption")?)?;
            same(&words, clean::pre_caption(&words, 10), read(row, "pre_caption_10")?)?;
            same(&words, clean::pre_question(&words, ALL_WORDS), read(row, "pre_question")?)?;
            same(&words, clean::pre_question(&words, 10), read(row, "pre_question_10")?)?;
        }
        for row in target {
            let words: String = read(row, "text")?;
            let found = format!(" {}", clean::caption_target(&words, TARGET_WORDS));
            same(&words, found, read(row, "caption_target_20")?)?;
        }
        Ok(pre.len() + target.len())
    }

    fn images(&self) -> Result<usize> {
        let golden = self.json("image_preprocess")?;
        let bytes = (self.file)("image_preprocess.safetensors")?;
        let (entry, shared) = (Value::Null, BTreeMap::new());
        let tensors = Case::at("image_preprocess.safetensors", "image_preprocess", &bytes, &entry, &shared)?;
        for row in rows(&golden) {
            let key: String = read(row, "key")?;
            let [height, width]: [u32; 2] = read(row, "out")?;
            if let Some(source) = key.strip_prefix("lanczos_") {
                let number = source.trim_start_matches("img").split('_').next().unwrap_or_default();
                let image = decode(&(self.file)(&format!("img_{number}.png"))?)?;
                let resized = resize(&image, width, height, Filter::Lanczos)?;
                bytes_equal(&key, resized.rgb(), &tensors.get(&key)?.data)?;
                continue;
            }
            let image = decode(&(self.file)(&read::<String>(row, "file")?)?)?;
            same(&key, image.size(), (read(row, "w")?, read(row, "h")?))?;
            let resized = resize_bicubic(&image, width, height)?;
            let sum = |power: u32| resized.rgb().iter().map(|byte| u64::from(*byte).pow(power)).sum::<u64>();
            same(&key, [sum(1), sum(2)], [read(row, "u8_sum")?, read(row, "u8_sumsq")?])?;
            let first = pick(&resized, [0, 0], [CORNER, CORNER], 1);
            let last = pick(&resized, [width - CORNER, height - CORNER], [width, height], 1);
            bytes_equal(&key, &[first, last].concat(), &tensors.get(&format!("{key}.u8_corner"))?.data)?;
            let sparse = pick(&resized, [0, 0], [width, height], STRIDE);
            bytes_equal(&key, &sparse, &tensors.get(&format!("{key}.u8_stride"))?.data)?;
            for (name, normalization) in
                [("norm05_corner", Normalization::Half), ("norm_imagenet_corner", Normalization::ImageNet)]
            {
                let planes = normalize(&resized, normalization);
                let side = NORMALISED_CORNER as usize;
                let at = |channel: usize, row: usize, column: usize| {
                    planes[(channel * height as usize + row) * width as usize + column]
                };
                let corner: Vec<f32> =
                    (0..3 * side * side).map(|i| at(i / (side * side), i / side % side, i % side)).collect();
                same(&key, corner, tensors.floats(&format!("{key}.{name}"))?)?;
            }
        }
        Ok(rows(&golden).len())
    }

    fn aspects(&self) -> Result<usize> {
        let golden = self.json("resize_aspect")?;
        for row in rows(&golden) {
            let found = resize_aspect((read(row, "w")?, read(row, "h")?), read(row, "size")?, read(row, "max_size")?);
            same(&row.to_string(), found, read(row, "out_wh")?)?;
        }
        Ok(rows(&golden).len())
    }

    fn boxes(&self) -> Result<usize> {
        let golden = self.json("boxes")?;
        let num_bins = Size::Tiny.config().num_bins;
        for row in rows(&golden) {
            let at = row.to_string();
            let side: u32 = read(row, "patch_image_size")?;
            let ratio = Ratio::new((read(row, "w")?, read(row, "h")?), (side, side));
            same(&at, [ratio.x, ratio.y], [read(row, "w_ratio")?, read(row, "h_ratio")?])?;
            let bins = boxes::quantise(read(row, "box")?, ratio, num_bins);
            same(&at, bins, read(row, "bins")?)?;
            let expected: [f64; 4] = read(row, "dequantised")?;
            for (found, expected) in boxes::dequantise(bins, ratio, num_bins).into_iter().zip(expected) {
                if (found - expected).abs() > expected.abs() * f64::EPSILON {
                    return Err(Error::tensor(at, expected, found));
                }
            }
        }
        Ok(rows(&golden).len())
    }
}

fn outcome(difference: Result<f32>) -> Outcome {
    match difference {
        Ok(difference) => Outcome::Passed { difference },
        Err(error) => Outcome::Failed { reason: error.to_string() },
    }
}

pub(super) fn rows(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn read<T: DeserializeOwned>(row: &Value, key: &str) -> Result<T> {
    serde_json::from_value(row[key].clone()).map_err(|error| Error::file(format!("{key} of {row}"), error))
}

pub(super) fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::tensor(what, format!("{expected:?}"), format!("{found:?}")))
}

fn bytes_equal(what: &str, found: &[u8], expected: &[u8]) -> Result<()> {
    let different = found.iter().zip(expected).filter(|(a, b)| a != b).count();
    if found.len() == expected.len() && different == 0 {
        return Ok(());
    }
    let found = format!("{} bytes, {different} of them others", found.len());
    Err(Error::tensor(what, format!("the same {} bytes", expected.len()), found))
}

/// Every `step`-th pixel of a rectangle.
fn pick(pixels: &Pixels, [left, top]: [u32; 2], [right, bottom]: [u32; 2], step: usize) -> Vec<u8> {
    let at = move |x: u32, y: u32| &pixels.rgb()[(y * pixels.width() + x) as usize * 3..][..3];
    (top..bottom).step_by(step).flat_map(|y| (left..right).step_by(step).flat_map(move |x| at(x, y).to_vec())).collect()
}

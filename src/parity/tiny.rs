//! The real OFA-Tiny shape: seeded weights, slices of outputs.

use super::case::{Case, Differences, read};
use super::{Outcome, SCORE_TOLERANCE, generation};
use crate::config::{OfaConfig, Size};
use crate::error::{Error, Result};
use crate::generate::score_candidates;
use crate::image::{Normalization, Pixels, normalize};
use crate::kernels::tensor;
use crate::model::{OfaModel, Source, TokenBatch};
use crate::predict::ModelStep;
use crate::weights::{DeviceWeights, hf_name, read_shard};
use burn::tensor::Device;
use serde_json::Value;
use std::collections::BTreeMap;

/// Outputs of order 10 after four layers of width 256: the bar for every model. Found: 1.3e-5.
pub const TOLERANCE: f32 = 1e-4;
/// Log-sum-exp, mean and deviation over 59,457 logits gather more rounding than one logit.
const STATISTICS_TOLERANCE: f32 = 1e-3;
/// Every how many rows the goldens keep one of the encoder's output, and of the position embeddings.
const ENCODER_STEPS: [usize; 2] = [7, 19];
const POSITION_STEP: usize = 29;
/// Logits of so many positions exist at one time on the device: 15 MB.
const LOGIT_ROWS: usize = 64;
/// Every how many positions of a raster of codes the logits are kept.
const CODE_STEP: usize = 16;

/// The goldens of one directory `tiny`.
pub struct TinyGoldens<'a> {
    pub manifest: Value,
    /// The seeded weights, under the original's names.
    pub weights: &'a [u8],
    /// Reads a file of the directory.
    pub file: &'a dyn Fn(&str) -> Result<Vec<u8>>,
    /// Reads a picture of the directory.
    pub picture: &'a dyn Fn(&str) -> Result<Pixels>,
}

impl TinyGoldens<'_> {
    pub fn cases(&self) -> Vec<String> {
        self.manifest["cases"].as_object().map(|cases| cases.keys().cloned().collect()).unwrap_or_default()
    }

    pub async fn run(&self, name: &str, device: &Device) -> Outcome {
        match self.run_case(name, device).await {
            Ok(difference) => Outcome::Passed { difference },
            Err(error) => Outcome::Failed { reason: error.to_string() },
        }
    }

    fn config(&self, name: &str) -> Result<OfaConfig> {
        let number = |key: &str| self.manifest[key].as_u64().map(|value| value as usize);
        let arch = self.manifest["arch"].as_str().unwrap_or_default();
        let size = Size::from_name(arch.trim_start_matches("ofa_"))
            .ok_or_else(|| Error::config("arch", "ofa_tiny … ofa_huge", arch))?;
        let mut config = size.config();
        config.code_image_size = number("code_image_size").unwrap_or(config.code_image_size);
        config.orig_patch_image_size = number("orig_patch_image_size").unwrap_or(config.orig_patch_image_size);
        config.interpolate_position = name.ends_with("_interp");
        Ok(config)
    }

    fn model(&self, config: &OfaConfig, device: &Device) -> Result<OfaModel> {
        let mut weights = DeviceWeights::new(config, device.clone());
        for (name, tensor) in read_shard("seeded weights", self.weights)? {
            weights.insert(&hf_name(&name), &tensor)?;
        }
        weights.into_model(config)
    }

    async fn run_case(&self, name: &str, device: &Device) -> Result<f32> {
        let config = self.config(name)?;
        let model = self.model(&config, device)?;
        let entry = &self.manifest["cases"][name];
        let bytes = (self.file)(&format!("{name}.safetensors"))?;
        let shared = BTreeMap::new();
        let case = Case::new(name, &bytes, entry, &shared)?;
        match name {
            "codes" => codes(&model, &config, &case).await,
            "allcand" => self.candidates(&model, &config, &case).await,
            "gen_codes_top1_64" => {
                // The manifest names other inputs, but only the caption of the case `codes` gives these.
                let inputs = (self.file)("codes.safetensors")?;
                let inputs = Case::new("codes", &inputs, &self.manifest["cases"]["codes"], &shared)?;
                let source = Source::text(inputs.tokens("in.src_tokens")?);
                let mut args = entry["args"].clone();
                args["strategy"] = "SamplingTop1".into();
                generation::search(&model, &config, &case, &args, source, None).await
            }
            _ if name.starts_with("gen_") => {
                let inputs = (self.file)("size0.safetensors")?;
                let inputs = Case::new("size0", &inputs, &self.manifest["cases"]["size0"], &shared)?;
                let source = self.source(&model, &inputs)?;
                let constrained = !entry["args"]["constraint_trie"].is_null();
                let answers = constrained.then(|| self.answers()).transpose()?;
                generation::search(&model, &config, &case, &entry["args"], source, answers.as_deref()).await
            }
            _ => self.forward(&model, &config, &case).await,
        }
    }

    /// Tokens, and the pictures that the manifest's pattern names.
    fn source(&self, model: &OfaModel, case: &Case) -> Result<Source> {
        let tokens = case.tokens("in.src_tokens")?;
        let Some(pattern) = case.entry["image"].as_str() else {
            return Ok(Source::text(tokens));
        };
        let image = self.image(model, pattern, tokens.batch)?;
        Ok(Source::text(tokens).with_image(image))
    }

    fn image(&self, model: &OfaModel, pattern: &str, batch: usize) -> Result<crate::model::ImageFeatures> {
        let mut values = Vec::new();
        let mut size = (0, 0);
        for sample in 0..batch {
            let pixels = (self.picture)(&pattern.replace('*', &sample.to_string()))?;
            size = pixels.size();
            values.extend(normalize(&pixels, Normalization::Half));
        }
        let shape = [batch, 3, size.1 as usize, size.0 as usize];
        Ok(model.encode_image(tensor(values, shape, &model.device())))
    }

    async fn forward(&self, model: &OfaModel, config: &OfaConfig, case: &Case<'_>) -> Result<f32> {
        let mut differences = Differences::default();
        let encoded = model.encode(&self.source(model, case)?);
        let [batch, length, width] = encoded.hidden.dims();
        let hidden = read(encoded.hidden.clone()).await?;
        let positions = read(encoded.positions.clone().expand([batch, length, width])).await?;
        let (rows, padding) = (hidden.chunks(width), &encoded.padding);
        let statistics: Vec<(f32, f32)> = rows.map(mean_and_deviation).collect();
        let (means, deviations): (Vec<f32>, Vec<f32>) = statistics.into_iter().unzip();
        for (name, found) in [("out.enc_row_mean", &means), ("out.enc_row_std", &deviations)] {
            differences.compare(name, [found, &case.floats(name)?], 1, TOLERANCE, |row| !padding[row])?;
        }

        let [_, kept, _] = case.shape("out.enc_rows")?;
        let step = ENCODER_STEPS.into_iter().find(|step| length.div_ceil(*step) == kept);
        let step = step.ok_or_else(|| Error::tensor("out.enc_rows", "every 7th or 19th row", kept))?;
        let (found, origin) = every(&hidden, [batch, length, width], step);
        let expected = case.floats("out.enc_rows")?;
        let valid = |row: usize| !padding[origin[row]];
        differences.compare("out.enc_rows", [&found, &expected], width, TOLERANCE, valid)?;
        let (found, _) = every(&positions, [batch, length, width], POSITION_STEP);
        let expected = case.floats("out.pos_emb_rows")?;
        differences.compare("out.pos_emb_rows", [&found, &expected], width, TOLERANCE, |_| true)?;

        let tokens = case.tokens("in.prev_output_tokens")?;
        let mut cache = model.begin(&encoded, &[], tokens.len);
        let logits = model.logits(model.decode(&tokens, &mut cache));
        let [_, _, vocabulary] = logits.dims();
        let logits = read(logits).await?;
        let valid = |row: usize| tokens.ids[row] != config.pad_token_id;
        let columns = case.ints("in.vocab_slice")?;
        let sliced: Vec<f32> = pick(&logits, vocabulary, |_| columns.iter().map(|id| *id as usize).collect());
        let expected = case.floats("out.logits_slice")?;
        differences.compare("out.logits_slice", [&sliced, &expected], columns.len(), TOLERANCE, valid)?;
        let sums: Vec<f32> = logits.chunks(vocabulary).map(log_sum_exp).collect();
        let expected = case.floats("out.logits_lse")?;
        differences.compare("out.logits_lse", [&sums, &expected], 1, STATISTICS_TOLERANCE, valid)?;
        let top: Vec<i64> = case.ints("out.top10_ids")?;
        let width = top.len() / tokens.ids.len();
        let found = pick(&logits, vocabulary, |row| {
            top[row * width..(row + 1) * width].iter().map(|id| *id as usize).collect()
        });
        let expected = case.floats("out.top10_values")?;
        differences.compare("out.top10_values", [&found, &expected], width, TOLERANCE, valid)?;
        Ok(differences.largest)
    }

    /// The closed answers of the constrained cases.
    fn answers(&self) -> Result<Vec<Vec<u32>>> {
        self.manifest["answers"]
            .as_object()
            .into_iter()
            .flat_map(|answers| answers.values())
            .map(|ids| serde_json::from_value(ids.clone()).map_err(|error| Error::file("tiny/manifest.json", error)))
            .collect()
    }

    async fn candidates(&self, model: &OfaModel, config: &OfaConfig, case: &Case<'_>) -> Result<f32> {
        let tokens = case.tokens("in.src_tokens")?;
        let answers = self.answers()?;
        // The decoder's prompt is the source without its EOS.
        let prompt = tokens.row(0)[..tokens.len - 1].to_vec();
        let pattern = self.manifest["cases"]["size0"]["image"].as_str().unwrap_or_default();
        let image = self.image(model, pattern, 1)?;
        let encoded = model.encode(&Source::text(tokens).with_image(image));
        let mut step = ModelStep::new(model, config, &encoded, &Default::default(), prompt.len() + 16);
        let scores = score_candidates(&mut step, &prompt, &answers, config.eos_token_id, &mut async |_| Ok(())).await?;
        let mut differences = Differences::default();
        differences.compare("out.scores", [&scores, &case.floats("out.scores")?], 1, SCORE_TOLERANCE, |_| true)?;
        Ok(differences.largest)
    }
}

/// A raster of 1,024 codes in one pass.
async fn codes(model: &OfaModel, config: &OfaConfig, case: &Case<'_>) -> Result<f32> {
    let mut differences = Differences::default();
    let code0 = config.mask_token_id + 1;
    let codes = case.ints("in.codes")?;
    let ids: Vec<u32> =
        [config.bos_token_id].into_iter().chain(codes.iter().map(|code| *code as u32 + code0)).collect();
    let tokens = TokenBatch::new(1, ids.len(), ids);
    let encoded = model.encode(&Source::text(case.tokens("in.src_tokens")?));
    let mut cache = model.begin(&encoded, &[true], tokens.len);
    let hidden = model.decode(&tokens, &mut cache);
    let [_, length, width] = hidden.dims();
    let vocabulary = config.vocab_size;
    let mut logits = Vec::with_capacity(length * vocabulary);
    for start in (0..length).step_by(LOGIT_ROWS) {
        let rows = hidden.clone().slice([0..1, start..length.min(start + LOGIT_ROWS), 0..width]);
        logits.extend(read(model.logits(rows)).await?);
    }
    let of_codes = code0 as usize..code0 as usize + config.num_codes;
    let expected = case.ints("out.code_argmax")?;
    let offset = if expected.iter().any(|id| *id >= i64::from(code0)) { i64::from(code0) } else { 0 };
    for (at, (row, expected)) in logits.chunks(vocabulary).zip(&expected).enumerate() {
        let codes = &row[of_codes.clone()];
        let best = (0..codes.len()).max_by(|a, b| codes[*a].total_cmp(&codes[*b])).unwrap_or(0) as i64 + offset;
        if best != *expected {
            return Err(Error::tensor("out.code_argmax", format!("{expected} at {at}"), best));
        }
    }
    let sums: Vec<f32> = logits.chunks(vocabulary).map(log_sum_exp).collect();
    differences
        .compare("out.logits_lse", [&sums, &case.floats("out.logits_lse")?], 1, STATISTICS_TOLERANCE, |_| true)?;
    let columns = case.ints("in.vocab_slice")?;
    let (kept, _) = every(&logits, [1, length, vocabulary], CODE_STEP);
    let sliced = pick(&kept, vocabulary, |_| columns.iter().map(|id| *id as usize).collect());
    let expected = case.floats("out.logits_slice")?;
    differences.compare("out.logits_slice", [&sliced, &expected], columns.len(), TOLERANCE, |_| true)?;
    Ok(differences.largest)
}

/// Every `step`-th row of each sample, and where it stood.
fn every(values: &[f32], [batch, length, width]: [usize; 3], step: usize) -> (Vec<f32>, Vec<usize>) {
    let rows: Vec<usize> =
        (0..batch).flat_map(|sample| (0..length).step_by(step).map(move |row| sample * length + row)).collect();
    (rows.iter().flat_map(|row| &values[row * width..(row + 1) * width]).copied().collect(), rows)
}

fn pick(values: &[f32], width: usize, columns: impl Fn(usize) -> Vec<usize>) -> Vec<f32> {
    let rows = values.chunks(width).enumerate();
    rows.flat_map(|(row, values)| columns(row).into_iter().map(move |column| values[column])).collect()
}

fn mean_and_deviation(row: &[f32]) -> (f32, f32) {
    let count = row.len() as f64;
    let mean = row.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
    let variance = row.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>() / count;
    (mean as f32, variance.sqrt() as f32)
}

fn log_sum_exp(row: &[f32]) -> f32 {
    let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    (row.iter().map(|value| f64::from(value - greatest).exp()).sum::<f64>().ln() as f32) + greatest
}

//! The losses of one batch under all of the original's options.

use super::case::{Case, Differences};
use super::forward::source;
use crate::config::OfaConfig;
use crate::error::{Error, Result};
use crate::model::{EncoderOutput, OfaModel, TokenBatch};
use crate::train::loss::{
    Judged, Loss, LossOptions, TargetToken, at_tokens, cross_entropy, r_drop, self_critical, target_tokens,
};
use burn::tensor::Tensor;
use serde_json::Value;

/// Sums over a batch in another order than the original's; relative.
const TOLERANCE: f32 = 1e-4;
/// The constants with which the goldens of R-Drop were made (their note says so).
const R_DROP: LossOptions = LossOptions {
    label_smoothing: 0.1,
    sentence_avg: false,
    even_answers: 0.0,
    drop_worst_ratio: 0.0,
    drop_worst_after: 0,
    ignore_prefix_size: 0,
    ignore_eos: false,
    constraint_range: None,
    reg_alpha: 0.7,
    log_end: None,
};
const R_DROP_WORST: f64 = 0.25;

pub async fn run(model: &OfaModel, config: &OfaConfig, case: &Case<'_>) -> Result<f32> {
    let mut differences = Differences::default();
    let encoded = model.encode(&source(model, case)?);
    for (name, expected) in case.entry["loss_values"].as_object().into_iter().flatten() {
        if !expected["error"].is_null() {
            continue;
        }
        let found = cross_entropies(model, config, case, &encoded, name, expected).await?;
        let number = |key: &str| expected[key].as_f64().unwrap_or(f64::NAN) as f32;
        let pairs = [("loss", found.loss), ("nll_loss", found.nll)];
        for (key, value) in pairs {
            relative(&mut differences, &format!("{name}.{key}"), scalar(value).await?, number(key))?;
        }
        if expected["sample_size"].as_f64() != Some(found.sample_size) {
            return Err(Error::tensor(format!("{name}.sample_size"), &expected["sample_size"], found.sample_size));
        }
    }
    r_drops(&mut differences, case, model).await?;

    let tokens = case.tokens("in.prev_output_tokens")?;
    let target = case.tokens("in.target")?;
    let logits = logits(model, &encoded, &tokens);
    let found = self_critical(logits, &target, &case.floats("in.scst_reward")?, config.pad_token_id);
    let expected = case.floats("out.scst")?;
    relative(&mut differences, "out.scst", scalar(found.loss).await?, expected[0])?;
    Ok(differences.largest)
}

async fn cross_entropies(
    model: &OfaModel,
    config: &OfaConfig,
    case: &Case<'_>,
    encoded: &EncoderOutput,
    name: &str,
    expected: &Value,
) -> Result<Loss> {
    let mut args = expected["args"].clone();
    if let Some((start, end)) = args["constraint_range"].as_str().and_then(|range| range.split_once(',')) {
        let bound = |text: &str| text.parse::<u32>().map_err(|_| Error::option("constraint_range", "numbers", text));
        args["constraint_range"] = serde_json::json!([bound(start)?, bound(end)?]);
    }
    let options: LossOptions = serde_json::from_value(args).map_err(|error| Error::file("manifest.json", error))?;
    let masked = name.starts_with("constraint_masks");
    let (tokens, target) = match (masked, options.constraint_range) {
        (true, _) => ("in.vqa_prev", "in.vqa_target"),
        (false, Some(_)) => ("in.prev_output_tokens_range", "in.target_range"),
        (false, None) => ("in.prev_output_tokens", "in.target"),
    };
    let masks = masked.then(|| case.flags("in.vqa_constraint_masks")).transpose()?;
    let conf = (name == "conf").then(|| case.floats("in.conf")).transpose()?;
    let target = case.tokens(target)?;
    let judged_tokens = target_tokens(&target, config.pad_token_id);
    let masks = masks.map(|masks| {
        let rows: Vec<&[bool]> = masks.chunks(config.vocab_size).collect();
        let at = |token: &TargetToken| rows[token.sample * target.len + token.position];
        judged_tokens.iter().flat_map(at).copied().collect::<Vec<bool>>()
    });
    let judged = Judged {
        logits: at_tokens(logits(model, encoded, &case.tokens(tokens)?), &judged_tokens),
        tokens: &judged_tokens,
        samples: target.batch,
        conf: conf.as_deref(),
        constraint_masks: masks.as_deref(),
        update: expected["update_num"].as_u64().unwrap_or(0) as usize,
        eos: config.eos_token_id,
    };
    cross_entropy(judged, &options).await
}

async fn r_drops(differences: &mut Differences, case: &Case<'_>, model: &OfaModel) -> Result<()> {
    let device = model.device();
    let target: Vec<u32> = case.ints("in.rdrop_target")?.into_iter().map(|id| id as u32).collect();
    for (name, drop_worst_ratio) in [("out.rdrop", 0.0), ("out.rdrop_drop_worst", R_DROP_WORST)] {
        let passes = [case.tensor("in.rdrop_lprobs_a", &device)?, case.tensor("in.rdrop_lprobs_b", &device)?];
        let found = r_drop(passes, &target, &LossOptions { drop_worst_ratio, ..R_DROP }).await?;
        let expected = case.floats(name)?;
        relative(differences, name, scalar(found.loss).await?, expected[0])?;
        relative(differences, name, scalar(found.nll).await?, expected[1])?;
    }
    Ok(())
}

fn logits(model: &OfaModel, encoded: &EncoderOutput, tokens: &TokenBatch) -> Tensor<3> {
    let mut cache = model.begin(encoded, &[], tokens.len);
    model.logits(model.decode(tokens, &mut cache))
}

async fn scalar(value: Tensor<1>) -> Result<f32> {
    Ok(super::case::read(value).await?[0])
}

fn relative(differences: &mut Differences, name: &str, found: f32, expected: f32) -> Result<()> {
    let scale = expected.abs().max(1.0);
    differences.compare(name, [&[found / scale], &[expected / scale]], 1, TOLERANCE, |_| true)
}

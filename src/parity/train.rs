//! Gradients with frozen and with live batch norms, and three updates of the trainer.

use super::case::{Case, Differences, read};
use super::forward::source;
use crate::config::OfaConfig;
use crate::error::{Error, Result};
use crate::kernels::in_host_memory;
use crate::model::{OfaModel, Parameters};
use crate::train::loss::{Judged, LossOptions, at_tokens, cross_entropy, target_tokens};
use crate::train::{Alone, Batch, Gradient, ParameterMap, Schedule, Section, Trainer, UpdateOptions};
use burn::tensor::{Device, Tensor};
use serde_json::Value;
use std::collections::HashMap;

/// Gradients and weights, relative to the length of the vector they belong to: sums over all positions in another order.
const TOLERANCE: f32 = 1e-4;
/// The same on GPUs, where burn's kernels for the gradients of convolutions are less exact: 5.8e-3 off on the software
/// adapter.
const GPU_TOLERANCE: f32 = 1e-2;
/// Weights after the updates: Adam divides a gradient by its own size, what rounding left of a sum that cancels as well.
/// 4.9e-5 off with AVX2 and AVX-512, 1.9e-4 with NEON, whose gradients are as near as the others'.
const UPDATED_TOLERANCE: f32 = 3e-4;
/// The smallest length that differences are measured against: some gradients are zero but for rounding, such as those
/// of key biases, which softmax cancels.
const LEAST_NORM: f32 = 1e-3;
/// What the goldens were made with; their note says so.
const LABEL_SMOOTHING: f64 = 0.1;
const CLIP_NORM: f64 = 1.0;

/// Runs the case with weights that `weights` brings to a device, as often as they are asked for.
pub async fn run<W: Parameters>(
    config: &OfaConfig,
    manifest: &Value,
    case: &Case<'_>,
    device: &Device,
    weights: impl Fn(&Device) -> Result<W>,
) -> Result<f32> {
    let tolerance = if in_host_memory(device) { TOLERANCE } else { GPU_TOLERANCE };
    let device = device.clone().autodiff();
    let mut check = Check { differences: Differences::default(), tolerance };
    let names: Vec<&str> = names(manifest, "grad_names")?;
    for (mode, freeze_resnet) in [("eval", true), ("train", false)] {
        let config = OfaConfig { freeze_resnet, ..config.clone() };
        let (model, map) = ParameterMap::build(&config, &mut weights(&device)?)?;
        let (loss, gradient) = gradient(&model, &map, &config, case).await?;
        let expected = case.floats(&format!("out.loss_{mode}"))?;
        relative(&mut check, &format!("out.loss_{mode}"), &[loss], &expected)?;
        let found = by_name(&map, &gradient.values).await?;
        let lengths: Vec<f32> = names.iter().map(|name| length(&found[*name])).collect();
        let expected = case.floats(&format!("out.grad_norms_{mode}"))?;
        for (index, name) in names.iter().enumerate() {
            relative(
                &mut check,
                &format!("{mode} gradient of {name}"),
                &lengths[index..=index],
                &expected[index..=index],
            )?;
        }
        let prefix = format!("out.grad_{mode}.");
        for (key, tensor) in case.tensors_below(&prefix) {
            let name = &key[prefix.len()..];
            relative(&mut check, key, &found[name], &tensor.to_f32(key)?)?;
        }
        if !freeze_resnet {
            statistics(&mut check, &map, &model, case).await?;
        }
    }
    updates(&mut check, config, manifest, case, &mut weights(&device)?).await?;
    Ok(check.differences.largest)
}

/// The mean loss and its gradient.
async fn gradient(
    model: &OfaModel,
    map: &ParameterMap,
    config: &OfaConfig,
    case: &Case<'_>,
) -> Result<(f32, Gradient)> {
    let encoded = model.encode(&source(model, case)?);
    let previous = case.tokens("in.prev_output_tokens")?;
    let mut cache = model.begin(&encoded, &[], previous.len);
    let target = case.tokens("in.target")?;
    let tokens = target_tokens(&target, config.pad_token_id);
    let judged = Judged {
        logits: at_tokens(model.logits(model.decode(&previous, &mut cache)), &tokens),
        tokens: &tokens,
        samples: target.batch,
        conf: None,
        constraint_masks: None,
        update: 0,
        eos: config.eos_token_id,
    };
    let options = LossOptions { label_smoothing: LABEL_SMOOTHING, ..LossOptions::default() };
    let loss = cross_entropy(judged, &options).await?;
    let mean = loss.loss / loss.sample_size;
    let mut gradients = mean.backward();
    Ok((read(mean).await?[0], map.gradient(model, &mut gradients)))
}

async fn statistics(check: &mut Check, map: &ParameterMap, model: &OfaModel, case: &Case<'_>) -> Result<()> {
    let found = read(map.values(model, Section::Statistics)).await?;
    for (output, name) in [
        ("out.bn1_running_mean_after", "encoder.embed_images.bn1.running_mean"),
        ("out.bn1_running_var_after", "encoder.embed_images.bn1.running_var"),
    ] {
        let entry = map.entries(Section::Statistics).find(|entry| entry.name == name);
        let entry = entry.ok_or_else(|| Error::tensor(name, "to be in the model", "nothing"))?;
        relative(check, output, &found[entry.range.clone()], &case.floats(output)?)?;
    }
    Ok(())
}

/// As many updates as the golden has, made by the trainer itself.
async fn updates(
    check: &mut Check,
    config: &OfaConfig,
    manifest: &Value,
    case: &Case<'_>,
    weights: &mut dyn Parameters,
) -> Result<()> {
    let table = case.floats("out.steps_loss_gnorm_lr")?;
    let rows = table.as_chunks::<3>().0;
    let peak = rows.iter().map(|[_, _, lr]| f64::from(*lr)).fold(0.0, f64::max);
    let warmup = rows.first().map_or(0.0, |[_, _, lr]| (peak / f64::from(*lr)).round());
    let options = UpdateOptions {
        updates: u64::MAX,
        schedule: Schedule { lr: peak, end_lr: peak, warmup_updates: Some(warmup as u64), ..Schedule::default() },
        clip_norm: CLIP_NORM,
        loss: LossOptions { label_smoothing: LABEL_SMOOTHING, ..LossOptions::default() },
        ..UpdateOptions::default()
    };
    let mut trainer = Trainer::new(config.clone(), options, 0, weights)?;
    let [batch, _, height, width] = case.shape("in.patch_images")?;
    let (source, target) = (case.tokens("in.src_tokens")?, case.tokens("in.target")?);
    let previous = case.tokens("in.prev_output_tokens")?;
    let images = case.floats("in.patch_images")?;
    let (texts, images) = ([source, previous, target], (images, [height, width]));
    let batch = Batch::from_parts(texts, images, vec!["golden"; batch], config.pad_token_id);
    for (step, [loss, norm, lr]) in rows.iter().enumerate() {
        let done = trainer.update(&[vec![batch.clone()]], &Alone).await?;
        let found = [done.loss as f32, done.gradient_norm, done.lr as f32];
        for (what, found, expected) in
            [("loss", found[0], loss), ("gradient norm", found[1], norm), ("learning rate", found[2], lr)]
        {
            relative(check, &format!("step {}: {what}", step + 1), &[found], &[*expected])?;
        }
    }
    let found = by_name(trainer.map(), &trainer.values(Section::Parameters)).await?;
    let expected = case.floats("out.param_norms_after")?;
    check.tolerance = check.tolerance.max(UPDATED_TOLERANCE);
    for (name, expected) in names(manifest, "param_names")?.into_iter().zip(expected) {
        relative(check, &format!("{name} after the steps"), &[length(&found[name])], &[expected])?;
    }
    Ok(())
}

/// What has been compared so far, and how exactly.
struct Check {
    differences: Differences,
    tolerance: f32,
}

fn names<'a>(manifest: &'a Value, key: &str) -> Result<Vec<&'a str>> {
    let names = manifest[key].as_array().map(|names| names.iter().filter_map(Value::as_str).collect());
    names.ok_or_else(|| Error::file("manifest.json", format!("expected `{key}`, a list of names")))
}

async fn by_name(map: &ParameterMap, values: &Tensor<1>) -> Result<HashMap<String, Vec<f32>>> {
    let values = read(values.clone()).await?;
    let entries = map.entries(Section::Parameters);
    Ok(entries.map(|entry| (entry.name.clone(), values[entry.range.clone()].to_vec())).collect())
}

fn length(values: &[f32]) -> f32 {
    values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt() as f32
}

/// Compares vectors relative to the length of the expected one.
fn relative(check: &mut Check, name: &str, found: &[f32], expected: &[f32]) -> Result<()> {
    let scale = length(expected).max(LEAST_NORM);
    let scaled = |values: &[f32]| values.iter().map(|value| value / scale).collect::<Vec<f32>>();
    let Check { differences, tolerance } = check;
    differences.compare(name, [&scaled(found), &scaled(expected)], expected.len().max(1), *tolerance, |_| true)
}

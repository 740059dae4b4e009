//! BatchNorm folded into the convolution before it, which then has a bias. Inference computes the same with fewer
//! operations and half the tensors of the stem.

use super::raw::{RawTensor, Tensors};
use crate::config::Packing;
use crate::error::{Error, Result};
use std::collections::{HashMap, HashSet};

/// What the original's batch norms add to the variance.
pub const BATCH_NORM_EPS: f64 = 1e-5;

pub const STEM: &str = "encoder.embed_images.";
const STATISTICS: [&str; 4] = ["weight", "bias", "running_mean", "running_var"];

/// The batch norm that follows a convolution of the stem: `….bn2` for `….conv2`, `….downsample.1` for
/// `….downsample.0`.
pub fn batch_norm_of(convolution: &str) -> Option<String> {
    let inside = convolution.strip_prefix(STEM)?;
    let (parent, last) = inside.rsplit_once('.').map_or(("", inside), |(parent, last)| (parent, last));
    if last == "0" && parent.ends_with("downsample") {
        return Some(format!("{STEM}{parent}.1"));
    }
    let number = last.strip_prefix("conv")?;
    let separator = if parent.is_empty() { "" } else { "." };
    Some(format!("{STEM}{parent}{separator}bn{number}"))
}

/// The same tensors with every batch norm of the stem folded away, in f32: `X.weight` is scaled, `X.bias` is new.
/// The caller sets `batch_norm_folded` in the configuration.
///
/// # Errors
/// [`Error::Tensor`] when a convolution lacks its batch norm or a shape does not fit.
pub fn fold_batch_norm(tensors: Tensors<'static>) -> Result<Tensors<'static>> {
    let convolutions = convolutions(&tensors);
    let norms: HashSet<&str> = convolutions.values().map(String::as_str).collect();
    let (statistics, rest): (Vec<_>, Vec<_>) = tensors
        .into_iter()
        .partition(|(name, _)| name.rsplit_once('.').is_some_and(|(module, _)| norms.contains(module)));
    let statistics: HashMap<String, RawTensor<'static>> = statistics.into_iter().collect();

    let mut folded = Vec::with_capacity(rest.len());
    for (name, tensor) in rest {
        match convolutions.get(&name) {
            Some(norm) => folded.extend(Norm::of(norm, tensor.shape[0], &statistics)?.fold(&name, &tensor)?),
            None => folded.push((name, tensor)),
        }
    }
    Ok(folded)
}

/// The same tensors with convolutions whose folded weights and biases are what `change` makes of them: batch norms keep
/// all but their biases. Channels of which a batch norm leaves nothing stay as they are.
///
/// # Errors
/// Those of [`fold_batch_norm`] and of `change`.
pub fn change_folded(
    tensors: Tensors<'static>,
    change: impl Fn(&str, &RawTensor<'static>) -> Result<RawTensor<'static>>,
) -> Result<Tensors<'static>> {
    let convolutions = convolutions(&tensors);
    let mut all: HashMap<String, RawTensor<'static>> = tensors.iter().cloned().collect();
    for (name, norm_name) in &convolutions {
        let tensor = &all[name];
        let norm = Norm::of(norm_name, tensor.shape[0], &all)?;
        let folded = norm.fold(name, tensor)?;
        let [weight, bias] = folded.each_ref().map(|(name, tensor)| change(name, tensor)?.to_f32(name));
        let old = tensor.to_f32(name)?;
        let row = tensor.elements() / tensor.shape[0].max(1);
        let restored = weight?.into_iter().zip(old).enumerate().map(|(at, (value, old))| {
            let restored = (f64::from(value) / norm.factor[at / row]) as f32;
            if restored.is_finite() { restored } else { old }
        });
        let weight = RawTensor::from_f32(name, tensor.shape.clone(), &restored.collect::<Vec<_>>())?;
        let offset = bias?.into_iter().zip(&norm.shift).map(|(bias, shift)| (f64::from(bias) - shift) as f32);
        let norm_bias = format!("{norm_name}.bias");
        let bias = RawTensor::from_f32(&norm_bias, vec![norm.shift.len()], &offset.collect::<Vec<_>>())?;
        all.extend([(name.clone(), weight), (norm_bias, bias)]);
    }
    Ok(tensors.into_iter().filter_map(|(name, _)| all.remove_entry(&name)).collect())
}

/// The weights of the stem's convolutions, with the batch norm behind each.
fn convolutions(tensors: &Tensors<'_>) -> HashMap<String, String> {
    let weights = tensors.iter().filter(|(_, tensor)| tensor.shape.len() == 4).map(|(name, _)| name);
    weights.filter_map(|name| Some((name.clone(), batch_norm_of(name.strip_suffix(".weight")?)?))).collect()
}

/// What a batch norm does to the results of the convolution before it, a channel each.
struct Norm {
    factor: Vec<f64>,
    /// Added to its own bias.
    shift: Vec<f64>,
    bias: Vec<f32>,
}

impl Norm {
    fn of(name: &str, channels: usize, tensors: &HashMap<String, RawTensor<'static>>) -> Result<Self> {
        let column = |part: &str| {
            let part = format!("{name}.{part}");
            let values = tensors
                .get(&part)
                .ok_or_else(|| Error::tensor(&part, format!("a tensor [{channels}]"), "no such tensor"))?;
            if values.shape != [channels] {
                return Err(Error::tensor(part, format!("[{channels}]"), format!("{:?}", values.shape)));
            }
            values.to_f32(&part)
        };
        let [weight, bias, mean, variance] = STATISTICS.map(column);
        let (weight, bias, mean, variance) = (weight?, bias?, mean?, variance?);
        let factor: Vec<f64> = weight
            .iter()
            .zip(variance)
            .map(|(weight, variance)| f64::from(*weight) / (f64::from(variance) + BATCH_NORM_EPS).sqrt())
            .collect();
        let shift = mean.iter().zip(&factor).map(|(mean, factor)| -f64::from(*mean) * factor).collect();
        Ok(Self { factor, shift, bias })
    }

    /// `X.weight` and `X.bias` of a convolution with this folded in.
    fn fold(&self, name: &str, tensor: &RawTensor<'_>) -> Result<[(String, RawTensor<'static>); 2]> {
        let row = tensor.elements() / self.factor.len().max(1);
        let values = tensor.to_f32(name)?;
        let weight: Vec<f32> = values
            .chunks_exact(row.max(1))
            .zip(&self.factor)
            .flat_map(|(row, factor)| row.iter().map(move |value| (f64::from(*value) * factor) as f32))
            .collect();
        let bias: Vec<f32> =
            self.bias.iter().zip(&self.shift).map(|(bias, shift)| (f64::from(*bias) + shift) as f32).collect();
        if let Some(value) = weight.iter().chain(&bias).find(|value| !value.is_finite()) {
            return Err(Error::tensor(name, "finite values after its batch norm is folded in", value));
        }
        let bias_name = format!("{}.bias", Packing::module(name));
        let weight = RawTensor::from_f32(name, tensor.shape.clone(), &weight)?;
        let bias = RawTensor::from_f32(&bias_name, vec![self.shift.len()], &bias)?;
        Ok([(name.to_owned(), weight), (bias_name, bias)])
    }
}

//! BatchNorm folded into the convolution before it, which then has a bias. Inference computes the same with fewer
//! operations and half the tensors of the stem.

use super::raw::{RawTensor, Tensors};
use crate::error::{Error, Result};
use std::collections::HashMap;

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
    let convolutions: HashMap<String, String> = tensors
        .iter()
        .filter(|(_, tensor)| tensor.shape.len() == 4)
        .filter_map(|(name, _)| name.strip_suffix(".weight"))
        .filter_map(|module| Some((module.to_owned(), batch_norm_of(module)?)))
        .collect();
    let norms: std::collections::HashSet<&str> = convolutions.values().map(String::as_str).collect();
    let (statistics, rest): (Vec<_>, Vec<_>) = tensors
        .into_iter()
        .partition(|(name, _)| name.rsplit_once('.').is_some_and(|(module, _)| norms.contains(module)));
    let statistics: HashMap<String, RawTensor<'static>> = statistics.into_iter().collect();

    let mut folded = Vec::with_capacity(rest.len());
    for (name, tensor) in rest {
        let norm = name.strip_suffix(".weight").and_then(|module| Some((module.to_owned(), convolutions.get(module)?)));
        let Some((module, norm)) = norm else {
            folded.push((name, tensor));
            continue;
        };
        let channels = tensor.shape[0];
        let mut columns = Vec::with_capacity(STATISTICS.len());
        for part in STATISTICS {
            let part = format!("{norm}.{part}");
            let values = statistics
                .get(&part)
                .ok_or_else(|| Error::tensor(&part, format!("a tensor [{channels}]"), "no such tensor"))?;
            if values.shape != [channels] {
                return Err(Error::tensor(part, format!("[{channels}]"), format!("{:?}", values.shape)));
            }
            columns.push(values.to_f32(&part)?);
        }
        let factor: Vec<f64> = (0..channels)
            .map(|channel| f64::from(columns[0][channel]) / (f64::from(columns[3][channel]) + BATCH_NORM_EPS).sqrt())
            .collect();
        let bias: Vec<f32> = (0..channels)
            .map(|channel| (f64::from(columns[1][channel]) - f64::from(columns[2][channel]) * factor[channel]) as f32)
            .collect();
        let row = tensor.elements() / channels.max(1);
        let values = tensor.to_f32(&name)?;
        let weight: Vec<f32> = values
            .chunks_exact(row.max(1))
            .zip(&factor)
            .flat_map(|(row, factor)| row.iter().map(move |value| (f64::from(*value) * factor) as f32))
            .collect();
        if let Some(value) = weight.iter().chain(&bias).find(|value| !value.is_finite()) {
            return Err(Error::tensor(&name, "finite values after its batch norm is folded in", value));
        }
        let weight = RawTensor::from_f32(&name, tensor.shape, &weight)?;
        folded.push((name, weight));
        let name = format!("{module}.bias");
        let bias = RawTensor::from_f32(&name, vec![channels], &bias)?;
        folded.push((name, bias));
    }
    Ok(folded)
}

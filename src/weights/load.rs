//! A bundle's directory → a model on a device.

use super::bundle::{BundleFiles, read_files, read_tensors};
use super::upload::DeviceWeights;
use crate::error::Result;
use crate::model::OfaModel;
use burn::tensor::Device;
use std::path::Path;

/// Reads shard by shard and uploads each tensor, so that the host holds one shard at a time.
///
/// # Errors
/// Those of [`read_files`], [`read_tensors`] and [`DeviceWeights::into_model`].
pub fn load_model(directory: &Path, device: &Device) -> Result<(BundleFiles, OfaModel)> {
    let (manifest, files) = read_files(directory)?;
    let mut weights = DeviceWeights::new(&files.config, device.clone());
    read_tensors(directory, &manifest, |name, tensor| weights.insert(&name, &tensor))?;
    let model = weights.into_model(&files.config)?;
    Ok((files, model))
}

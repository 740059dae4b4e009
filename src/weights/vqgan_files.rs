//! The model of image codes on disk: the original's checkpoints, and the folder of a bundle.

use super::bundle::{SHARD_LIMIT, read_manifest, read_tensors, read_text, write_directory};
use super::checkpoint::check_start;
use super::manifest::{CONFIG, Manifest, Precision, TOKENIZER};
use super::raw::{RawTensor, Tensors};
use super::shard::read_shard;
use super::torch::TorchFile;
use super::upload::DeviceWeights;
use super::vqgan::{training_only, vqgan_tensors};
use crate::config::VqganConfig;
use crate::error::{Error, Result};
use crate::model::Vqgan;
use burn::tensor::Device;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// The folder of a bundle that holds the model of image codes. It has a manifest of its own, so that who does not
/// need it does not fetch it.
pub const VQGAN: &str = "vqgan";

/// Reads an original checkpoint, `last.ckpt` or another file of `torch.save` with a `state_dict`, or a `.safetensors`
/// file, under the bundle's names.
///
/// # Errors
/// [`Error::File`] or [`Error::Tensor`] for what is missing or malformed.
pub fn read_vqgan_checkpoint(path: &Path) -> Result<Tensors<'static>> {
    check_start(path)?;
    let name = path.display().to_string();
    let failed = |error: std::io::Error| Error::file(&name, error);
    if path.extension().is_some_and(|extension| extension == "safetensors") {
        let bytes = std::fs::read(path).map_err(failed)?;
        let tensors = read_shard(&name, &bytes)?.into_iter().map(|(name, tensor)| (name, tensor.into_owned()));
        return Ok(vqgan_tensors(tensors.collect()));
    }
    let mut file = TorchFile::open(&name, BufReader::new(File::open(path).map_err(failed)?))?;
    let pickle = file.pickle();
    let weights = pickle.get(pickle.root(), "state_dict").unwrap_or(pickle.root());
    let entries = pickle
        .entries(weights)
        .ok_or_else(|| Error::file(&name, "expected a dict of tensors, or one under the key \"state_dict\""))?;
    let entries = entries.into_iter().filter(|(name, _)| !training_only(name));
    let entries: Vec<_> = entries.map(|(name, id)| (name.to_owned(), id)).collect();
    let mut tensors = Vec::with_capacity(entries.len());
    for (name, id) in entries {
        let tensor = file.tensor(&name, id)?;
        tensors.push((name, tensor));
    }
    Ok(vqgan_tensors(tensors))
}

/// Writes the folder: `config.json`, shards, `manifest.json`, complete or not at all. `tensors` come in the order in
/// which the model runs.
///
/// # Errors
/// Those of [`super::write_bundle`].
pub fn write_vqgan(
    out: &Path,
    config: &VqganConfig,
    precision: Precision,
    tensors: impl IntoIterator<Item = Result<(String, RawTensor<'static>)>>,
) -> Result<Manifest> {
    let config = serde_json::to_string_pretty(config).map_err(|error| Error::file(CONFIG, error))?;
    write_directory(out, &[(CONFIG, config)], (precision, None), tensors, SHARD_LIMIT, |_| Ok(()))
}

/// The folder with the model of image codes: a bundle's, or `directory` itself.
fn folder(directory: &Path) -> PathBuf {
    let inside = directory.join(VQGAN);
    if inside.is_dir() { inside } else { directory.to_owned() }
}

/// The configuration and the tensors, as stored.
///
/// # Errors
/// [`Error::File`], [`Error::Config`] or [`Error::Tensor`] for what is missing or malformed.
pub fn read_vqgan(directory: &Path) -> Result<(VqganConfig, Tensors<'static>)> {
    let directory = folder(directory);
    if directory.join(TOKENIZER).is_file() {
        let reason = "a bundle without the folder vqgan, so without image codes; `ofa codes convert` writes one";
        return Err(Error::file(directory.display(), reason));
    }
    let manifest = read_manifest(&directory)?;
    let config = VqganConfig::from_json(&read_text(&directory, CONFIG)?)?;
    let mut tensors = Vec::new();
    read_tensors(&directory, &manifest, |name, tensor| {
        tensors.push((name, tensor.into_owned()));
        Ok(())
    })?;
    Ok((config, tensors))
}

/// The model of image codes of a bundle, or in `directory` itself, on a device.
///
/// # Errors
/// Those of [`read_vqgan`] and [`DeviceWeights::into_vqgan`].
pub fn load_vqgan(directory: &Path, device: &Device) -> Result<(VqganConfig, Vqgan)> {
    let (config, tensors) = read_vqgan(directory)?;
    let mut weights = DeviceWeights::plain(device.clone());
    for (name, tensor) in &tensors {
        weights.insert(name, tensor)?;
    }
    let model = weights.into_vqgan(&config)?;
    Ok((config, model))
}

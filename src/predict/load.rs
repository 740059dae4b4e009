//! From a bundle on disk to a predictor.

use super::{ImageCodes, Predictor};
use crate::config::GenerationConfig;
use crate::error::Result;
use crate::model::OfaModel;
use crate::vocab::Vocab;
use crate::weights::{BundleFiles, load_model, load_vqgan};
#[cfg(feature = "train")]
use crate::weights::{SeenByName, load_watched};
use burn::tensor::Device;
use std::path::Path;

impl Predictor {
    /// Loads the bundle in `directory`, one shard in memory at a time.
    ///
    /// # Errors
    /// Those of the bundle's files, and of tensors that are missing, unused or of another shape.
    pub fn load(directory: &Path, device: &Device) -> Result<Self> {
        let (files, model) = load_model(directory, device)?;
        Self::of(files, model)
    }

    /// Loads a bundle of plain weights on the CPU, and what its matrices will be multiplied with, by their names. Watched are
    /// those that are packed in groups of `group_size`.
    ///
    /// # Errors
    /// Those of [`Self::load`], and [`Error::Tensor`](crate::error::Error::Tensor) for weights that are packed already.
    #[cfg(feature = "train")]
    pub fn load_watched(directory: &Path, group_size: usize) -> Result<(Self, SeenByName)> {
        let (files, model, seen) = load_watched(directory, group_size)?;
        Ok((Self::of(files, model)?, seen))
    }

    fn of(files: BundleFiles, model: OfaModel) -> Result<Self> {
        let vocab = Vocab::from_tokenizer_json(&files.tokenizer_json, &files.config)?;
        let generation = GenerationConfig::from_json(&files.generation_config)?;
        Self::new(files.config, generation, vocab, model)
    }
}

impl ImageCodes {
    /// Loads the image codes of the bundle in `directory`, or of the folder `vqgan` of one.
    ///
    /// # Errors
    /// Those of the folder's files, and of tensors that are missing, unused or of another shape.
    pub fn load(directory: &Path, device: &Device) -> Result<Self> {
        let (config, model) = load_vqgan(directory, device)?;
        Ok(Self::new(config, model))
    }
}

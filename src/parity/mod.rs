//! Runs golden cases of the original implementation: the same source natively and in a browser.
//!
//! A directory of goldens holds `config.json`, `manifest.json`, `model.safetensors`, `shared_inputs.safetensors` and
//! `cases/NAME.safetensors` of one small model. Everything here takes bytes; who calls fetches them.

mod case;
#[cfg(feature = "cli")]
mod data;
#[cfg(feature = "cli")]
mod directory;
mod forward;
mod generation;
#[cfg_attr(not(feature = "train"), path = "no_loss.rs")]
mod loss;
#[cfg(feature = "cli")]
#[cfg_attr(not(feature = "train"), path = "no_metrics.rs")]
mod metrics;
#[cfg(feature = "cli")]
#[cfg_attr(not(feature = "train"), path = "no_pretraining.rs")]
mod pretraining;
mod tables;
#[cfg(feature = "cli")]
mod tiny;
#[cfg(feature = "train")]
mod train;
mod vqgan;

use crate::config::OfaConfig;
use crate::error::{Error, Result};
use crate::model::parameter_shapes;
use crate::weights::{DeviceWeights, RawTensor, read_shard};
use burn::tensor::Device;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

pub use case::{Case, Differences};
#[cfg(feature = "cli")]
pub use directory::{Inputs, run_directory};
pub use vqgan::VqganGoldens;

/// Encoder output, positions and logits, absolute. The original's own ports differ by up to 4e-6; other kernels sum
/// in other orders, and GPUs approximate erf and exp.
pub const FORWARD_TOLERANCE: f32 = 1e-4;
/// Scores of hypotheses, absolute: sums of log-probabilities of up to twenty tokens.
pub const SCORE_TOLERANCE: f32 = 1e-4;
/// Images that the codes' decoder draws, absolute; values of order 1 after as many layers.
pub const IMAGE_TOLERANCE: f32 = 1e-4;
/// Interpolated position embeddings, absolute: one weighted mean of four values of order 1.
pub const INTERPOLATION_TOLERANCE: f32 = 1e-5;

/// How a case ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    /// With the largest difference from the golden.
    Passed {
        difference: f32,
    },
    Failed {
        reason: String,
    },
    Skipped {
        reason: String,
    },
}

/// One model's goldens.
pub struct Goldens {
    config: Value,
    manifest: Value,
    weights: Vec<(String, RawTensor<'static>)>,
    shared: BTreeMap<String, RawTensor<'static>>,
}

impl Goldens {
    /// # Errors
    /// [`Error::File`] when one of the files is not what its name says.
    pub fn new(config: &str, manifest: &str, weights: &[u8], shared: &[u8]) -> Result<Self> {
        let json = |name: &str, text: &str| serde_json::from_str(text).map_err(|error| Error::file(name, error));
        let owned = |name: &str, bytes: &[u8]| -> Result<Vec<(String, RawTensor<'static>)>> {
            Ok(read_shard(name, bytes)?.into_iter().map(|(name, tensor)| (name, tensor.into_owned())).collect())
        };
        Ok(Self {
            config: json("config.json", config)?,
            manifest: json("manifest.json", manifest)?,
            weights: owned("model.safetensors", weights)?,
            shared: owned("shared_inputs.safetensors", shared)?.into_iter().collect(),
        })
    }

    /// The names of all cases, in the manifest's order.
    pub fn cases(&self) -> Vec<String> {
        self.manifest["cases"].as_object().map(|cases| cases.keys().cloned().collect()).unwrap_or_default()
    }

    /// Runs one case on `device`; `bytes` is its safetensors file.
    pub async fn run(&self, name: &str, bytes: &[u8], device: &Device) -> Outcome {
        if let Some(reason) = Self::skip_reason(name) {
            return Outcome::Skipped { reason };
        }
        match self.run_case(name, bytes, device).await {
            Ok(difference) => Outcome::Passed { difference },
            Err(error) => Outcome::Failed { reason: error.to_string() },
        }
    }

    fn skip_reason(name: &str) -> Option<String> {
        let training = matches!(name, "loss" | "train");
        (training && !cfg!(feature = "train")).then(|| "training is not part of this build".to_string())
    }

    async fn run_case(&self, name: &str, bytes: &[u8], device: &Device) -> Result<f32> {
        let entry = &self.manifest["cases"][name];
        if entry.is_null() {
            return Err(Error::file("manifest.json", format!("no case `{name}`")));
        }
        let case = Case::new(name, bytes, entry, &self.shared)?;
        if name == "tables" {
            return tables::run(&case, &self.config(&case)?, device).await;
        }
        let config = self.config(&case)?;
        #[cfg(feature = "train")]
        if name == "train" {
            let weights = |device: &Device| self.weights(&config, &case, device);
            return train::run(&config, &self.manifest, &case, device, weights).await;
        }
        let model = self.weights(&config, &case, device)?.into_model(&config)?;
        match name {
            "loss" => loss::run(&model, &config, &case).await,
            "incremental" => forward::incremental(&model, &config, &case).await,
            _ if name.starts_with("allcand_") => generation::candidates(&model, &config, &case).await,
            _ if name.starts_with("gen_") => generation::run(&model, &config, &case, &entry["args"]).await,
            _ => forward::run(&model, &config, &case).await,
        }
    }

    /// The model's configuration with the case's flags, which carry the original's names.
    fn config(&self, case: &Case) -> Result<OfaConfig> {
        let mut config = self.config.clone();
        for (flag, value) in case.entry["flags"].as_object().into_iter().flatten() {
            match flag.as_str() {
                "no_scale_embedding" => config["scale_embedding"] = Value::Bool(value == false),
                _ => config[flag.as_str()] = value.clone(),
            }
        }
        if case.name.starts_with("interp_") {
            config["interpolate_position"] = Value::Bool(true);
        }
        OfaConfig::from_json(&config.to_string())
    }

    /// The weights of one case: a case's own `w.*` tensors replace or join the shared ones, and what its flags switch
    /// off is left out.
    fn weights(&self, config: &OfaConfig, case: &Case, device: &Device) -> Result<DeviceWeights> {
        let own = case.weights();
        let mut weights = DeviceWeights::new(config, device.clone());
        for (name, shape) in parameter_shapes(config, device)? {
            let found = own.get(name.as_str()).copied();
            let found = found.or_else(|| self.weights.iter().find(|(key, _)| *key == name).map(|(_, tensor)| tensor));
            let tensor = found.ok_or_else(|| Error::tensor(&name, format!("{shape:?}"), "nothing of this name"))?;
            weights.insert(&name, tensor)?;
        }
        Ok(weights)
    }
}

//! Every golden below a directory of the original's layout, or of one of its parts.

use super::data::DataGoldens;
use super::tiny::TinyGoldens;
use super::{Goldens, Outcome, VqganGoldens};
use crate::error::{Error, Result};
use crate::weights::{Tensors, detect, read_shard, read_torch_bytes, to_bundle_names};
use burn::tensor::Device;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where a run's inputs lie.
pub struct Inputs<'a> {
    pub directory: &'a Path,
    /// Seeded weights of the real shape, where they could be made.
    pub tiny_weights: Option<&'a Path>,
    /// The original's BPE files, which may not be copied.
    pub bpe: Option<&'a Path>,
    /// Only cases whose name contains this.
    pub only: &'a str,
}

/// Runs every case and reports each by its name as it ends.
///
/// # Errors
/// When the directory holds no goldens, or a file that all cases need cannot be read. Whatever concerns one case is
/// that case's outcome.
pub async fn run_directory(inputs: &Inputs<'_>, device: &Device, mut report: impl FnMut(&str, &Outcome)) -> Result<()> {
    let directory = inputs.directory;
    let wanted = |name: &str| name.contains(inputs.only);
    let mut found = false;
    if let Some(micro) = part(directory, "micro", "shared_inputs.safetensors") {
        found = true;
        let goldens = Goldens::new(
            &text(&micro.join("config.json"))?,
            &text(&micro.join("manifest.json"))?,
            &read(&micro.join("model.safetensors"))?,
            &read(&micro.join("shared_inputs.safetensors"))?,
        )?;
        for case in goldens.cases() {
            let name = format!("micro/{case}");
            if wanted(&name) {
                let outcome = match read(&micro.join("cases").join(format!("{case}.safetensors"))) {
                    Ok(bytes) => goldens.run(&case, &bytes, device).await,
                    Err(error) => Outcome::Failed { reason: error.to_string() },
                };
                report(&name, &outcome);
            }
        }
    }
    if let Some(tiny) = part(directory, "tiny", "size0.safetensors") {
        found = true;
        let manifest = serde_json::from_str(&text(&tiny.join("manifest.json"))?)
            .map_err(|error| Error::file(tiny.join("manifest.json").display(), error))?;
        let weights = inputs.tiny_weights.map(read).transpose()?;
        let goldens = TinyGoldens {
            manifest,
            weights: weights.as_deref().unwrap_or_default(),
            file: &|name| read(&tiny.join(name)),
            picture: &|name| crate::image::decode(&read(&tiny.join(name))?),
        };
        for case in goldens.cases() {
            let name = format!("tiny/{case}");
            if wanted(&name) {
                let outcome = match weights {
                    Some(_) => goldens.run(&case, device).await,
                    None => {
                        Outcome::Skipped { reason: "the seeded weights could not be made (seed_weights.py)".into() }
                    }
                };
                report(&name, &outcome);
            }
        }
    }
    if let Some(data) = part(directory, "data", "tokenization.json") {
        found = true;
        let goldens = DataGoldens { file: &|name| read(&data.join(name)), bpe: inputs.bpe };
        for case in DataGoldens::CASES {
            let name = format!("data/{case}");
            if wanted(&name) {
                report(&name, &goldens.run(case));
            }
        }
    }
    if let Some(vqgan) = part(directory, "vqgan", "cases.safetensors") {
        found = true;
        let goldens = VqganGoldens {
            config: &text(&vqgan.join("config.json"))?,
            weights: &read(&vqgan.join("model.safetensors"))?,
            cases: &read(&vqgan.join("cases.safetensors"))?,
        };
        for case in VqganGoldens::CASES {
            let name = format!("vqgan/{case}");
            if wanted(&name) {
                report(&name, &goldens.run(case, device).await);
            }
        }
    }
    let fairseq = part(directory, "micro-fairseq", "checkpoint_slim.pt");
    if let (Some(fairseq), Some(micro)) = (fairseq, part(directory, "micro", "shared_inputs.safetensors")) {
        for file in ["checkpoint_slim.pt", "pytorch_model.bin"] {
            let name = format!("micro-fairseq/{file}");
            if wanted(&name) {
                report(&name, &checkpoint_equals(&fairseq.join(file), &micro.join("model.safetensors")));
            }
        }
    }
    if found {
        Ok(())
    } else {
        Err(Error::file(directory.display(), "holds no goldens (micro/, tiny/, data/, vqgan/)"))
    }
}

/// A checkpoint must hold the same weights, bit for bit, under whichever names.
fn checkpoint_equals(checkpoint: &Path, weights: &Path) -> Outcome {
    let compare = || {
        let (bytes, found) = (read(weights)?, read_checkpoint_file(checkpoint)?);
        let expected: BTreeMap<_, _> = read_shard(&weights.display().to_string(), &bytes)?.into_iter().collect();
        for (name, tensor) in &found {
            let Some(other) = expected.get(name) else {
                return Err(Error::tensor(name, "a tensor of the golden model", "one it does not have"));
            };
            if other.to_f32(name)? != tensor.to_f32(name)? || other.shape != tensor.shape {
                return Err(Error::tensor(name, "the golden's values", "others"));
            }
        }
        Ok(())
    };
    match compare() {
        Ok(()) => Outcome::Passed { difference: 0.0 },
        Err(error) => Outcome::Failed { reason: error.to_string() },
    }
}

fn read_checkpoint_file(path: &Path) -> Result<Tensors<'static>> {
    let tensors = read_torch_bytes(&path.display().to_string(), &read(path)?, false)?;
    let layout = detect(tensors.iter().map(|(name, _)| name.as_str()))
        .ok_or_else(|| Error::file(path.display(), "names of neither layout"))?;
    let kept = tensors.into_iter().filter(|(_, tensor)| tensor.dtype.is_float()).collect();
    Ok(to_bundle_names(layout, kept)?.0)
}

/// `directory/name`, or `directory` itself, whichever holds `file`.
fn part(directory: &Path, name: &str, file: &str) -> Option<PathBuf> {
    [directory.join(name), directory.to_path_buf()].into_iter().find(|part| part.join(file).is_file())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| Error::file(path.display(), error))
}

fn text(path: &Path) -> Result<String> {
    String::from_utf8(read(path)?).map_err(|error| Error::file(path.display(), error))
}

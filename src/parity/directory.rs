//! Every golden below a directory of the original's layout, or of one of its parts.

use super::tiny::TinyGoldens;
use super::{Goldens, Outcome};
use crate::error::{Error, Result};
use burn::tensor::Device;
use std::path::{Path, PathBuf};

/// Where a run's inputs lie.
pub struct Inputs<'a> {
    pub directory: &'a Path,
    /// Seeded weights of the real shape, where they could be made.
    pub tiny_weights: Option<&'a Path>,
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
    if found { Ok(()) } else { Err(Error::file(directory.display(), "holds no goldens (micro/, tiny/)")) }
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

//! Checking a bundle on disk: every hash, every size, every key and shape.

use super::assemble::Assembler;
use super::bundle::{read_files, read_manifest, read_text, sha256};
use super::manifest::{CHUNK, CONFIG, FileEntry, INDEX, Manifest, Precision};
use super::quantize::stored_shapes;
use super::raw::Dtype;
use super::strict::compare_keys;
use crate::config::{OfaConfig, Packing, VqganConfig};
use crate::error::{Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// One sentence each; none means that the bundle is good.
    pub problems: Vec<String>,
    pub files: usize,
    pub bytes: u64,
    /// Tensors as stored, parts put together.
    pub tensors: usize,
    pub parameters: u64,
    pub precision: Precision,
}

/// Checks the bundle in `directory` against its manifest, and its tensors against `parameters(config)`: the names and
/// unpacked shapes that the model asks for (`model::parameter_shapes`).
///
/// # Errors
/// Only when there is no manifest or configuration to check against; everything else is a problem of the report.
pub fn verify(
    directory: &Path,
    parameters: impl FnOnce(&OfaConfig) -> Result<Vec<(String, Vec<usize>)>>,
) -> Result<Report> {
    let (manifest, files) = read_files(directory)?;
    check(directory, manifest, files.config.quantization.as_ref(), || parameters(&files.config))
}

/// Checks the codes' model in `directory`, as [`verify`] does a bundle; a bundle's lies in its folder
/// [`super::VQGAN`].
///
/// # Errors
/// Those of [`verify`].
pub fn verify_vqgan(
    directory: &Path,
    parameters: impl FnOnce(&VqganConfig) -> Result<Vec<(String, Vec<usize>)>>,
) -> Result<Report> {
    let manifest = read_manifest(directory)?;
    let config = VqganConfig::from_json(&read_text(directory, CONFIG)?)?;
    check(directory, manifest, None, || parameters(&config))
}

fn check(
    directory: &Path,
    manifest: Manifest,
    packing: Option<&Packing>,
    parameters: impl FnOnce() -> Result<Vec<(String, Vec<usize>)>>,
) -> Result<Report> {
    let mut problems = Vec::new();
    let mut stored = Vec::new();
    let mut places = BTreeMap::new();
    let mut assembler = Assembler::new();
    let mut readable = true;
    for entry in &manifest.files {
        let path = directory.join(&entry.name);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                problems.push(format!("{}: {error}", entry.name));
                readable &= !entry.is_shard();
                continue;
            }
        };
        problems.extend(check_bytes(entry, &bytes));
        if !entry.is_shard() {
            continue;
        }
        if let Ok(names) = super::shard::read_shard(&entry.name, &bytes) {
            places.extend(names.into_iter().map(|(name, _)| (name, entry.name.clone())));
        }
        match assembler.push(&entry.name, &bytes) {
            Ok(tensors) => {
                let broken = tensors.iter().filter(|(_, tensor)| !tensor.is_finite());
                problems.extend(broken.map(|(name, _)| format!("`{name}` has values that are not finite")));
                stored.extend(tensors.into_iter().map(|(name, tensor)| (name, tensor.shape, tensor.dtype)));
            }
            Err(error) => {
                problems.push(error.to_string());
                readable = false;
            }
        }
    }
    if let Err(error) = assembler.finish() {
        problems.push(error.to_string());
        readable = false;
    }
    let bits = packing.map(|packing| packing.usual.bits);
    if bits != manifest.precision.bits() {
        problems
            .push(format!("manifest.json says {}, config.json's quantization is {bits:?} bits", manifest.precision));
    }
    problems.extend(check_index(directory, &places));
    problems.extend(unlisted(directory, &manifest)?);
    let tensors = stored.len();
    // Without all shards, every tensor of the missing one would be reported again.
    if readable {
        problems.extend(check_types(&stored, manifest.precision));
        let found: Vec<_> = stored.into_iter().map(|(name, shape, _)| (name, shape)).collect();
        // What could be packed may also be there as it is.
        let (plain, packed): (Vec<_>, Vec<_>) = parameters()?.into_iter().partition(|each| found.contains(each));
        let expected = [plain, stored_shapes(packed, packing)].concat();
        problems.extend(compare_keys(&expected, &found));
    }
    let Manifest { total_bytes: bytes, parameters, precision, files, .. } = manifest;
    Ok(Report { problems, files: files.len(), bytes, tensors, parameters, precision })
}

/// Size and hashes, down to the megabyte.
fn check_bytes(entry: &FileEntry, bytes: &[u8]) -> Option<String> {
    let FileEntry { name, size, sha256: expected, chunks } = entry;
    if bytes.len() as u64 != *size {
        return Some(format!("{name}: expected {size} bytes, found {}", bytes.len()));
    }
    let wrong: Vec<String> = bytes
        .chunks(CHUNK)
        .zip(chunks)
        .enumerate()
        .filter(|(_, (chunk, expected))| sha256(chunk) != **expected)
        .map(|(index, _)| index.to_string())
        .collect();
    if !wrong.is_empty() {
        return Some(format!("{name}: SHA-256 differs in MiB {} (counted from 0)", wrong.join(", ")));
    }
    (sha256(bytes) != *expected).then(|| format!("{name}: SHA-256 differs from the manifest's"))
}

/// The HF index must name exactly the stored tensors and their shards.
fn check_index(directory: &Path, places: &BTreeMap<String, String>) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let text = match std::fs::read_to_string(directory.join(INDEX)) {
        Ok(text) => text,
        // Already reported if the manifest lists it, and of no use to this crate if not.
        Err(_) => return None,
    };
    match serde_json::from_str::<Index>(&text) {
        Err(error) => Some(format!("{INDEX}: {error}")),
        Ok(index) if index.weight_map != *places => Some(format!("{INDEX}: does not match the shards")),
        Ok(_) => None,
    }
}

/// Shards that the manifest does not know would never be loaded.
fn unlisted(directory: &Path, manifest: &Manifest) -> Result<Vec<String>> {
    let failed = |error: std::io::Error| Error::file(directory.display(), error);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".safetensors") && manifest.files.iter().all(|file| file.name != name) {
            found.push(format!("{name}: not in the manifest"));
        }
    }
    found.sort();
    Ok(found)
}

/// Packed words are U32, everything else has the bundle's floating type.
fn check_types(stored: &[(String, Vec<usize>, Dtype)], precision: Precision) -> Vec<String> {
    let float = if precision == Precision::F32 { Dtype::F32 } else { Dtype::F16 };
    let right = |dtype: Dtype| dtype == float || (precision.bits().is_some() && dtype == Dtype::U32);
    let wrong = stored.iter().filter(|(_, _, dtype)| !right(*dtype));
    wrong.map(|(name, _, dtype)| format!("`{name}` is {dtype} in a bundle of {precision}")).collect()
}

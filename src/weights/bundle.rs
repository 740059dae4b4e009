//! Bundles on disk: written whole or not at all, and read back.

use super::assemble::{Assembler, split};
use super::manifest::{
    CHUNK, CONFIG, FileEntry, GENERATION_CONFIG, INDEX, MANIFEST, Manifest, Precision, TOKENIZER, VERSION,
};
use super::raw::{Dtype, RawTensor, Tensors};
use super::shard::encode_shard;
use super::target::Target;
use crate::config::{OfaConfig, Packing};
use crate::error::{Error, Result};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The largest shard written. Browsers and CDNs cache, resume and run out of memory by the file.
pub const SHARD_LIMIT: usize = 16 << 20;

/// Header bytes set aside for one tensor, beside its name.
const HEADER_BYTES: usize = 160;

/// A bundle's small files.
#[derive(Debug, Clone)]
pub struct BundleFiles {
    pub config: OfaConfig,
    pub tokenizer_json: String,
    pub generation_config: String,
}

/// A bundle in memory.
#[derive(Debug)]
pub struct Bundle {
    pub manifest: Manifest,
    pub files: BundleFiles,
    /// As stored (packed tensors stay packed), in the order in which the model runs.
    pub tensors: Tensors<'static>,
}

/// Writes a bundle to `out`, which appears complete or not at all; a bundle that was there is replaced.
///
/// `tensors` come in the order in which the model runs, already in the form in which they are stored; they are drawn
/// one by one, so that converting them need not hold two models.
///
/// # Errors
/// The first error that `tensors` gives, or [`Error::File`] when something other than a bundle is in the way or
/// writing fails.
pub fn write_bundle(
    out: &Path,
    files: &BundleFiles,
    precision: Precision,
    tensors: impl IntoIterator<Item = Result<(String, RawTensor<'static>)>>,
) -> Result<Manifest> {
    write_bundle_and(out, files, precision, tensors, |_| Ok(()))
}

/// [`write_bundle`] and what `beside` adds to the folder, which it is given before it appears.
pub fn write_bundle_and(
    out: &Path,
    files: &BundleFiles,
    precision: Precision,
    tensors: impl IntoIterator<Item = Result<(String, RawTensor<'static>)>>,
    beside: impl FnOnce(&Path) -> Result<()>,
) -> Result<Manifest> {
    let packing = files.config.quantization.as_ref();
    write_directory(out, &files.small()?, (precision, packing), tensors, SHARD_LIMIT, beside)
}

/// [`write_bundle`] of nothing else, with shards of at most about `limit` bytes.
pub fn write_bundle_with_limit(
    out: &Path,
    files: &BundleFiles,
    precision: Precision,
    tensors: impl IntoIterator<Item = Result<(String, RawTensor<'static>)>>,
    limit: usize,
) -> Result<Manifest> {
    let packing = files.config.quantization.as_ref();
    write_directory(out, &files.small()?, (precision, packing), tensors, limit, |_| Ok(()))
}

impl BundleFiles {
    fn small(&self) -> Result<[(&'static str, String); 3]> {
        let config = serde_json::to_string_pretty(&self.config).map_err(|error| Error::file(CONFIG, error))?;
        let (tokenizer, generation) = (self.tokenizer_json.clone(), self.generation_config.clone());
        Ok([(CONFIG, config), (TOKENIZER, tokenizer), (GENERATION_CONFIG, generation)])
    }
}

/// [`write_bundle`] of any small files.
pub(super) fn write_directory(
    out: &Path,
    small: &[(&str, String)],
    (precision, packing): (Precision, Option<&Packing>),
    tensors: impl IntoIterator<Item = Result<(String, RawTensor<'static>)>>,
    limit: usize,
    beside: impl FnOnce(&Path) -> Result<()>,
) -> Result<Manifest> {
    let failed = |error: std::io::Error| Error::file(out.display(), error);
    let target = Target::new(out, small.iter().any(|(name, _)| *name == TOKENIZER))?;
    fs::create_dir_all(target.parent()).map_err(failed)?;
    // Beside the target, so that the last step is a rename within one file system.
    let workplace = tempfile::Builder::new().prefix(".ofa-bundle-").tempdir_in(target.parent()).map_err(failed)?;
    // A directory of its own: the temporary one is private to its owner, a bundle is to be served.
    let directory = workplace.path().join("new");
    fs::create_dir(&directory).map_err(failed)?;

    let mut writer =
        Writer { directory: directory.clone(), limit, pending: Vec::new(), pending_bytes: 0, shards: Vec::new() };
    let mut parameters = 0;
    for tensor in tensors {
        let (name, tensor) = tensor?;
        parameters += count_parameters(&name, &tensor, packing);
        for (name, part) in split(name, tensor, limit.saturating_sub(4 * HEADER_BYTES).max(1)) {
            writer.push(name, part.into_owned())?;
        }
    }
    let manifest = writer.finish(small, precision, parameters)?;
    beside(&directory)?;

    target.put(&directory, &workplace.path().join("old"))?;
    Ok(manifest)
}

fn count_parameters(name: &str, tensor: &RawTensor<'_>, packing: Option<&Packing>) -> u64 {
    let elements = tensor.elements() as u64;
    match (packing, tensor.dtype) {
        (Some(packing), Dtype::U32) => elements * 32 / packing.of(name).bits as u64,
        (Some(_), _) if name.ends_with(".scales") || name.ends_with(".biases") => 0,
        _ if name.ends_with(".running_mean") || name.ends_with(".running_var") => 0,
        _ => elements,
    }
}

struct Writer {
    directory: PathBuf,
    limit: usize,
    pending: Tensors<'static>,
    pending_bytes: usize,
    /// Entries without names, which need the number of shards, and the tensors in each.
    shards: Vec<(FileEntry, Vec<String>)>,
}

impl Writer {
    fn push(&mut self, name: String, tensor: RawTensor<'static>) -> Result<()> {
        let bytes = tensor.data.len() + name.len() + HEADER_BYTES;
        if !self.pending.is_empty() && self.pending_bytes + bytes > self.limit {
            self.flush()?;
        }
        self.pending_bytes += bytes;
        self.pending.push((name, tensor));
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let temporary = format!("shard-{}", self.shards.len());
        let bytes = encode_shard(&temporary, &self.pending)?;
        let mut entry = self.write(&temporary, &bytes)?;
        entry.chunks = bytes.chunks(CHUNK).map(sha256).collect();
        self.shards.push((entry, self.pending.drain(..).map(|(name, _)| name).collect()));
        self.pending_bytes = 0;
        Ok(())
    }

    fn finish(mut self, small: &[(&str, String)], precision: Precision, parameters: u64) -> Result<Manifest> {
        if !self.pending.is_empty() {
            self.flush()?;
        }
        let count = self.shards.len();
        let mut weight_map = BTreeMap::new();
        let mut shards = Vec::with_capacity(count);
        for (index, (mut entry, tensors)) in std::mem::take(&mut self.shards).into_iter().enumerate() {
            let name = format!("model-{:05}-of-{count:05}.safetensors", index + 1);
            fs::rename(self.directory.join(&entry.name), self.directory.join(&name))
                .map_err(|error| Error::file(&name, error))?;
            weight_map.extend(tensors.into_iter().map(|tensor| (tensor, name.clone())));
            entry.name = name;
            shards.push(entry);
        }
        let total_size: u64 = shards.iter().map(|entry| entry.size).sum();
        let index = serde_json::json!({ "metadata": { "total_size": total_size }, "weight_map": weight_map });
        let mut entries =
            small.iter().map(|(name, text)| self.write(name, text.as_bytes())).collect::<Result<Vec<_>>>()?;
        entries.push(self.write(INDEX, format!("{index:#}").as_bytes())?);
        entries.extend(shards);
        let total_bytes = entries.iter().map(|entry| entry.size).sum();
        let manifest = Manifest { version: VERSION, total_bytes, parameters, precision, files: entries };
        self.write(MANIFEST, manifest.to_json()?.as_bytes())?;
        sync_directory(&self.directory);
        Ok(manifest)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<FileEntry> {
        write_file(&self.directory.join(name), bytes)?;
        Ok(FileEntry { name: name.to_owned(), size: bytes.len() as u64, sha256: sha256(bytes), chunks: Vec::new() })
    }
}

/// Writes a file that lasts.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let mut file = fs::File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error| Error::file(path.display(), error))
}

/// Puts a file in the place of another, so that whoever reads it finds the old one or the new one, and nothing else.
#[cfg(feature = "train")]
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".tmp");
    write_file(unfinished.as_ref(), bytes)?;
    fs::rename(&unfinished, path).map_err(|error| Error::file(path.display(), error))?;
    path.parent().into_iter().for_each(sync_directory);
    Ok(())
}

/// Makes renames last. Some systems cannot open directories; there the rename alone has to do.
pub(crate) fn sync_directory(path: &Path) {
    if let Ok(directory) = fs::File::open(path) {
        let _ = directory.sync_all();
    }
}

/// Lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A listed file of `directory`, with the size that the manifest says.
///
/// # Errors
/// [`Error::File`] when it is missing or of another size.
pub fn read_listed(directory: &Path, entry: &FileEntry) -> Result<Vec<u8>> {
    let path = directory.join(&entry.name);
    let bytes = fs::read(&path).map_err(|error| Error::file(path.display(), error))?;
    if bytes.len() as u64 != entry.size {
        let reason = format!("expected {} bytes, found {}: copy the bundle again", entry.size, bytes.len());
        return Err(Error::file(path.display(), reason));
    }
    Ok(bytes)
}

/// The manifest of a directory.
///
/// # Errors
/// [`Error::File`] when there is none, or it is malformed.
pub(super) fn read_manifest(directory: &Path) -> Result<Manifest> {
    let path = directory.join(MANIFEST);
    let text = fs::read_to_string(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            let reason = "not there, so this is not a bundle; `ofa convert` makes one from a checkpoint";
            Error::file(path.display(), reason)
        }
        _ => Error::file(path.display(), error),
    })?;
    Manifest::from_json(&text).map_err(|error| Error::file(directory.display(), error))
}

pub(super) fn read_text(directory: &Path, name: &str) -> Result<String> {
    let path = directory.join(name);
    fs::read_to_string(&path).map_err(|error| Error::file(path.display(), error))
}

/// The small files of a bundle.
///
/// # Errors
/// [`Error::File`] or [`Error::Config`] when one is missing or malformed.
pub fn read_files(directory: &Path) -> Result<(Manifest, BundleFiles)> {
    let manifest = read_manifest(directory)?;
    let listed = |name: &str| manifest.files.iter().any(|file| file.name == name);
    if !listed(TOKENIZER) {
        return Err(Error::file(directory.join(MANIFEST).display(), format!("no `{TOKENIZER}` is listed")));
    }
    let generation_config =
        if listed(GENERATION_CONFIG) { read_text(directory, GENERATION_CONFIG)? } else { "{}".to_owned() };
    let config = OfaConfig::from_json(&read_text(directory, CONFIG)?);
    let config = config.map_err(|error| Error::file(directory.display(), error))?;
    Ok((manifest, BundleFiles { config, tokenizer_json: read_text(directory, TOKENIZER)?, generation_config }))
}

/// Hands each tensor of a bundle to `take` in the order in which the model runs, with one shard in memory at a time.
/// Sizes are checked; hashes are the business of [`super::verify`].
///
/// # Errors
/// Those of reading, and the first that `take` gives.
pub fn read_tensors(
    directory: &Path,
    manifest: &Manifest,
    mut take: impl FnMut(String, RawTensor<'_>) -> Result<()>,
) -> Result<()> {
    let mut assembler = Assembler::new();
    for entry in manifest.shards() {
        let bytes = read_listed(directory, entry)?;
        for (name, tensor) in assembler.push(&entry.name, &bytes)? {
            take(name, tensor)?;
        }
    }
    assembler.finish()
}

/// The whole bundle.
///
/// # Errors
/// Those of [`read_files`] and [`read_tensors`].
pub fn read_bundle(directory: &Path) -> Result<Bundle> {
    let (manifest, files) = read_files(directory)?;
    let mut tensors = Vec::new();
    read_tensors(directory, &manifest, |name, tensor| {
        tensors.push((name, tensor.into_owned()));
        Ok(())
    })?;
    Ok(Bundle { manifest, files, tensors })
}

//! Checkpoints as people have them: fairseq's `.pt`, and directories of the HF port.

use super::layout::{self, EMBEDDING, Layout};
use super::manifest::MANIFEST;
use super::pickle::{Id, Pickle, Value};
use super::raw::{RawTensor, Tensors};
use super::shard::{Slot, header_length, read_header};
use super::torch::TorchFile;
use crate::error::{Error, Result};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Values of `cfg.model` and `cfg.task` (or the older `args`) of a fairseq checkpoint: numbers, texts and flags.
pub type Settings = BTreeMap<String, serde_json::Value>;

/// A checkpoint in its own names.
#[derive(Debug)]
pub struct Checkpoint {
    pub layout: Layout,
    /// In the order of the file.
    pub tensors: Tensors<'static>,
    /// Index tables, and copies of the embedding that share its storage: known to be droppable without their bytes.
    pub skipped: Vec<(String, Vec<usize>)>,
    pub settings: Settings,
    /// The HF directory's `config.json`, as it stands.
    pub config: Option<serde_json::Map<String, serde_json::Value>>,
    /// Whether that is a bundle's own.
    pub of_bundle: bool,
    /// What a person should know about how this was read.
    pub notes: Vec<String>,
}

impl Checkpoint {
    fn empty() -> Self {
        Self {
            layout: Layout::Hf,
            tensors: Vec::new(),
            skipped: Vec::new(),
            settings: Settings::new(),
            config: None,
            of_bundle: false,
            notes: Vec::new(),
        }
    }
}

/// Reads a checkpoint: a file of `torch.save`, a `.safetensors` file, or a directory with `pytorch_model.bin` or
/// `model.safetensors` (or shards with their index) and `config.json`.
///
/// Tensors are read one by one: memory holds the weights once, and never the whole file beside them. With `ema` the
/// moving average in `extra_state.ema` is read instead of the weights last trained.
///
/// # Errors
/// [`Error::File`] or [`Error::Tensor`] for everything that is missing, malformed or of another architecture.
pub fn read_checkpoint(path: &Path, ema: bool) -> Result<Checkpoint> {
    let mut checkpoint = Checkpoint::empty();
    let files = if path.is_dir() { weight_files(path)? } else { vec![path.to_owned()] };
    let is = |wanted: &str| path.extension().is_some_and(|extension| extension == wanted);
    // Settings stand inside of a .pt, and beside the weights of the HF port.
    let home = if is("safetensors") || is("bin") { path.parent() } else { Some(path).filter(|path| path.is_dir()) };
    if let Some(config) = home.map(|home| home.join("config.json")).filter(|config| config.is_file()) {
        let text = std::fs::read_to_string(&config).map_err(|error| Error::file(config.display(), error))?;
        checkpoint.config = Some(serde_json::from_str(&text).map_err(|error| Error::file(config.display(), error))?);
        checkpoint.of_bundle = config.with_file_name(MANIFEST).is_file();
    }
    for file in &files {
        check_start(file)?;
        if file.extension().is_some_and(|extension| extension == "safetensors") {
            read_safetensors(file, &mut checkpoint)?;
        } else {
            read_torch(file, ema, &mut checkpoint)?;
        }
    }
    if ema && checkpoint.notes.is_empty() {
        return Err(Error::option("--ema", "a fairseq .pt with extra_state.ema", path.display()));
    }
    let names = checkpoint.tensors.iter().map(|(name, _)| name.as_str());
    checkpoint.layout = layout::detect(names).ok_or_else(|| {
        let reason = "no decoder layer with encoder_attn (fairseq) or cross_attn (HF): not an OFA checkpoint";
        Error::file(path.display(), reason)
    })?;
    Ok(checkpoint)
}

/// What stands at the beginning of a file in place of one that is kept elsewhere.
const POINTER: &[u8] = b"version https://git-lfs";

/// Whether this is a file of weights at all.
///
/// # Errors
/// [`Error::File`] for an empty one, and for one that only names another.
pub(super) fn check_start(path: &Path) -> Result<()> {
    let failed = |error: std::io::Error| Error::file(path.display(), error);
    let mut start = Vec::new();
    File::open(path).and_then(|file| file.take(POINTER.len() as u64).read_to_end(&mut start)).map_err(failed)?;
    match start.as_slice() {
        [] => Err(Error::file(path.display(), "is empty: expected the weights of a model")),
        POINTER => {
            let reason = "is a pointer of Git LFS: expected the weights that it names, which `git lfs pull` fetches";
            Err(Error::file(path.display(), reason))
        }
        _ => Ok(()),
    }
}

/// The files that hold a directory's weights, in order.
fn weight_files(directory: &Path) -> Result<Vec<PathBuf>> {
    for name in ["model.safetensors", "pytorch_model.bin"] {
        let file = directory.join(name);
        if file.is_file() {
            return Ok(vec![file]);
        }
        let index = directory.join(format!("{name}.index.json"));
        if index.is_file() {
            let failed = |reason: String| Error::file(index.display(), reason);
            let text = std::fs::read_to_string(&index).map_err(|error| failed(error.to_string()))?;
            let index: Index = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
            let mut names: Vec<String> = index.weight_map.into_values().collect();
            names.sort();
            names.dedup();
            // The index may come from anywhere; it must not lead outside the directory.
            if let Some(name) = names.iter().find(|name| name.contains(['/', '\\', ':']) || name.starts_with('.')) {
                return Err(failed(format!("`{name}` is not a plain file name")));
            }
            return Ok(names.into_iter().map(|name| directory.join(name)).collect());
        }
    }
    Err(Error::file(
        directory.display(),
        "expected model.safetensors or pytorch_model.bin, or an index of their shards",
    ))
}

#[derive(serde::Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

fn read_safetensors(path: &Path, checkpoint: &mut Checkpoint) -> Result<()> {
    let name = path.display().to_string();
    let failed = |error: std::io::Error| Error::file(path.display(), error);
    let mut file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut first = [0; 8];
    file.read_exact(&mut first).map_err(failed)?;
    let mut header = vec![0; header_length(&name, first, length)?];
    file.read_exact(&mut header).map_err(failed)?;
    let body = header.len() as u64 + 8;
    for Slot { name, dtype, shape, start, end } in read_header(&name, &header, (length - body) as usize)? {
        if layout::dropped(&name).is_some_and(|row| !row.tied) {
            checkpoint.skipped.push((name, shape));
            continue;
        }
        let mut data = vec![0; end - start];
        file.seek(SeekFrom::Start(body + start as u64)).map_err(failed)?;
        file.read_exact(&mut data).map_err(failed)?;
        let tensor = RawTensor::new(&name, dtype, shape, data)?;
        checkpoint.tensors.push((name, tensor));
    }
    Ok(())
}

fn read_torch(path: &Path, ema: bool, checkpoint: &mut Checkpoint) -> Result<()> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|error| Error::file(&name, error))?;
    read_torch_from(&name, BufReader::new(file), ema, checkpoint)
}

/// The part of reading a torch file that does not care where its bytes are.
fn read_torch_from<R: Read + Seek>(name: &str, reader: R, ema: bool, checkpoint: &mut Checkpoint) -> Result<()> {
    let mut file = TorchFile::open(name, reader)?;
    let pickle = file.pickle();
    let root = pickle.root();
    read_settings(pickle, &mut checkpoint.settings);
    let weights = if ema {
        let average = pickle.get(root, "extra_state").and_then(|extra| pickle.get(extra, "ema"));
        checkpoint.notes.push("weights are the moving average in extra_state.ema".into());
        average.ok_or_else(|| Error::file(name, "no extra_state.ema in it; convert without --ema"))?
    } else {
        pickle.get(root, "model").unwrap_or(root)
    };
    let entries: Vec<(String, Id)> = match pickle.entries(weights) {
        Some(entries) => entries.into_iter().map(|(name, id)| (name.to_owned(), id)).collect(),
        None => return Err(Error::file(name, "expected a dict of tensors, or one under the key \"model\"")),
    };
    let mut owners: HashMap<ViewKey, usize> = HashMap::new();
    for (tensor_name, id) in entries {
        let key = view_key(file.pickle(), id);
        let dropped = layout::dropped(&tensor_name);
        if let (Some(key), Some(row)) = (&key, dropped) {
            let owner = owners.get(key).and_then(|place| checkpoint.tensors.get(*place));
            if !row.tied || owner.is_some_and(|(owner, _)| owner == EMBEDDING) {
                checkpoint.skipped.push((tensor_name, key.shape.clone()));
                continue;
            }
        }
        let tensor = file.tensor(&tensor_name, id)?;
        if let Some(key) = key {
            owners.entry(key).or_insert(checkpoint.tensors.len());
        }
        checkpoint.tensors.push((tensor_name, tensor));
    }
    Ok(())
}

/// Reads a torch file that is already in memory; for tests, and for callers with other sources than files.
///
/// # Errors
/// Those of [`read_checkpoint`].
pub fn read_torch_bytes(name: &str, bytes: &[u8], ema: bool) -> Result<Tensors<'static>> {
    let mut checkpoint = Checkpoint::empty();
    read_torch_from(name, std::io::Cursor::new(bytes), ema, &mut checkpoint)?;
    Ok(checkpoint.tensors)
}

/// What makes two names the same tensor: the three names of the embedding share a storage in every checkpoint.
#[derive(PartialEq, Eq, Hash)]
struct ViewKey {
    storage: String,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

fn view_key(pickle: &Pickle, id: Id) -> Option<ViewKey> {
    let Value::Tensor(view) = pickle.value(id) else { return None };
    let Value::Storage(storage) = pickle.value(view.storage) else { return None };
    Some(ViewKey {
        storage: format!("{:?} {}", storage.dtype, storage.key),
        offset: view.offset,
        shape: view.shape.clone(),
        strides: view.strides.clone(),
    })
}

fn read_settings(pickle: &Pickle, settings: &mut Settings) {
    let root = pickle.root();
    let config = pickle.get(root, "cfg");
    let sections = [
        pickle.get(root, "args"),
        config.and_then(|config| pickle.get(config, "model")),
        config.and_then(|config| pickle.get(config, "task")),
    ];
    for section in sections.into_iter().flatten() {
        for (key, value) in pickle.entries(section).unwrap_or_default() {
            if let Some(scalar) = pickle.scalar(value) {
                settings.entry(key.to_owned()).or_insert(scalar);
            }
        }
    }
    // The older `args` call it so; in `cfg` each section has a name of its own.
    let task = config.and_then(|config| pickle.get(config, "task")).and_then(|task| pickle.get(task, "_name"));
    if let Some(name) = task.and_then(|name| pickle.scalar(name)) {
        settings.entry("task".to_owned()).or_insert(name);
    }
}

//! Checkpoints: all that a run needs to go on as if it had never stopped. Each is a directory that appears complete or
//! not at all.

use super::optimizer::{Adam, Average};
use super::parameters::{Entry, ParameterMap, Section};
use super::trainer::{Averages, Trainer, TrainerState};
use crate::config::OfaConfig;
use crate::error::{Error, Result};
use crate::weights::{RawTensor, Tensors, encode_shard, read_shard, replace_file, sha256, sync_directory, write_file};
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

const VERSION: u32 = 1;
const STATE: &str = "state.json";
const LATEST: &str = "latest";
const BEST: &str = "best";
const PREFIX: &str = "step-";
/// What a directory is called until it is complete.
const UNFINISHED: &str = ".tmp";

/// Where a run stands in its data and how well it has done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Draws used so far, over all epochs and ranks.
    pub draws: u64,
    /// Draws among them of which something could not be read.
    pub skipped: u64,
    /// The best value of the metric that checkpoints are kept by, and the update it belongs to.
    pub best: Option<(f64, u64)>,
    /// Whether the update was to be evaluated and that failed.
    #[serde(default)]
    pub unjudged: bool,
}

#[derive(Serialize, Deserialize)]
struct State {
    version: u32,
    updates: u64,
    bad_updates: u32,
    adam_steps: u64,
    progress: Progress,
    /// The architecture that the tensors belong to.
    config: OfaConfig,
    /// Hashes of the files.
    sha256: BTreeMap<String, String>,
}

/// The checkpoints of a run.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    directory: PathBuf,
    keep_last: usize,
}

impl Checkpoints {
    /// Opens or makes `directory`.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be made.
    pub fn open(directory: &Path, keep_last: usize) -> Result<Self> {
        fs::create_dir_all(directory).map_err(|error| Error::file(directory.display(), error))?;
        Ok(Self { directory: directory.to_owned(), keep_last: keep_last.max(1) })
    }

    /// Removes what an interrupted save left.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read or removed.
    pub fn sweep(&self) -> Result<()> {
        let failed = |error: std::io::Error| Error::file(self.directory.display(), error);
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| UNFINISHED.ends_with(&*extension.to_string_lossy())) {
                if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.map_err(failed)?;
            }
        }
        Ok(())
    }

    /// The newest checkpoint, if there is one.
    ///
    /// # Errors
    /// [`Error::File`] when the directory cannot be read.
    pub fn latest(&self) -> Result<Option<PathBuf>> {
        match self.pointed(LATEST) {
            Some(named) => Ok(Some(named)),
            // The name is written after the directory: a run killed in between has one that is newer than it says.
            None => Ok(self.all()?.pop()),
        }
    }

    /// The checkpoint that did best, if any has been judged and is there.
    pub fn best(&self) -> Option<PathBuf> {
        self.pointed(BEST)
    }

    /// Brings the name of the best checkpoint and what a run that goes on knows of it together again, where one of them
    /// outlived the other: a best that is gone is forgotten, so that the next to be judged is kept. Only the rank that
    /// `leads` writes the name.
    ///
    /// # Errors
    /// [`Error::File`] when the name cannot be written.
    pub fn recall_best(&self, progress: &mut Progress, leads: bool) -> Result<()> {
        let Some((_, update)) = progress.best else { return Ok(()) };
        let name = name_of(update);
        if !self.directory.join(&name).join(STATE).is_file() {
            progress.best = None;
        } else if leads {
            self.point(BEST, &name)?;
        }
        Ok(())
    }

    /// The complete checkpoint that a name points to.
    fn pointed(&self, pointer: &str) -> Option<PathBuf> {
        let name = fs::read_to_string(self.directory.join(pointer)).ok()?;
        let path = self.directory.join(name.trim());
        (name.starts_with(PREFIX) && path.join(STATE).is_file()).then_some(path)
    }

    /// Complete checkpoints, the oldest first.
    fn all(&self) -> Result<Vec<PathBuf>> {
        let failed = |error: std::io::Error| Error::file(self.directory.display(), error);
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(PREFIX) && entry.path().join(STATE).is_file() {
                found.push(entry.path());
            }
        }
        // Numbers are padded, so that names sort as they do.
        found.sort();
        Ok(found)
    }

    /// Writes a checkpoint, then points to it, then removes old ones.
    ///
    /// # Errors
    /// [`Error::File`] when writing fails, on a full disk for instance: earlier checkpoints are as they were.
    pub fn save(&self, trainer: &Trainer, progress: &Progress) -> Result<PathBuf> {
        let name = name_of(trainer.updates());
        let path = self.directory.join(&name);
        let unfinished = self.directory.join(format!("{name}{UNFINISHED}"));
        let written = write(&unfinished, trainer, progress).and_then(|()| {
            if path.exists() {
                fs::remove_dir_all(&path).map_err(|error| Error::file(path.display(), error))?;
            }
            fs::rename(&unfinished, &path).map_err(|error| Error::file(path.display(), error))?;
            sync_directory(&self.directory);
            // First: a run killed in between goes on from an older checkpoint and finds the best anew. The other way
            // round it would go on from one that takes the best to be noted.
            if progress.best.is_some_and(|(_, update)| update == trainer.updates()) {
                self.point(BEST, &name)?;
            }
            self.point(LATEST, &name)
        });
        if let Err(error) = written {
            // What is left of it only takes room; that it may stay is no worse than the error itself.
            let _ = fs::remove_dir_all(&unfinished);
            return Err(error);
        }
        self.prune()?;
        Ok(path)
    }

    fn point(&self, pointer: &str, name: &str) -> Result<()> {
        replace_file(&self.directory.join(pointer), format!("{name}\n").as_bytes())
    }

    fn prune(&self) -> Result<()> {
        let all = self.all()?;
        let best = self.best();
        let old = all.len().saturating_sub(self.keep_last);
        for path in all.into_iter().take(old).filter(|path| Some(path) != best.as_ref()) {
            fs::remove_dir_all(&path).map_err(|error| Error::file(path.display(), error))?;
        }
        Ok(())
    }
}

/// What the checkpoint after so many updates is called.
fn name_of(updates: u64) -> String {
    format!("{PREFIX}{updates:010}")
}

/// The files of a checkpoint and what is in them.
fn rows(trainer: &Trainer) -> Vec<(&'static str, Section, Tensor<1>)> {
    let state = &trainer.state;
    let [first, second] = state.adam.moments.clone();
    let mut rows = vec![
        ("model", Section::Parameters, state.values.clone()),
        ("statistics", Section::Statistics, trainer.values(Section::Statistics)),
        ("adam-first", Section::Parameters, first),
        ("adam-second", Section::Parameters, second),
    ];
    if let Some(Averages { parameters, statistics }) = &state.average {
        rows.push(("average", Section::Parameters, parameters.values.clone()));
        rows.push(("average-statistics", Section::Statistics, statistics.values.clone()));
    }
    rows
}

fn write(directory: &Path, trainer: &Trainer, progress: &Progress) -> Result<()> {
    let failed = |error: std::io::Error| Error::file(directory.display(), error);
    if directory.exists() {
        fs::remove_dir_all(directory).map_err(failed)?;
    }
    fs::create_dir(directory).map_err(failed)?;
    let mut hashes = BTreeMap::new();
    for (name, section, values) in rows(trainer) {
        let file = format!("{name}.safetensors");
        let bytes = encode_shard(&file, &named(trainer.map(), section, values)?)?;
        write_file(&directory.join(&file), &bytes)?;
        hashes.insert(file, sha256(&bytes));
    }
    let state = State {
        version: VERSION,
        updates: trainer.state.updates,
        bad_updates: trainer.state.bad_updates,
        adam_steps: trainer.state.adam.steps,
        progress: progress.clone(),
        config: trainer.config().clone(),
        sha256: hashes,
    };
    let path = directory.join(STATE);
    let json = serde_json::to_string_pretty(&state).map_err(|error| Error::file(path.display(), error))?;
    write_file(&path, json.as_bytes())?;
    sync_directory(directory);
    Ok(())
}

/// A section's row as tensors under their names.
///
/// # Errors
/// The device's, when the values cannot be read back.
pub(super) fn named(map: &ParameterMap, section: Section, values: Tensor<1>) -> Result<Tensors<'static>> {
    let values: Vec<f32> = values.into_data().try_into_vec().map_err(|error| Error::device(format!("{error:?}")))?;
    map.entries(section)
        .map(|Entry { name, shape, range, .. }| {
            Ok((name.clone(), RawTensor::from_f32(name, shape.clone(), &values[range.clone()])?))
        })
        .collect()
}

/// Puts `trainer` where the checkpoint in `directory` left off.
///
/// # Errors
/// [`Error::File`] for files that are missing or damaged, [`Error::Config`] or [`Error::Tensor`] for a checkpoint of
/// another architecture.
pub fn restore(directory: &Path, trainer: &mut Trainer) -> Result<Progress> {
    let path = directory.join(STATE);
    let failed = |reason: String| Error::file(path.display(), reason);
    let text = fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
    let state: State = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
    if state.version != VERSION {
        return Err(failed(format!("a checkpoint of version {}; this program reads {VERSION}", state.version)));
    }
    same_architecture(&path, &state.config, trainer.config())?;
    let device = trainer.state.values.device();
    let read = |name: &str, section: Section| -> Result<Tensor<1>> {
        let file = format!("{name}.safetensors");
        let path = directory.join(&file);
        let bytes = fs::read(&path).map_err(|error| Error::file(path.display(), error))?;
        if state.sha256.get(&file) != Some(&sha256(&bytes)) {
            return Err(Error::file(path.display(), "damaged: its hash is not the one in state.json"));
        }
        joined(&path, &bytes, trainer.map(), section, &device)
    };
    let average = match &trainer.state.average {
        Some(Averages { parameters: Average { decay, .. }, .. }) => Some(Averages {
            parameters: Average { decay: *decay, values: read("average", Section::Parameters)? },
            statistics: Average { decay: *decay, values: read("average-statistics", Section::Statistics)? },
        }),
        None => None,
    };
    let restored = TrainerState {
        updates: state.updates,
        bad_updates: state.bad_updates,
        values: read("model", Section::Parameters)?,
        adam: Adam {
            options: trainer.state.adam.options.clone(),
            moments: [read("adam-first", Section::Parameters)?, read("adam-second", Section::Parameters)?],
            steps: state.adam_steps,
        },
        average,
    };
    let statistics = read("statistics", Section::Statistics)?;
    trainer.restore(restored, &statistics);
    Ok(state.progress)
}

/// What regularises may change between parts of a run; what the weights mean may not.
fn same_architecture(path: &Path, saved: &OfaConfig, asked: &OfaConfig) -> Result<()> {
    let plain = |config: &OfaConfig| OfaConfig {
        dropout: 0.0,
        attention_dropout: 0.0,
        activation_dropout: 0.0,
        encoder_drop_path_rate: 0.0,
        decoder_drop_path_rate: 0.0,
        resnet_drop_path_rate: 0.0,
        freeze_resnet: false,
        ..config.clone()
    };
    let json = |config: &OfaConfig| serde_json::to_value(plain(config)).unwrap_or_default();
    let (saved, asked) = (json(saved), json(asked));
    let keys = asked.as_object().into_iter().flatten();
    match keys.into_iter().find(|(key, value)| saved[key.as_str()] != **value) {
        Some((key, value)) => {
            let expected = format!("{} as in {}", saved[key.as_str()], path.display());
            Err(Error::config(key, expected, format!("{value}: a run resumes with the architecture it began with")))
        }
        None => Ok(()),
    }
}

/// A section's row from the tensors of a file.
fn joined(path: &Path, bytes: &[u8], map: &ParameterMap, section: Section, device: &Device) -> Result<Tensor<1>> {
    let tensors: HashMap<String, RawTensor<'_>> = read_shard(&path.display().to_string(), bytes)?.into_iter().collect();
    let mut values = Vec::with_capacity(map.len(section));
    for Entry { name, shape, .. } in map.entries(section) {
        let tensor = tensors.get(name);
        match tensor {
            Some(tensor) if tensor.shape == *shape => values.extend(tensor.to_f32(name)?),
            found => {
                let found = found.map_or("nothing".to_owned(), |tensor| format!("{:?}", tensor.shape));
                let found = format!("{found} in {}", path.display());
                return Err(Error::tensor(name, format!("{shape:?}"), found));
            }
        }
    }
    let count = values.len();
    Ok(Tensor::from_data(TensorData::new(values, [count]), device))
}

//! Which files an epoch reads: `data=a,b,…,val` (reference §6.3).

use super::{Jsonl, Kind, Record, Records, Shards, Tsv};
use crate::error::{Error, Result};
use crate::train::seed::seed_of;
use std::path::{Path, PathBuf};

/// Opens whatever lies at a path: `.tsv`, `.jsonl`, a `.tar` shard, or a folder of shards.
///
/// # Errors
/// [`Error::File`] if it is none of these or cannot be read.
pub fn open(path: &Path, kind: &'static Kind, columns: &[usize]) -> Result<Box<dyn Records>> {
    if path.is_dir() {
        let shards = shards_in(path)?;
        if shards.is_empty() {
            return Err(Error::file(path.display(), "the folder holds no .tar shards"));
        }
        return Ok(Box::new(Shards::open(shards, kind)?));
    }
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("tsv") => Ok(Box::new(Tsv::open(path, kind, columns)?)),
        Some("jsonl") => Ok(Box::new(Jsonl::open(path)?)),
        Some("tar") => Ok(Box::new(Shards::open(vec![path.to_path_buf()], kind)?)),
        _ => Err(Error::file(path.display(), "expected a .tsv, .jsonl or .tar file, or a folder of .tar shards")),
    }
}

fn shards_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let fail = |error| Error::file(folder.display(), error);
    let entries: Vec<_> = std::fs::read_dir(folder).map_err(fail)?.collect::<Result<_, _>>().map_err(fail)?;
    let paths = entries.into_iter().map(|entry| entry.path());
    let mut shards: Vec<_> = paths.filter(|path| path.extension().is_some_and(|end| end == "tar")).collect();
    shards.sort();
    Ok(shards)
}

/// The files of `data=a,b,…,val`: all but the last are for training, one an epoch in turn; the last is for evaluation.
/// A single file is for training.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataList {
    pub training: Vec<PathBuf>,
    pub evaluation: Option<PathBuf>,
}

impl DataList {
    /// # Errors
    /// [`Error::Option`] for an empty name.
    pub fn parse(list: &str) -> Result<Self> {
        let mut training: Vec<PathBuf> = list.split(',').map(|name| PathBuf::from(name.trim())).collect();
        if training.iter().any(|path| path.as_os_str().is_empty()) {
            return Err(Error::option("data", "paths with commas between them", list));
        }
        let evaluation = if training.len() > 1 { training.pop() } else { None };
        Ok(Self { training, evaluation })
    }
}

/// Files of which each epoch reads one. The first epoch is number 0.
pub struct EpochFiles(Vec<Box<dyn Records>>);

impl EpochFiles {
    /// Opens all of them.
    ///
    /// # Errors
    /// Those of [`open`], [`Error::File`] for one without a row, [`Error::Option`] if there is none.
    pub fn open(paths: &[PathBuf], kind: &'static Kind, columns: &[usize]) -> Result<Self> {
        let opened = |path: &PathBuf| {
            let file = open(path, kind, columns)?;
            if file.is_empty() { Err(Error::file(path.display(), "no row in it")) } else { Ok(file) }
        };
        Self::new(paths.iter().map(opened).collect::<Result<_>>()?)
    }

    /// # Errors
    /// [`Error::Option`] if there is no file, or one has no row.
    pub fn new(files: Vec<Box<dyn Records>>) -> Result<Self> {
        if files.is_empty() || files.iter().any(|file| file.is_empty()) {
            return Err(Error::option("data", "files with at least one row each", "none"));
        }
        Ok(Self(files))
    }

    /// Rows of an epoch: those of the longest file. Shorter ones begin again, as the original's do.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|file| file.len()).max().unwrap_or(0)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The file of an epoch.
    pub fn of(&self, epoch: u64) -> &dyn Records {
        self.0[(epoch % self.0.len() as u64) as usize].as_ref()
    }

    /// The row at a position of an epoch's shuffle. Beyond the end the file is shuffled anew.
    ///
    /// # Errors
    /// Those of [`Records::record`].
    pub fn drawn(&self, seed: u64, epoch: u64, position: u64) -> Result<Record> {
        let file = self.of(epoch);
        let pass = position / file.len();
        let order = super::Order::new(file.len(), seed_of(&[seed, pass]), epoch);
        file.record(order.at(position))
    }
}

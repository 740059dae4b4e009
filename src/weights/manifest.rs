//! `manifest.json`: what a bundle consists of, so that a reader can show progress, check every megabyte as it
//! arrives, and resume.
//!
//! A bundle also has `model.safetensors.index.json`, the HF convention, from tensor names to shards. Tensors larger
//! than a shard are stored as parts of whole rows under the names `X#00001-of-0000n`; see [`super::Assembler`].

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

pub const MANIFEST: &str = "manifest.json";
pub const CONFIG: &str = "config.json";
pub const TOKENIZER: &str = "tokenizer.json";
pub const GENERATION_CONFIG: &str = "generation_config.json";
pub const INDEX: &str = "model.safetensors.index.json";
/// The resolved recipe of a run, and of a bundle that one made.
pub const RECIPE: &str = "recipe.toml";

/// Bytes of a shard that one hash covers.
pub const CHUNK: usize = 1 << 20;

/// The layout of bundles that this crate writes and reads.
pub const VERSION: u32 = 1;

/// How a bundle's weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    F32,
    F16,
    Q8,
    Q4,
}

impl Precision {
    /// Bits of a packed weight; `None` for floating-point bundles.
    pub fn bits(self) -> Option<usize> {
        match self {
            Self::F32 | Self::F16 => None,
            Self::Q8 => Some(8),
            Self::Q4 => Some(4),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Q8 => "q8",
            Self::Q4 => "q4",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        [Self::F32, Self::F16, Self::Q8, Self::Q4].into_iter().find(|precision| precision.name() == name)
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub version: u32,
    /// Bytes of all files listed.
    pub total_bytes: u64,
    /// Weights of the model, shared ones counted once; running statistics and quantisation scales are not counted.
    pub parameters: u64,
    pub precision: Precision,
    /// In the order in which a reader wants them: the small files, then the shards as the model runs.
    pub files: Vec<FileEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
    /// SHA-256 of each [`CHUNK`]; shards only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chunks: Vec<String>,
}

impl FileEntry {
    pub fn is_shard(&self) -> bool {
        self.name.ends_with(".safetensors")
    }
}

impl Manifest {
    /// Parses and checks a `manifest.json`, which may come from any host.
    ///
    /// # Errors
    /// [`Error::File`] when it is malformed, of another version, inconsistent, or leads outside its directory.
    pub fn from_json(json: &str) -> Result<Self> {
        let manifest: Self = serde_json::from_str(json).map_err(|error| Error::file(MANIFEST, error))?;
        manifest.validate()?;
        Ok(manifest)
    }

    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).map_err(|error| Error::file(MANIFEST, error))
    }

    /// The shards in the order in which the model runs.
    pub fn shards(&self) -> impl Iterator<Item = &FileEntry> {
        self.files.iter().filter(|file| file.is_shard())
    }

    fn validate(&self) -> Result<()> {
        let failed = |reason: String| Err(Error::file(MANIFEST, reason));
        if self.version != VERSION {
            return failed(format!("expected version {VERSION}, found {}", self.version));
        }
        let mut names = std::collections::HashSet::new();
        let mut total = 0u64;
        for FileEntry { name, size, sha256, chunks } in &self.files {
            if !is_plain(name) {
                return failed(format!("file `{name}`: expected a plain relative name of letters, digits and `._-/`"));
            }
            if !names.insert(name.as_str()) || name == MANIFEST {
                return failed(format!("file `{name}` is listed twice or is this file"));
            }
            if !std::iter::once(sha256).chain(chunks).all(|hash| is_sha256(hash)) {
                return failed(format!("file `{name}`: a hash is not 64 lower-case hexadecimal digits"));
            }
            let expected = size.div_ceil(CHUNK as u64);
            if !chunks.is_empty() && chunks.len() as u64 != expected {
                return failed(format!("file `{name}`: expected {expected} chunks, found {}", chunks.len()));
            }
            total = match total.checked_add(*size) {
                Some(total) => total,
                None => return failed("the sizes overflow".to_owned()),
            };
        }
        if total != self.total_bytes {
            return failed(format!("total_bytes is {}, the files have {total}", self.total_bytes));
        }
        if !names.contains(CONFIG) {
            return failed(format!("no `{CONFIG}` is listed"));
        }
        if self.shards().next().is_none() {
            return failed("no shard is listed".to_owned());
        }
        Ok(())
    }
}

/// A relative path that stays below its directory, on every system and in every URL.
fn is_plain(name: &str) -> bool {
    name.len() <= 200
        && name.split('/').all(|part| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        })
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

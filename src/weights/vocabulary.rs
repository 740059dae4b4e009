//! Vocabulary files on disk, in any of the forms that checkpoints come with.

use crate::error::{Error, Result};
use crate::vocab::{tokenizer_json_from_fairseq, tokenizer_json_from_hf};
use std::path::Path;

/// The vocabulary files that were found, in one of their three forms.
pub enum VocabFiles {
    Tokenizer(String),
    Hf { vocab: String, merges: String },
    Fairseq { dict: String, encoder: String, bpe: String },
}

impl VocabFiles {
    /// The files in `given`, or else beside the checkpoint `src`.
    ///
    /// # Errors
    /// [`Error::File`] saying which files are expected.
    pub fn find(given: Option<&Path>, src: &Path) -> Result<Self> {
        let beside = if src.is_dir() { Some(src) } else { src.parent() };
        let directory = given.or(beside).filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let has = |names: &[&str]| names.iter().all(|name| directory.join(name).is_file());
        let read = |name: &str| {
            let path = directory.join(name);
            std::fs::read_to_string(&path).map_err(|error| Error::file(path.display(), error))
        };
        if has(&["tokenizer.json"]) {
            Ok(Self::Tokenizer(read("tokenizer.json")?))
        } else if has(&["vocab.json", "merges.txt"]) {
            Ok(Self::Hf { vocab: read("vocab.json")?, merges: read("merges.txt")? })
        } else if has(&["dict.txt", "encoder.json", "vocab.bpe"]) {
            Ok(Self::Fairseq { dict: read("dict.txt")?, encoder: read("encoder.json")?, bpe: read("vocab.bpe")? })
        } else {
            let reason = "expected tokenizer.json, or vocab.json and merges.txt, or dict.txt, encoder.json and \
                          vocab.bpe (utils/BPE of the original); name their directory with --tokenizer, in a recipe with \
                          model.tokenizer";
            Err(Error::file(directory.display(), reason))
        }
    }

    /// Ids before `<code_0>`, where the files show it.
    ///
    /// # Errors
    /// [`Error::File`] for a file that is no JSON.
    pub fn text_size(&self) -> Result<Option<usize>> {
        let json = |name: &str, text: &str| {
            serde_json::from_str::<serde_json::Value>(text).map_err(|error| Error::file(name, error))
        };
        let after_mask = |id: Option<u64>| id.and_then(|id| usize::try_from(id).ok()).and_then(|id| id.checked_add(1));
        Ok(match self {
            Self::Tokenizer(text) => {
                let file = json("tokenizer.json", text)?;
                let added = file["added_tokens"].as_array().into_iter().flatten();
                let mask = added.filter(|token| token["content"] == "<mask>").find_map(|token| token["id"].as_u64());
                after_mask(mask.or_else(|| file["model"]["vocab"]["<mask>"].as_u64()))
            }
            Self::Hf { vocab, .. } => after_mask(json("vocab.json", vocab)?["<mask>"].as_u64()),
            // Four specials stand before the dictionary's lines and `<mask>` behind them.
            Self::Fairseq { dict, .. } => Some(dict.lines().count() + 5),
        })
    }

    /// All of them as one `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Vocab`] naming what does not fit together.
    pub fn tokenizer_json(self, num_codes: usize, num_bins: usize) -> Result<String> {
        match self {
            Self::Tokenizer(text) => Ok(text),
            Self::Hf { vocab, merges } => tokenizer_json_from_hf(&vocab, &merges, num_codes, num_bins),
            Self::Fairseq { dict, encoder, bpe } => {
                tokenizer_json_from_fairseq(&dict, &encoder, &bpe, num_codes, num_bins)
            }
        }
    }
}

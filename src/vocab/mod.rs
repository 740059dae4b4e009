//! Text to ids and back: byte-level BPE over the model's own id order, image codes and location bins.
//!
//! The one file read is a `tokenizer.json` in the HF tokenizers format whose ids are the model's ids;
//! [`tokenizer_json_from_fairseq`] and [`tokenizer_json_from_hf`] write it from what checkpoints come with.

pub mod boxes;
mod build;
mod bytes;
pub mod clean;
mod file;
mod layout;
mod split;

pub use build::{tokenizer_json_from_fairseq, tokenizer_json_from_hf};
pub use layout::Layout;

use crate::config::OfaConfig;
use crate::error::{Error, Result};
use tokenizers::Model;
use tokenizers::models::bpe::BPE;

/// Longer texts are refused: no model of this family reads beyond a thousand tokens, and a caller who
/// passes a whole file by mistake should hear of it at once.
pub const MAX_TEXT_BYTES: usize = 1 << 20;

/// The words of a text that are split into pieces each for itself, in the alphabet of the pieces.
pub fn words(text: &str) -> impl Iterator<Item = String> {
    split::words(text).map(split::printable)
}

/// A model's vocabulary.
pub struct Vocab {
    layout: Layout,
    bpe: BPE,
    /// What the ids below `layout.mask` decode to, one after another; `ends[id]` closes that of `id`.
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl std::fmt::Debug for Vocab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vocab").field("layout", &self.layout).finish_non_exhaustive()
    }
}

impl Vocab {
    /// Reads a `tokenizer.json` and checks it against the configuration.
    ///
    /// Every text id must be named once, the specials must sit where the configuration says, and all 256
    /// bytes must be pieces, so that no text can fail to encode. Codes and bins may be left out; where
    /// they are written they must have the ids that follow from the configuration.
    ///
    /// # Errors
    /// [`Error::Vocab`] or [`Error::Config`]; never a panic, whatever the text.
    pub fn from_tokenizer_json(json: &str, config: &OfaConfig) -> Result<Self> {
        let layout = Layout::new(config)?;
        let file::Pieces { bpe, names } = file::read(json, &layout)?;
        let table = bytes::byte_table();
        let mut all = Vec::with_capacity(names.iter().map(String::len).sum());
        let mut ends = Vec::with_capacity(names.len());
        for (id, name) in names.iter().enumerate() {
            // `<mask>` and the specials are printed as they are written, also when `<` were remapped.
            match layout.symbol(id as u32) {
                Some(symbol) => all.extend_from_slice(symbol.as_bytes()),
                None => bytes::push_bytes(name, &table, &mut all),
            }
            let end = u32::try_from(all.len()).map_err(|_| Error::vocab("the pieces exceed 4 GiB"))?;
            ends.push(end);
        }
        Ok(Self { layout, bpe, bytes: all, ends })
    }

    /// The id ranges.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The ids of a text, without BOS and EOS.
    ///
    /// The text is taken literally: `<bin_3>` or `<mask>` in it are characters, not tokens, as in the
    /// original, and no space is put in front; prompts carry their own.
    ///
    /// # Errors
    /// [`Error::Vocab`] if the text is longer than [`MAX_TEXT_BYTES`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        if text.len() > MAX_TEXT_BYTES {
            let reason = format!("a text of {} bytes; at most {MAX_TEXT_BYTES} are read", text.len());
            return Err(Error::vocab(reason));
        }
        let mut ids = Vec::new();
        for word in words(text) {
            let tokens = self.bpe.tokenize(&word).map_err(Error::vocab)?;
            ids.extend(tokens.iter().map(|token| token.id));
        }
        Ok(ids)
    }

    /// The text of some ids. BOS and EOS vanish; padding, `<mask>`, codes and bins are written out, with no
    /// spaces between them; bytes that are no UTF-8 become U+FFFD and ids beyond the vocabulary `<unk>`.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut out = Vec::with_capacity(4 * ids.len());
        for &id in ids {
            if id == self.layout.bos || id == self.layout.eos {
                continue;
            }
            match self.piece(id) {
                Some(bytes) => out.extend_from_slice(bytes),
                None => out.extend_from_slice(self.layout.symbol(id).as_deref().unwrap_or("<unk>").as_bytes()),
            }
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    /// The bytes that an id up to `<mask>` stands for; none for codes and bins.
    pub fn piece(&self, id: u32) -> Option<&[u8]> {
        let id = id as usize;
        let end = *self.ends.get(id)? as usize;
        let start = if id == 0 { 0 } else { *self.ends.get(id - 1)? as usize };
        self.bytes.get(start..end)
    }

    /// The id of `<bin_k>`.
    ///
    /// # Errors
    /// [`Error::Vocab`] if there is no such bin.
    pub fn bin(&self, k: usize) -> Result<u32> {
        let bins = self.layout.num_bins;
        self.layout.bin(k).ok_or_else(|| Error::vocab(format!("no <bin_{k}>: this model has {bins} bins")))
    }

    /// The id of `<code_k>`.
    ///
    /// # Errors
    /// [`Error::Vocab`] if there is no such code.
    pub fn code(&self, k: usize) -> Result<u32> {
        let codes = self.layout.num_codes;
        self.layout.code(k).ok_or_else(|| Error::vocab(format!("no <code_{k}>: this model has {codes} codes")))
    }

    /// k, if the id is `<bin_k>`.
    pub fn bin_index(&self, id: u32) -> Option<usize> {
        self.layout.bin_index(id)
    }

    /// k, if the id is `<code_k>`.
    pub fn code_index(&self, id: u32) -> Option<usize> {
        self.layout.code_index(id)
    }
}

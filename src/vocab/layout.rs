//! Which ids mean what: specials, text pieces, `<mask>`, image codes, location bins.

use crate::config::OfaConfig;
use crate::error::{Error, Result};
use std::ops::Range;

/// `<unk>` has no key in the configuration; every released model has it here.
const UNK: u32 = 3;

/// The id ranges of one model (reference §4.1): text ids lie below `mask`, then come `<mask>` itself, the
/// codes and the bins, and nothing after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Ids in all, the height of the embedding table.
    pub size: usize,
    /// `<s>`: opens sources and starts decoding.
    pub bos: u32,
    /// `<pad>`.
    pub pad: u32,
    /// `</s>`.
    pub eos: u32,
    /// `<unk>`.
    pub unk: u32,
    /// `<mask>`, the last id before the codes.
    pub mask: u32,
    /// The id of `<code_0>`.
    pub code0: u32,
    /// Image codes, 8192 in the released models.
    pub num_codes: usize,
    /// The id of `<bin_0>`.
    pub bin0: u32,
    /// Location bins, 1000 in the released models.
    pub num_bins: usize,
}

impl Layout {
    /// Derives the ranges and checks that they fill the vocabulary exactly.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key that does not fit the others.
    pub fn new(config: &OfaConfig) -> Result<Self> {
        let mask = config.mask_token_id;
        let code0 = u64::from(mask) + 1;
        // A file may ask for any number here, so the sums are checked before they become ids.
        let bin0 = code0.checked_add(config.num_codes as u64);
        let end = bin0.and_then(|bin0| bin0.checked_add(config.num_bins as u64));
        let (Some(bin0), Some(end)) = (bin0, end) else {
            return Err(Error::config("num_codes", "an id range that fits 32 bits", config.num_codes));
        };
        if end != config.vocab_size as u64 || end > u64::from(u32::MAX) {
            let expected =
                format!("{end} (mask_token_id {mask} + 1, {} codes, {} bins)", config.num_codes, config.num_bins);
            return Err(Error::config("vocab_size", expected, config.vocab_size));
        }
        let specials = [
            ("bos_token_id", config.bos_token_id),
            ("pad_token_id", config.pad_token_id),
            ("eos_token_id", config.eos_token_id),
        ];
        for (index, (key, id)) in specials.iter().enumerate() {
            let taken = specials[..index].iter().any(|(_, other)| other == id);
            if *id >= mask || *id == UNK || taken {
                return Err(Error::config(key, format!("an id of its own below {mask}, not {UNK}"), id));
            }
        }
        if mask <= UNK {
            return Err(Error::config("mask_token_id", format!("above {UNK}"), mask));
        }
        Ok(Self {
            size: config.vocab_size,
            bos: config.bos_token_id,
            pad: config.pad_token_id,
            eos: config.eos_token_id,
            unk: UNK,
            mask,
            code0: code0 as u32,
            num_codes: config.num_codes,
            bin0: bin0 as u32,
            num_bins: config.num_bins,
        })
    }

    /// The ids of the image codes.
    pub fn codes(&self) -> Range<u32> {
        self.code0..self.bin0
    }

    /// The ids of the location bins.
    pub fn bins(&self) -> Range<u32> {
        self.bin0..self.size as u32
    }

    /// The id of `<code_k>`.
    pub fn code(&self, k: usize) -> Option<u32> {
        (k < self.num_codes).then(|| self.code0 + k as u32)
    }

    /// The id of `<bin_k>`.
    pub fn bin(&self, k: usize) -> Option<u32> {
        (k < self.num_bins).then(|| self.bin0 + k as u32)
    }

    /// k, if the id is `<code_k>`.
    pub fn code_index(&self, id: u32) -> Option<usize> {
        self.codes().contains(&id).then(|| (id - self.code0) as usize)
    }

    /// k, if the id is `<bin_k>`.
    pub fn bin_index(&self, id: u32) -> Option<usize> {
        self.bins().contains(&id).then(|| (id - self.bin0) as usize)
    }

    /// The written form of every id that is not a piece of text.
    pub fn symbol(&self, id: u32) -> Option<String> {
        if let Some(k) = self.code_index(id) {
            return Some(format!("<code_{k}>"));
        }
        if let Some(k) = self.bin_index(id) {
            return Some(format!("<bin_{k}>"));
        }
        self.named().into_iter().find(|(named, _)| *named == id).map(|(_, name)| name.to_owned())
    }

    /// The five tokens that have names instead of numbers.
    pub(crate) fn named(&self) -> [(u32, &'static str); 5] {
        [(self.bos, "<s>"), (self.pad, "<pad>"), (self.eos, "</s>"), (self.unk, "<unk>"), (self.mask, "<mask>")]
    }
}

//! How a bundle is asked to be packed, by `ofa export` and by recipes.

use super::quantize::{Storage, precision_of};
use crate::config::{OfaConfig, Packing, Quantization};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One way for all weights, and 8 bits for the parts of a q4 bundle that are named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackingChoice {
    pub bits: usize,
    /// Weights that share a scale; without it those of [`OfaConfig::usual_quantization`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_size: Option<usize>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finer: Vec<Part>,
}

/// A part of a model that may be packed in another way than the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The ResNet
    Stem,
    /// The table of tokens, which also chooses them
    Tokens,
    /// The tables of positions and their projections
    Positions,
}

impl Part {
    fn has(self, name: &str) -> bool {
        let any = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
        match self {
            Self::Stem => any(&["embed_images."]),
            Self::Tokens => any(&["embed_tokens."]),
            Self::Positions => any(&["embed_positions.", "embed_image_positions.", "pos_q_linear.", "pos_k_linear."]),
        }
    }
}

impl fmt::Display for PackingChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bits", self.bits)?;
        if let Some(group_size) = self.group_size {
            write!(f, " in groups of {group_size}")?;
        }
        if !self.finer.is_empty() {
            write!(f, ", finer {}", format!("{:?}", self.finer).to_lowercase())?;
        }
        Ok(())
    }
}

impl PackingChoice {
    /// # Errors
    /// [`Error::Option`] for what no kernel reads. `option` serves messages.
    pub fn check(&self, option: &str) -> Result<()> {
        let Self { bits, group_size, finer } = self;
        let quantization = Quantization { bits: *bits, group_size: group_size.unwrap_or(Quantization::GROUP_SIZES[0]) };
        if !quantization.is_known() {
            let found = format!("{bits} bits, groups of {}", quantization.group_size);
            return Err(Error::option(option, Quantization::EXPECTED, found));
        }
        if !finer.is_empty() && *bits != 4 {
            return Err(Error::option(option, "4 bits, of which parts can be finer", format!("{bits} bits")));
        }
        Ok(())
    }

    /// That of all weights but the finer ones.
    pub fn usual(&self, config: &OfaConfig) -> Quantization {
        let usual = config.usual_quantization(self.bits);
        Quantization { group_size: self.group_size.unwrap_or(usual.group_size), ..usual }
    }

    /// How the model's `parameters` are packed, each a name and the shape of the unpacked tensor.
    pub fn packing<'a>(
        &self,
        config: &OfaConfig,
        parameters: impl IntoIterator<Item = (&'a str, &'a [usize])>,
    ) -> Packing {
        let mut packing = Packing::from(self.usual(config));
        let finer = Quantization { bits: 8, ..packing.usual };
        for (name, shape) in parameters {
            let packed = precision_of(name, shape, finer.group_size) == Storage::Packed;
            if packed && self.finer.iter().any(|part| part.has(name)) {
                packing.exceptions.insert(Packing::module(name).to_owned(), finer);
            }
        }
        packing
    }
}

//! The configuration of the autoencoder that turns images into codes and back: the keys of the original's
//! `model.yaml`.

use super::OfaConfig;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// The most channels of any layer that a hostile config may ask for.
const MAX_CHANNELS: usize = 1 << 14;
/// The most levels; each halves the image.
const MAX_LEVELS: usize = 8;
const RGB: usize = 3;

/// How a square of the image becomes the number of a code. Names are the original's classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CodeChoice {
    /// A layer gives every code a logit, and the largest wins.
    GumbelVQ,
    /// The code whose row of the codebook is nearest.
    VQModel,
}

/// An autoencoder with a codebook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VqganConfig {
    #[serde(rename = "type")]
    pub choice: CodeChoice,
    /// Channels of a row of the codebook.
    pub embed_dim: usize,
    /// Rows of the codebook.
    pub n_embed: usize,
    pub ddconfig: AutoencoderConfig,
}

/// The encoder and its mirror image, the decoder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutoencoderConfig {
    /// Channels between the encoder and the decoder, before they are quantised.
    pub z_channels: usize,
    /// The side in pixels from which `attn_resolutions` count; other sides work too.
    pub resolution: usize,
    #[serde(default = "rgb")]
    pub in_channels: usize,
    #[serde(default = "rgb")]
    pub out_ch: usize,
    /// Channels of the finest level.
    pub ch: usize,
    /// For each level, from the finest to the coarsest, how many times `ch` channels it has.
    pub ch_mult: Vec<usize>,
    pub num_res_blocks: usize,
    /// Levels with self-attention, by their side in pixels for an image of `resolution`.
    #[serde(default)]
    pub attn_resolutions: Vec<usize>,
    /// True belongs to autoencoders without a codebook and is refused.
    #[serde(default, skip_serializing_if = "is_false")]
    pub double_z: bool,
    /// Groups of every norm; the original always has 32.
    #[serde(default = "groups", skip_serializing_if = "is_original")]
    pub num_groups: usize,
}

fn rgb() -> usize {
    RGB
}

fn groups() -> usize {
    AutoencoderConfig::ORIGINAL_GROUPS
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_original(groups: &usize) -> bool {
    *groups == AutoencoderConfig::ORIGINAL_GROUPS
}

impl VqganConfig {
    /// A small model with a codebook of 512 for squares of 8 pixels, to be trained from nothing on simple images.
    pub fn small() -> Self {
        Self {
            choice: CodeChoice::VQModel,
            embed_dim: 32,
            n_embed: 512,
            ddconfig: AutoencoderConfig {
                z_channels: 64,
                resolution: 128,
                in_channels: RGB,
                out_ch: RGB,
                ch: 32,
                ch_mult: vec![1, 1, 2, 4],
                num_res_blocks: 1,
                attn_resolutions: vec![16],
                double_z: false,
                num_groups: 8,
            },
        }
    }

    /// Parses and checks a `config.json`.
    ///
    /// # Errors
    /// [`Error::File`] when it is malformed, [`Error::Config`] when a value cannot be used.
    pub fn from_json(json: &str) -> Result<Self> {
        let config: Self = serde_json::from_str(json).map_err(|error| Error::file("vqgan/config.json", error))?;
        config.validate()?;
        Ok(config)
    }

    /// Whether every code that a model can write has its row in the codebook.
    ///
    /// # Errors
    /// [`Error::Config`] when the codebook is too small for the model.
    pub fn serves(&self, model: &OfaConfig) -> Result<()> {
        if self.n_embed < model.num_codes {
            let expected = format!("the model's num_codes, {}, or more", model.num_codes);
            return Err(Error::config("vqgan/config.json n_embed", expected, self.n_embed));
        }
        Ok(())
    }

    /// Pixels a side of the square that one code stands for.
    pub fn stride(&self) -> usize {
        1 << (self.ddconfig.ch_mult.len() - 1)
    }

    /// Checks every value that the model's construction relies on.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first that cannot be used.
    pub fn validate(&self) -> Result<()> {
        let AutoencoderConfig { z_channels, resolution, in_channels, out_ch, ch, num_res_blocks, num_groups, .. } =
            self.ddconfig;
        for (key, value, most) in [
            ("embed_dim", self.embed_dim, MAX_CHANNELS),
            ("n_embed", self.n_embed, 1 << 20),
            ("ddconfig.z_channels", z_channels, MAX_CHANNELS),
            ("ddconfig.resolution", resolution, 1 << 16),
            ("ddconfig.ch", ch, MAX_CHANNELS),
            ("ddconfig.num_res_blocks", num_res_blocks, 100),
            ("ddconfig.num_groups", num_groups, MAX_CHANNELS),
        ] {
            if !(1..=most).contains(&value) {
                return Err(Error::config(key, format!("1 to {most}"), value));
            }
        }
        for (key, value) in [("ddconfig.in_channels", in_channels), ("ddconfig.out_ch", out_ch)] {
            if value != RGB {
                return Err(Error::config(key, "3: red, green, blue", value));
            }
        }
        if self.ddconfig.double_z {
            return Err(Error::config("ddconfig.double_z", "false, as models with a codebook have it", true));
        }
        let levels = &self.ddconfig.ch_mult;
        if !(1..=MAX_LEVELS).contains(&levels.len()) {
            return Err(Error::config("ddconfig.ch_mult", format!("1 to {MAX_LEVELS} levels"), levels.len()));
        }
        for channels in [1].iter().chain(levels).map(|factor| ch.saturating_mul(*factor)) {
            if !(1..=MAX_CHANNELS).contains(&channels) || !channels.is_multiple_of(num_groups) {
                let expected = format!("channels (ch × ch_mult) of 1 to {MAX_CHANNELS} in {num_groups} equal groups");
                return Err(Error::config("ddconfig.ch_mult", expected, channels));
            }
        }
        let stride = self.stride();
        if !resolution.is_multiple_of(stride) {
            return Err(Error::config("ddconfig.resolution", format!("a multiple of {stride}"), resolution));
        }
        Ok(())
    }
}

impl AutoencoderConfig {
    /// Groups of every norm of the original.
    pub const ORIGINAL_GROUPS: usize = 32;

    /// Channels of a level, 0 the finest.
    pub fn channels(&self, level: usize) -> usize {
        self.ch * self.ch_mult[level]
    }

    /// Whether a level has self-attention. The original decides this by `resolution`, whatever the image's size.
    pub fn has_attention(&self, level: usize) -> bool {
        self.attn_resolutions.contains(&(self.resolution >> level))
    }
}

//! Names and configuration of the model of image codes.
//!
//! Bundles use the names of the original's `GumbelVQ`; what is left behind and what its sibling `VQModel` calls
//! otherwise is told here.

use super::infer::{Look, Shapes};
use super::raw::Tensors;
use crate::config::{AutoencoderConfig, CodeChoice, VqganConfig};
use crate::error::Result;

/// The discriminator and the perceptual network of the original's training.
const TRAINING_ONLY: &str = "loss.";
/// `VQModel`'s name of the codebook, and the bundle's.
const CODEBOOK: [&str; 2] = ["quantize.embedding.weight", "quantize.embed.weight"];
/// Shapes do not show what size of image attention was meant for, and nothing depends on it.
const RESOLUTION: usize = 256;

/// Whether a tensor of a checkpoint has nothing to do with codes.
pub(super) fn training_only(name: &str) -> bool {
    name.starts_with(TRAINING_ONLY)
}

/// A checkpoint's tensors under the bundle's names, without those that only training needs.
pub fn vqgan_tensors(tensors: Tensors<'static>) -> Tensors<'static> {
    let kept = tensors.into_iter().filter(|(name, _)| !training_only(name));
    kept.map(|(name, tensor)| (if name == CODEBOOK[0] { CODEBOOK[1].to_owned() } else { name }, tensor)).collect()
}

/// The configuration that tensors of these shapes have, which shapes show completely.
///
/// # Errors
/// [`crate::error::Error::Tensor`] naming the tensor that is missing or has an impossible shape,
/// [`crate::error::Error::Config`] when it is a model of another kind.
pub fn infer_vqgan_config(shapes: &Shapes) -> Result<VqganConfig> {
    let look = Look { shapes };
    let [n_embed, embed_dim] = look.shape(CODEBOOK[1])?;
    let [ch, in_channels, _, _] = look.shape("encoder.conv_in.weight")?;
    let [encoded, _, _, _] = look.shape("encoder.conv_out.weight")?;
    let [_, z_channels, _, _] = look.shape("decoder.conv_in.weight")?;
    let [out_ch, _, _, _] = look.shape("decoder.conv_out.weight")?;
    let levels = look.count(|level| format!("encoder.down.{level}.block.0.conv1.weight"));
    let mut ch_mult = Vec::with_capacity(levels);
    let mut attn_resolutions = Vec::new();
    for level in 0..levels {
        let [channels, _, _, _] = look.shape(&format!("encoder.down.{level}.block.0.conv1.weight"))?;
        ch_mult.push(channels / ch.max(1));
        if look.has(&format!("encoder.down.{level}.attn.0.q.weight")) {
            attn_resolutions.push(RESOLUTION >> level.min(RESOLUTION.ilog2() as usize));
        }
    }
    let config = VqganConfig {
        choice: if look.has("quantize.proj.weight") { CodeChoice::GumbelVQ } else { CodeChoice::VQModel },
        embed_dim,
        n_embed,
        ddconfig: AutoencoderConfig {
            z_channels,
            resolution: RESOLUTION,
            in_channels,
            out_ch,
            ch,
            ch_mult,
            num_res_blocks: look.count(|block| format!("encoder.down.0.block.{block}.conv1.weight")),
            attn_resolutions,
            double_z: encoded != z_channels,
            num_groups: AutoencoderConfig::ORIGINAL_GROUPS,
        },
    };
    config.validate()?;
    Ok(config)
}

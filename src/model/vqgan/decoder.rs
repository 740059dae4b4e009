//! Features to pixels.

use super::blocks::{Level, Middle, Step, norm_swish};
use crate::config::AutoencoderConfig;
use crate::error::Result;
use crate::kernels::{Convolution, GroupNorm};
use crate::model::Path;
use burn::module::Module;
use burn::tensor::Tensor;

#[derive(Module, Debug)]
pub struct Decoder {
    conv_in: Convolution,
    mid: Middle,
    /// The finest level first, as checkpoints count them; the decoder runs from the last to the first.
    up: Vec<Level>,
    norm_out: GroupNorm,
    conv_out: Convolution,
}

impl Decoder {
    pub fn new(config: &AutoencoderConfig, path: &mut Path) -> Result<Self> {
        let levels = config.ch_mult.len();
        let mut channels = config.channels(levels - 1);
        let conv_in = path.convolution("conv_in", config.z_channels, channels, 3)?;
        let mid = Middle::new(&mut path.child("mid"), channels, config.num_groups)?;
        let mut up = Vec::with_capacity(levels);
        for level in (0..levels).rev() {
            let step = if level > 0 { Step::Up } else { Step::None };
            let (input, attention) = (channels, config.has_attention(level));
            channels = config.channels(level);
            let mut path = path.child(format_args!("up.{level}"));
            // One block more than in the encoder.
            let blocks = config.num_res_blocks + 1;
            up.push(Level::new(config, &mut path, [input, channels], blocks, attention, step)?);
        }
        up.reverse();
        Ok(Self {
            conv_in,
            mid,
            up,
            norm_out: path.group_norm("norm_out", channels, config.num_groups)?,
            conv_out: path.convolution("conv_out", channels, config.out_ch, 3)?,
        })
    }

    /// # Shapes
    /// `[B, z_channels, h, w]` → `[B, 3, h · stride, w · stride]`
    pub fn forward(&self, features: Tensor<4>) -> Tensor<4> {
        let x = self.mid.forward(self.conv_in.forward(features));
        let x = self.up.iter().rev().fold(x, |x, level| level.forward(x));
        self.conv_out.forward(norm_swish(&self.norm_out, x))
    }
}

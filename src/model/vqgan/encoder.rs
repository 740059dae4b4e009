//! Pixels to features, one column for each square of the image.

use super::blocks::{Level, Middle, Step, norm_swish};
use crate::config::AutoencoderConfig;
use crate::error::Result;
use crate::kernels::{Convolution, GroupNorm};
use crate::model::Path;
use burn::module::Module;
use burn::tensor::Tensor;

#[derive(Module, Debug)]
pub struct Encoder {
    conv_in: Convolution,
    /// The finest level first.
    down: Vec<Level>,
    mid: Middle,
    norm_out: GroupNorm,
    conv_out: Convolution,
}

impl Encoder {
    pub fn new(config: &AutoencoderConfig, path: &mut Path) -> Result<Self> {
        let conv_in = path.convolution("conv_in", config.in_channels, config.ch, 3)?;
        let levels = config.ch_mult.len();
        let mut channels = config.ch;
        let mut down = Vec::with_capacity(levels);
        for level in 0..levels {
            let step = if level + 1 < levels { Step::Down } else { Step::None };
            let (input, attention) = (channels, config.has_attention(level));
            channels = config.channels(level);
            let mut path = path.child(format_args!("down.{level}"));
            down.push(Level::new(config, &mut path, [input, channels], config.num_res_blocks, attention, step)?);
        }
        Ok(Self {
            conv_in,
            down,
            mid: Middle::new(&mut path.child("mid"), channels, config.num_groups)?,
            norm_out: path.group_norm("norm_out", channels, config.num_groups)?,
            conv_out: path.convolution("conv_out", channels, config.z_channels, 3)?,
        })
    }

    /// # Shapes
    /// `[B, 3, h · stride, w · stride]` → `[B, z_channels, h, w]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        let x = self.down.iter().fold(self.conv_in.forward(images), |x, level| level.forward(x));
        self.conv_out.forward(norm_swish(&self.norm_out, self.mid.forward(x)))
    }
}

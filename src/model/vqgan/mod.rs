//! Images to codes and back: an autoencoder with a codebook in its middle (reference §10).
//!
//! Read `blocks`, `encoder`, `quantizer`, `decoder`. Here h and w count codes, stride pixels a code.

mod blocks;
mod decoder;
mod encoder;
mod quantizer;

use super::parameters::shapes_asked_for;
use super::{Parameters, Path};
use crate::config::VqganConfig;
use crate::error::Result;
use crate::kernels::Convolution;
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use decoder::Decoder;
use encoder::Encoder;

pub use quantizer::Quantizer;

#[derive(Module, Debug)]
pub struct Vqgan {
    encoder: Encoder,
    quant_conv: Convolution,
    pub quantize: Quantizer,
    post_quant_conv: Convolution,
    decoder: Decoder,
}

impl Vqgan {
    /// Builds the model from named parameters.
    ///
    /// # Errors
    /// Whatever `parameters` reports: a missing tensor or one of another shape.
    pub fn new(config: &VqganConfig, parameters: &mut dyn Parameters) -> Result<Self> {
        let mut root = Path::root(parameters);
        let (features, width) = (config.ddconfig.z_channels, config.embed_dim);
        Ok(Self {
            encoder: Encoder::new(&config.ddconfig, &mut root.child("encoder"))?,
            quant_conv: root.convolution("quant_conv", features, width, 1)?,
            quantize: Quantizer::new(config, &mut root.child("quantize"))?,
            post_quant_conv: root.convolution("post_quant_conv", width, features, 1)?,
            decoder: Decoder::new(&config.ddconfig, &mut root.child("decoder"))?,
        })
    }

    pub fn device(&self) -> Device {
        self.quantize.codebook().device()
    }

    /// The encoder alone.
    ///
    /// # Shapes
    /// values from -1 to 1, `[B, 3, h · stride, w · stride]` → `[B, z_channels, h, w]`
    pub fn encode(&self, images: Tensor<4>) -> Tensor<4> {
        self.encoder.forward(images)
    }

    /// What is compared with the codebook.
    ///
    /// # Shapes
    /// `[B, z_channels, h, w]` → `[B, embed_dim, h, w]`
    pub fn features(&self, encoded: Tensor<4>) -> Tensor<4> {
        self.quant_conv.forward(encoded)
    }

    /// The codes of images.
    ///
    /// # Shapes
    /// values from -1 to 1, `[B, 3, h · stride, w · stride]` → `[B, h, w]`
    pub fn codes(&self, images: Tensor<4>) -> Tensor<3, Int> {
        self.quantize.codes(self.features(self.encode(images)))
    }

    /// The images of codes.
    ///
    /// # Shapes
    /// `[B, h, w]` → about -1 to 1, `[B, 3, h · stride, w · stride]`
    pub fn decode(&self, codes: Tensor<3, Int>) -> Tensor<4> {
        self.decode_features(self.quantize.look_up(codes))
    }

    /// The images of rows of the codebook.
    ///
    /// # Shapes
    /// `[B, embed_dim, h, w]` → about -1 to 1, `[B, 3, h · stride, w · stride]`
    pub fn decode_features(&self, rows: Tensor<4>) -> Tensor<4> {
        self.decoder.forward(self.post_quant_conv.forward(rows))
    }
}

/// Name and shape of every parameter, in the order in which the model runs.
///
/// # Errors
/// [`crate::error::Error::Config`] for an unusable configuration.
pub fn vqgan_parameter_shapes(config: &VqganConfig, device: &Device) -> Result<Vec<(String, Vec<usize>)>> {
    config.validate()?;
    shapes_asked_for(device, |parameters| Vqgan::new(config, parameters))
}

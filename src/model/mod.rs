//! The model: tensors only. No strings to read, no files, no tasks.
//!
//! Shapes are written with B batch, N decoder rows (B · K beams), S source tokens, T target tokens, P patches,
//! L = P + S encoder positions, C model width, H heads, D = C / H, V vocabulary.
//!
//! Read `resnet`, `position`, `attention`, `layer`, `encoder`, `decoder`, `cache` in this order.
//! `vqgan` is a model of its own: images to codes and back.

mod attention;
mod cache;
mod decoder;
mod encoder;
mod layer;
mod parameters;
mod position;
mod regularize;
mod relative;
mod resnet;
mod tokens;
mod vqgan;

use crate::config::OfaConfig;
use crate::error::Result;
use crate::kernels::{Choice, NextTokens, Table};
use burn::module::Module;
use burn::tensor::{Device, Tensor};

pub use cache::DecoderCache;
pub use decoder::Decoder;
pub use encoder::{Encoder, EncoderOutput, ImageFeatures, Source};
pub use parameters::{Parameters, Path, Random, Stored, parameter_shapes};
pub use position::{code_position_ids, image_buckets, image_position_ids, interpolate_grid, score_scale, token_bucket};
pub use tokens::TokenBatch;
pub use vqgan::{Quantizer, Vqgan, vqgan_parameter_shapes};

/// The encoder, the decoder and the table they share.
#[derive(Module, Debug)]
pub struct OfaModel {
    pub embed_tokens: Table,
    pub encoder: Encoder,
    pub decoder: Decoder,
}

impl OfaModel {
    /// Builds the model from named parameters.
    ///
    /// # Errors
    /// Whatever `parameters` reports: a missing tensor or one of another shape.
    pub fn new(config: &OfaConfig, parameters: &mut dyn Parameters) -> Result<Self> {
        let mut root = Path::root(parameters);
        let mut encoder = root.child("encoder");
        // The stem runs first, so its weights are asked for first.
        let stem = resnet::Resnet::new(config, &mut encoder.child("embed_images"))?;
        let embed_tokens = encoder.table("embed_tokens", [config.vocab_size, config.d_model])?;
        let encoder = Encoder::new(config, stem, &mut encoder)?;
        let decoder = Decoder::new(config, &mut root.child("decoder"))?;
        Ok(Self { embed_tokens, encoder, decoder })
    }

    pub fn device(&self) -> Device {
        self.embed_tokens.device()
    }

    /// Stem and projection: what an image costs once, however many questions are asked of it.
    ///
    /// # Shapes
    /// `[B, 3, height, width]`
    pub fn encode_image(&self, patch_images: Tensor<4>) -> ImageFeatures {
        self.encoder.encode_image(patch_images)
    }

    /// Runs the encoder over image patches and source tokens.
    pub fn encode(&self, source: &Source) -> EncoderOutput {
        self.encoder.forward(&self.embed_tokens, source)
    }

    /// Prepares to decode up to `max_len` tokens, BOS counted. `code_masks` marks the samples whose target is a raster
    /// of image codes; empty means none.
    pub fn begin(&self, encoder: &EncoderOutput, code_masks: &[bool], max_len: usize) -> DecoderCache {
        self.decoder.begin(encoder, code_masks, max_len)
    }

    /// Runs the decoder over the tokens behind those in the cache.
    ///
    /// # Shapes
    /// tokens `[N, T]` → hidden states `[N, T, C]`
    pub fn decode(&self, tokens: &TokenBatch, cache: &mut DecoderCache) -> Tensor<3> {
        self.decoder.advance(tokens, cache);
        self.pass(tokens, cache)
    }

    /// The pass through the decoder that [`Decoder::advance`] made ready.
    ///
    /// # Shapes
    /// tokens `[N, T]` → hidden states `[N, T, C]`
    pub fn pass(&self, tokens: &TokenBatch, cache: &mut DecoderCache) -> Tensor<3> {
        self.decoder.pass(&self.embed_tokens, tokens, cache)
    }

    /// As [`decode`](Self::decode), and where each layer looks: its cross-attention, `[N, H, T, L]` each.
    pub fn decode_watched(&self, tokens: &TokenBatch, cache: &mut DecoderCache) -> (Tensor<3>, Vec<Tensor<4>>) {
        cache.watched = Some(Vec::new());
        let hidden = self.decode(tokens, cache);
        (hidden, cache.watched.take().unwrap_or_default())
    }

    /// How much each token, when it is read, looks at each position of the source: the mean over layers and heads.
    ///
    /// # Shapes
    /// tokens `[B, T]`, a fresh cache of B samples → `[B, T, L]`
    pub fn cross_attention(&self, tokens: &TokenBatch, mut cache: DecoderCache) -> Tensor<3> {
        let (_, layers) = self.decode_watched(tokens, &mut cache);
        let heads = Tensor::cat(layers, 1);
        heads.mean_dim(1).squeeze_dim(1)
    }

    /// What may come behind the last of the tokens that led to `hidden`: any token, or one of `choice`.
    ///
    /// # Shapes
    /// `[N, T, C]`
    pub fn next_tokens(&self, hidden: Tensor<3>, choice: Option<&Choice>) -> NextTokens {
        let [rows, length, width] = hidden.dims();
        // A slice of everything would still be an operation.
        let last = if length == 1 { hidden } else { hidden.slice([0..rows, length - 1..length, 0..width]) };
        let last = last.reshape([rows, width]);
        match choice {
            Some(choice) => choice.next_tokens(last),
            None => self.embed_tokens.next_tokens(last),
        }
    }

    /// The output projection of these tokens alone, by ascending ids; `None` where they are too many to gain from it.
    pub fn choice(&self, ids: &[u32]) -> Option<Choice> {
        self.embed_tokens.choice(ids)
    }

    /// The tied output projection.
    ///
    /// # Shapes
    /// `[N, T, C]` → `[N, T, V]`
    pub fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        let [rows, length, width] = hidden.dims();
        let logits = self.embed_tokens.project(hidden.reshape([rows * length, width]));
        let [_, vocabulary] = logits.dims();
        logits.reshape([rows, length, vocabulary])
    }
}

//! One layer of either stack. The decoder's has a cross-attention more (reference §1.8, §1.9).

use super::attention::{KeysValues, MultiheadAttention, end_branch};
use super::parameters::Path;
use super::regularize::dropout;
use crate::config::OfaConfig;
use crate::error::Result;
use crate::kernels::{Activation, LayerNorm, Linear, normalise, residual_norm};
use burn::module::{Module, Param};
use burn::tensor::Tensor;

/// What a layer of the encoder and one of the decoder differ in.
pub struct LayerOptions {
    pub heads: usize,
    pub ffn_dim: usize,
    pub normalize_before: bool,
    pub drop_path_rate: f64,
}

/// Attention with the norms around it.
#[derive(Module, Debug)]
pub struct AttentionBlock {
    attention: MultiheadAttention,
    layer_norm: LayerNorm,
    mid_layer_norm: Option<LayerNorm>,
    normalize_before: bool,
    dropout: f64,
    drop_path_rate: f64,
}

impl AttentionBlock {
    /// Keys `path.{name}`, `path.{name}_layer_norm`, `path.{name}_mid_layer_norm`.
    pub fn new(config: &OfaConfig, path: &mut Path, name: &str, options: &LayerOptions) -> Result<Self> {
        let width = config.d_model;
        Ok(Self {
            attention: MultiheadAttention::new(config, &mut path.child(name), options.heads)?,
            layer_norm: path.layer_norm(&format!("{name}_layer_norm"), width)?,
            mid_layer_norm: path.layer_norm_if(config.scale_attn(), &format!("{name}_mid_layer_norm"), width)?,
            normalize_before: options.normalize_before,
            dropout: config.dropout,
            drop_path_rate: options.drop_path_rate,
        })
    }

    fn pre_norm(&self) -> Option<&LayerNorm> {
        self.normalize_before.then_some(&self.layer_norm)
    }

    /// The keys and values that `x` itself adds, for self-attention.
    pub fn own_keys_values(&self, x: Tensor<3>) -> KeysValues {
        self.attention.keys_values(self.pre_norm(), x)
    }

    /// The keys and values of another stack's output, for cross-attention: never normalised here.
    pub fn foreign_keys_values(&self, x: Tensor<3>) -> KeysValues {
        self.attention.keys_values(None, x)
    }

    /// Where `x` looks, see [`MultiheadAttention::weights`].
    pub fn weights(&self, x: Tensor<3>, k: Tensor<4>, bias: Tensor<4>) -> Tensor<4> {
        self.attention.weights(self.pre_norm(), x, k, bias)
    }

    /// # Shapes
    /// `[B, T, C]` → `[B, T, C]`, the rest as in [`MultiheadAttention::forward`]
    pub fn forward(&self, x: Tensor<3>, kv: KeysValues, bias: Tensor<4>) -> Tensor<3> {
        let branch = self.attention.forward(self.pre_norm(), x.clone(), kv, bias);
        let regular = self.dropout == 0.0 && self.drop_path_rate == 0.0;
        let y = if regular {
            residual_norm(x, branch, self.mid_layer_norm.as_ref())
        } else {
            let branch = normalise(self.mid_layer_norm.as_ref(), branch);
            x + end_branch(branch, self.dropout, self.drop_path_rate)
        };
        if self.normalize_before { y } else { self.layer_norm.forward(y) }
    }
}

/// The feed-forward block: a norm after the activation, and an optional weight on the residual.
#[derive(Module, Debug)]
pub struct FeedForward {
    fc1: Linear,
    fc2: Linear,
    ffn_layer_norm: Option<LayerNorm>,
    final_layer_norm: LayerNorm,
    w_resid: Option<Param<Tensor<1>>>,
    normalize_before: bool,
    dropout: f64,
    activation_dropout: f64,
    drop_path_rate: f64,
}

impl FeedForward {
    pub fn new(config: &OfaConfig, path: &mut Path, options: &LayerOptions) -> Result<Self> {
        let width = config.d_model;
        Ok(Self {
            fc1: path.linear("fc1", width, options.ffn_dim)?,
            fc2: path.linear("fc2", options.ffn_dim, width)?,
            ffn_layer_norm: path.layer_norm_if(config.scale_fc(), "ffn_layer_norm", options.ffn_dim)?,
            final_layer_norm: path.layer_norm("final_layer_norm", width)?,
            w_resid: config.scale_resids.then(|| path.tensor("w_resid", [width])).transpose()?,
            normalize_before: options.normalize_before,
            dropout: config.dropout,
            activation_dropout: config.activation_dropout,
            drop_path_rate: options.drop_path_rate,
        })
    }

    /// # Shapes
    /// `[B, T, C]` → `[B, T, C]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let norm = self.normalize_before.then_some(&self.final_layer_norm);
        let y = dropout(self.fc1.forward_fused(norm, x.clone(), Activation::Gelu), self.activation_dropout);
        let y = self.fc2.forward_fused(self.ffn_layer_norm.as_ref(), y, Activation::None);
        let residual = match &self.w_resid {
            Some(w_resid) => x * w_resid.val().unsqueeze(),
            None => x,
        };
        let y = residual + end_branch(y, self.dropout, self.drop_path_rate);
        if self.normalize_before { y } else { self.final_layer_norm.forward(y) }
    }
}

#[derive(Module, Debug)]
pub struct EncoderLayer {
    self_attn: AttentionBlock,
    feed_forward: FeedForward,
}

impl EncoderLayer {
    pub fn new(config: &OfaConfig, path: &mut Path, options: &LayerOptions) -> Result<Self> {
        Ok(Self {
            self_attn: AttentionBlock::new(config, path, "self_attn", options)?,
            feed_forward: FeedForward::new(config, path, options)?,
        })
    }

    /// # Shapes
    /// x `[B, L, C]`, bias `[1 or B, H, L, L]`
    pub fn forward(&self, x: Tensor<3>, bias: Tensor<4>) -> Tensor<3> {
        let kv = self.self_attn.own_keys_values(x.clone());
        self.feed_forward.forward(self.self_attn.forward(x, kv, bias))
    }
}

#[derive(Module, Debug)]
pub struct DecoderLayer {
    pub self_attn: AttentionBlock,
    pub cross_attn: AttentionBlock,
    pub feed_forward: FeedForward,
}

impl DecoderLayer {
    pub fn new(config: &OfaConfig, path: &mut Path, options: &LayerOptions) -> Result<Self> {
        Ok(Self {
            self_attn: AttentionBlock::new(config, path, "self_attn", options)?,
            cross_attn: AttentionBlock::new(config, path, "cross_attn", options)?,
            feed_forward: FeedForward::new(config, path, options)?,
        })
    }
}

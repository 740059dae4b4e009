//! One layer of either stack. The decoder's has a cross-attention more (reference §1.8, §1.9).
//!
//! A branch ends by making the norm with which the next one begins, which is why a layer is told what follows it.

use super::attention::{CrossAttention, SelfAttention, end_branch};
use super::parameters::Path;
use super::regularize::dropout;
use crate::config::OfaConfig;
use crate::error::Result;
use crate::kernels::{Activation, Bias, KeysValues, LayerNorm, Linear, Past, SelfProjections, Stream, normalise};
use burn::module::{Module, Param};
use burn::tensor::Tensor;

/// What a layer of the encoder and one of the decoder differ in.
pub struct LayerOptions {
    pub heads: usize,
    pub ffn_dim: usize,
    pub normalize_before: bool,
    pub drop_path_rate: f64,
}

/// What is around an attention: the norm before it, the end of its branch.
#[derive(Module, Debug)]
struct AttentionBranch {
    layer_norm: LayerNorm,
    mid_layer_norm: Option<LayerNorm>,
    normalize_before: bool,
    dropout: f64,
    drop_path_rate: f64,
}

impl AttentionBranch {
    /// Keys `path.{name}_layer_norm`, `path.{name}_mid_layer_norm`.
    fn new(config: &OfaConfig, path: &mut Path, name: &str, options: &LayerOptions) -> Result<Self> {
        let width = config.d_model;
        Ok(Self {
            layer_norm: path.layer_norm(&format!("{name}_layer_norm"), width)?,
            mid_layer_norm: path.layer_norm_if(config.scale_attn(), &format!("{name}_mid_layer_norm"), width)?,
            normalize_before: options.normalize_before,
            dropout: config.dropout,
            drop_path_rate: options.drop_path_rate,
        })
    }

    /// The norm with which the branch begins.
    fn pre_norm(&self) -> Option<&LayerNorm> {
        self.normalize_before.then_some(&self.layer_norm)
    }

    fn end(&self, x: Tensor<3>, branch: Tensor<3>, next: Option<&LayerNorm>) -> Stream {
        let inner = self.mid_layer_norm.as_ref();
        let (branch, inner) = if self.dropout == 0.0 && self.drop_path_rate == 0.0 {
            (branch, inner)
        } else {
            (end_branch(normalise(inner, branch), self.dropout, self.drop_path_rate), None)
        };
        joined(x, branch, inner, (!self.normalize_before).then_some(&self.layer_norm), next)
    }
}

/// The stream behind a branch. In a post-norm layer `own` is what the stream itself goes through.
fn joined(
    x: Tensor<3>,
    branch: Tensor<3>,
    inner: Option<&LayerNorm>,
    own: Option<&LayerNorm>,
    next: Option<&LayerNorm>,
) -> Stream {
    match own {
        None => Stream::new(Some(x), branch, inner, next),
        Some(own) => Stream::new(None, Stream::new(Some(x), branch, inner, Some(own)).normed, None, next),
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

    fn pre_norm(&self) -> Option<&LayerNorm> {
        self.normalize_before.then_some(&self.final_layer_norm)
    }

    /// # Shapes
    /// `[B, T, C]` → `[B, T, C]`
    fn forward(&self, Stream { x, normed }: Stream, next: Option<&LayerNorm>) -> Stream {
        let y = dropout(self.fc1.forward_fused(None, normed, Activation::Gelu), self.activation_dropout);
        let y = self.fc2.forward_fused(self.ffn_layer_norm.as_ref(), y, Activation::None);
        let residual = match &self.w_resid {
            Some(w_resid) => x * w_resid.val().unsqueeze(),
            None => x,
        };
        let y = end_branch(y, self.dropout, self.drop_path_rate);
        joined(residual, y, None, (!self.normalize_before).then_some(&self.final_layer_norm), next)
    }
}

#[derive(Module, Debug)]
pub struct EncoderLayer {
    self_attn: SelfAttention,
    self_attn_branch: AttentionBranch,
    feed_forward: FeedForward,
}

impl EncoderLayer {
    pub fn new(config: &OfaConfig, path: &mut Path, options: &LayerOptions) -> Result<Self> {
        Ok(Self {
            self_attn: SelfAttention::new(config, &mut path.child("self_attn"), options.heads)?,
            self_attn_branch: AttentionBranch::new(config, path, "self_attn", options)?,
            feed_forward: FeedForward::new(config, path, options)?,
        })
    }

    /// The norm with which the layer begins.
    pub fn pre_norm(&self) -> Option<&LayerNorm> {
        self.self_attn_branch.pre_norm()
    }

    /// # Shapes
    /// x `[B, L, C]`, bias `[1 or B, H, L, L]`
    pub fn forward(&self, Stream { x, normed }: Stream, bias: &Bias, next: Option<&LayerNorm>) -> Stream {
        let branch = self.self_attn.forward(normed, bias);
        let stream = self.self_attn_branch.end(x, branch, self.feed_forward.pre_norm());
        self.feed_forward.forward(stream, next)
    }
}

#[derive(Module, Debug)]
pub struct DecoderLayer {
    self_attn: SelfAttention,
    self_attn_branch: AttentionBranch,
    cross_attn: CrossAttention,
    cross_attn_branch: AttentionBranch,
    feed_forward: FeedForward,
}

impl DecoderLayer {
    pub fn new(config: &OfaConfig, path: &mut Path, options: &LayerOptions) -> Result<Self> {
        Ok(Self {
            self_attn: SelfAttention::new(config, &mut path.child("self_attn"), options.heads)?,
            self_attn_branch: AttentionBranch::new(config, path, "self_attn", options)?,
            cross_attn: CrossAttention::new(config, &mut path.child("cross_attn"), options.heads)?,
            cross_attn_branch: AttentionBranch::new(config, path, "cross_attn", options)?,
            feed_forward: FeedForward::new(config, path, options)?,
        })
    }

    /// The norm with which the layer begins.
    pub fn pre_norm(&self) -> Option<&LayerNorm> {
        self.self_attn_branch.pre_norm()
    }

    pub fn self_projections(&self) -> &SelfProjections {
        self.self_attn.projections()
    }

    /// The keys and values of the encoder's output.
    pub fn cross_keys_values(&self, encoded: Tensor<3>) -> KeysValues {
        self.cross_attn.keys_values(encoded)
    }

    /// The layer called `index` over new tokens; its keys and values join the past.
    ///
    /// # Shapes
    /// x `[N, T, C]`, biases as in [`SelfAttention::forward_after`] and [`CrossAttention::forward`]; where the
    /// cross-attention looks is added to `watched`
    pub fn forward(
        &self,
        index: usize,
        Stream { x, normed }: Stream,
        (past, own_bias): (&mut Past, &Bias),
        (encoded, cross_bias): (&KeysValues, &Bias),
        next: Option<&LayerNorm>,
        watched: Option<&mut Vec<Tensor<4>>>,
    ) -> Stream {
        let branch = self.self_attn.forward_after(index, past, normed, own_bias);
        let Stream { x, normed } = self.self_attn_branch.end(x, branch, self.cross_attn_branch.pre_norm());
        if let Some(watched) = watched {
            watched.push(self.cross_attn.weights(normed.clone(), encoded, cross_bias));
        }
        let branch = self.cross_attn.forward(normed, encoded, cross_bias);
        let stream = self.cross_attn_branch.end(x, branch, self.feed_forward.pre_norm());
        self.feed_forward.forward(stream, next)
    }
}

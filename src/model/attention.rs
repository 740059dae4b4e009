//! Multi-head attention with head scaling (reference §1.7).

use super::parameters::Path;
use super::position::{score_scale, split_heads};
use super::regularize::dropout;
use crate::config::OfaConfig;
use crate::error::Result;
use crate::kernels::{Activation, LayerNorm, Linear, attention};
use burn::module::{Module, Param};
use burn::tensor::{Tensor, activation};

#[derive(Module, Debug)]
pub struct MultiheadAttention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    /// Scales each head's context before the output projection.
    c_attn: Option<Param<Tensor<1>>>,
    heads: usize,
    scale: f64,
}

/// Keys and values of one attention, `[B, H, L, D]` each.
#[derive(Debug, Clone)]
pub struct KeysValues {
    pub k: Tensor<4>,
    pub v: Tensor<4>,
}

impl KeysValues {
    /// These and then those.
    pub fn then(self, next: KeysValues) -> KeysValues {
        KeysValues { k: Tensor::cat(vec![self.k, next.k], 2), v: Tensor::cat(vec![self.v, next.v], 2) }
    }
}

impl MultiheadAttention {
    pub fn new(config: &OfaConfig, path: &mut Path, heads: usize) -> Result<Self> {
        let width = config.d_model;
        Ok(Self {
            q_proj: path.linear("q_proj", width, width)?,
            k_proj: path.linear("k_proj", width, width)?,
            v_proj: path.linear("v_proj", width, width)?,
            out_proj: path.linear("out_proj", width, width)?,
            c_attn: config.scale_heads.then(|| path.tensor("c_attn", [heads])).transpose()?,
            heads,
            scale: score_scale(config, heads),
        })
    }

    /// Keys and values for `x`, normalised first where a norm is given.
    ///
    /// # Shapes
    /// `[B, L, C]` → `[B, H, L, D]` twice
    pub fn keys_values(&self, norm: Option<&LayerNorm>, x: Tensor<3>) -> KeysValues {
        let k = self.k_proj.forward_fused(norm, x.clone(), Activation::None);
        let v = self.v_proj.forward_fused(norm, x, Activation::None);
        KeysValues { k: split_heads(k, self.heads), v: split_heads(v, self.heads) }
    }

    /// What [`forward`](Self::forward) weighs the values with; one row of `x` a sample.
    ///
    /// # Shapes
    /// x `[B, T, C]`, k `[B, H, L, D]`, bias `[1 or B, H, T, L]` → `[B, H, T, L]`
    pub fn weights(&self, norm: Option<&LayerNorm>, x: Tensor<3>, k: Tensor<4>, bias: Tensor<4>) -> Tensor<4> {
        let q = self.q_proj.forward_fused(norm, x, Activation::None) * self.scale;
        activation::softmax(split_heads(q, self.heads).matmul(k.swap_dims(2, 3)) + bias, 3)
    }

    /// Attends from `x` to given keys and values. The rows of `x` may be K times the keys' samples: the K beams of
    /// a sample then share its keys, as if they were K·T queries.
    ///
    /// # Shapes
    /// x `[B · K, T, C]`, keys `[B, H, L, D]`, bias `[1 or B, H, T, L]` (`[B · K, H, T, L]` where K is 1)
    pub fn forward(&self, norm: Option<&LayerNorm>, x: Tensor<3>, kv: KeysValues, bias: Tensor<4>) -> Tensor<3> {
        let [rows, length, width] = x.dims();
        let [samples, _, keys, _] = kv.k.dims();
        let beams = rows / samples;
        let q = self.q_proj.forward_fused(norm, x, Activation::None) * self.scale;
        let q = split_heads(q.reshape([samples, beams * length, width]), self.heads);
        let bias = if beams > 1 && length > 1 {
            let [bias_rows, heads, _, _] = bias.dims();
            let bias = bias.unsqueeze_dim::<5>(2).expand([bias_rows, heads, beams, length, keys]);
            bias.reshape([bias_rows, heads, beams * length, keys])
        } else {
            bias
        };
        let mut context = attention(q, kv.k, kv.v, bias);
        if let Some(c_attn) = &self.c_attn {
            context = context * c_attn.val().reshape([1, self.heads, 1, 1]);
        }
        self.out_proj.forward(context.swap_dims(1, 2).reshape([rows, length, width]))
    }
}

/// The way a residual branch around an attention ends: dropout, drop path.
pub fn end_branch(branch: Tensor<3>, dropout_rate: f64, drop_path_rate: f64) -> Tensor<3> {
    super::regularize::drop_path(dropout(branch, dropout_rate), drop_path_rate)
}

//! Multi-head attention with head scaling (reference §1.7).

use super::parameters::Path;
use super::position::score_scale;
use super::regularize::dropout;
use crate::config::OfaConfig;
use crate::error::Result;
use crate::kernels::{Bias, Columns, Heads, KeysValues, Linear, Past, SelfProjections, attention, attention_weights};
use burn::module::{Module, Param};
use burn::tensor::Tensor;

/// What every attention has behind its projections.
#[derive(Module, Debug)]
pub struct AttentionOutput {
    out_proj: Linear,
    /// Scales each head's context before the output projection.
    c_attn: Option<Param<Tensor<1>>>,
    heads: usize,
    scale: f64,
}

impl AttentionOutput {
    fn new(config: &OfaConfig, path: &mut Path, heads: usize) -> Result<Self> {
        let width = config.d_model;
        Ok(Self {
            out_proj: path.linear("out_proj", width, width)?,
            c_attn: config.scale_heads.then(|| path.tensor("c_attn", [heads])).transpose()?,
            heads,
            scale: score_scale(config, heads),
        })
    }

    fn heads(&self) -> Heads {
        Heads { count: self.heads, scale: self.scale, scales: self.c_attn.as_ref().map(Param::val) }
    }
}

/// Attention of a sequence to itself.
#[derive(Module, Debug)]
pub struct SelfAttention {
    projections: SelfProjections,
    output: AttentionOutput,
}

impl SelfAttention {
    pub fn new(config: &OfaConfig, path: &mut Path, heads: usize) -> Result<Self> {
        let projections = path.self_projections(config.d_model)?;
        Ok(Self { projections, output: AttentionOutput::new(config, path, heads)? })
    }

    pub fn projections(&self) -> &SelfProjections {
        &self.projections
    }

    /// All positions see one another, as the bias lets them.
    ///
    /// # Shapes
    /// x `[B, L, C]`, bias `[1 or B, H, L, L]`
    pub fn forward(&self, x: Tensor<3>, bias: &Bias) -> Tensor<3> {
        let [q, k, v] = self.projections.forward(x);
        let kv = KeysValues { k, v };
        self.output.out_proj.forward(attention(&q, &kv, bias, &self.output.heads()))
    }

    /// The positions of `x` see the past and one another, as the bias lets them, and join the past.
    ///
    /// # Shapes
    /// x `[N, T, C]`, bias `[1 or N, H, T, all keys]`
    pub fn forward_after(&self, layer: usize, past: &mut Past, x: Tensor<3>, bias: &Bias) -> Tensor<3> {
        let context = past.attend(layer, &self.projections, x, bias, &self.output.heads());
        self.output.out_proj.forward(context)
    }
}

/// Attention of one sequence to another.
#[derive(Module, Debug)]
pub struct CrossAttention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    output: AttentionOutput,
}

impl CrossAttention {
    pub fn new(config: &OfaConfig, path: &mut Path, heads: usize) -> Result<Self> {
        let width = config.d_model;
        Ok(Self {
            q_proj: path.linear("q_proj", width, width)?,
            k_proj: path.linear("k_proj", width, width)?,
            v_proj: path.linear("v_proj", width, width)?,
            output: AttentionOutput::new(config, path, heads)?,
        })
    }

    /// Keys and values of the other sequence, never normalised here.
    ///
    /// # Shapes
    /// `[B, L, C]`
    pub fn keys_values(&self, other: Tensor<3>) -> KeysValues {
        let [k, v] = [&self.k_proj, &self.v_proj].map(|linear| Columns::all(linear.forward(other.clone())));
        KeysValues { k, v }
    }

    /// What [`forward`](Self::forward) weighs the values with; one row of `x` a sample.
    ///
    /// # Shapes
    /// x `[B, T, C]` → `[B, H, T, L]`
    pub fn weights(&self, x: Tensor<3>, kv: &KeysValues, bias: &Bias) -> Tensor<4> {
        attention_weights(&Columns::all(self.q_proj.forward(x)), kv, bias, &self.output.heads())
    }

    /// The rows of `x` may be K times the keys' samples: the K beams of a sample then share its keys.
    ///
    /// # Shapes
    /// x `[B · K, T, C]`, bias `[1 or B, H, T, L]`
    pub fn forward(&self, x: Tensor<3>, kv: &KeysValues, bias: &Bias) -> Tensor<3> {
        let q = Columns::all(self.q_proj.forward(x));
        self.output.out_proj.forward(attention(&q, kv, bias, &self.output.heads()))
    }
}

/// The way a residual branch around an attention ends: dropout, drop path.
pub fn end_branch(branch: Tensor<3>, dropout_rate: f64, drop_path_rate: f64) -> Tensor<3> {
    super::regularize::drop_path(dropout(branch, dropout_rate), drop_path_rate)
}

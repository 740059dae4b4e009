//! Softmax attention with an additive bias.

use super::arguments::Moment;
use super::gpu;
use super::host;
use burn::tensor::{Int, Tensor, activation};

/// Added to the scores of keys that must not be seen. Not -inf: a row in which every key is masked (the padded
/// query of a sample without image) stays finite, and WGSL has no literal for infinity.
pub const MASKED: f32 = -1e30;

/// What all attentions of a module share.
#[derive(Debug, Clone)]
pub struct Heads {
    pub count: usize,
    /// Of the product of a query and a key.
    pub scale: f64,
    /// Of each head's context, `[H]`.
    pub scales: Option<Tensor<1>>,
}

/// Queries, keys or values: `width` columns of a tensor `[B, L, ..]`, from `column` on.
#[derive(Debug, Clone)]
pub struct Columns {
    pub tensor: Tensor<3>,
    pub column: usize,
    pub width: usize,
}

impl Columns {
    /// All columns.
    pub fn all(tensor: Tensor<3>) -> Self {
        let [_, _, width] = tensor.dims();
        Self { tensor, column: 0, width }
    }

    /// All columns in `N` equal parts.
    pub fn parts<const N: usize>(tensor: &Tensor<3>) -> [Self; N] {
        let [_, _, all] = tensor.dims();
        let width = all / N;
        std::array::from_fn(|part| Self { tensor: tensor.clone(), column: part * width, width })
    }

    /// The columns as a tensor of their own.
    ///
    /// # Shapes
    /// → `[B, L, width]`
    pub fn values(&self) -> Tensor<3> {
        let [batch, length, all] = self.tensor.dims();
        if self.width == all {
            return self.tensor.clone();
        }
        self.tensor.clone().slice([0..batch, 0..length, self.column..self.column + self.width])
    }

    /// Columns of the whole tensor.
    pub fn stride(&self) -> usize {
        self.tensor.dims()[2]
    }

    /// # Shapes
    /// → `[B, H, L, D]`
    fn split(&self, heads: usize) -> Tensor<4> {
        split_heads(self.values(), heads)
    }

    fn select(&self, samples: &Tensor<1, Int>) -> Self {
        Self::all(self.values().select(0, samples.clone()))
    }
}

/// Rows of an additive bias, from `first` on.
#[derive(Debug, Clone)]
pub struct Bias {
    /// `[1 or more, H, first + T or more, L or more]`
    pub values: Tensor<4>,
    pub first: usize,
    /// The pass that says the first row too, for kernels of a GPU.
    pub moment: Option<Moment>,
}

impl Bias {
    pub fn new(values: Tensor<4>) -> Self {
        Self { values, first: 0, moment: None }
    }

    fn rows(&self, length: usize, keys: usize) -> Tensor<4> {
        let [batch, heads, _, _] = self.values.dims();
        self.values.clone().slice([0..batch, 0..heads, self.first..self.first + length, 0..keys])
    }
}

/// Keys and values as projections wrote them, `[B, L, C]` each.
#[derive(Debug, Clone)]
pub struct KeysValues {
    pub k: Columns,
    pub v: Columns,
}

impl KeysValues {
    /// These samples in this order.
    pub fn select(&self, samples: &Tensor<1, Int>) -> Self {
        Self { k: self.k.select(samples), v: self.v.select(samples) }
    }

    /// These and, behind them, more of the same samples.
    pub fn join(self, more: Self) -> Self {
        let join = |a: Columns, b: Columns| Columns::all(Tensor::cat(vec![a.values(), b.values()], 1));
        Self { k: join(self.k, more.k), v: join(self.v, more.v) }
    }
}

/// softmax(scale · q kᵀ + bias) v, each head scaled. The rows of q may be K times the keys' samples: the K beams of a
/// sample then share its keys.
///
/// # Shapes
/// q `[B · K, T, C]`, keys of B samples, a bias of 1, B or (where K is 1 or T is 1) B · K → `[B · K, T, C]`
pub fn attention(q: &Columns, kv: &KeysValues, bias: &Bias, heads: &Heads) -> Tensor<3> {
    let found = if gpu::serves(&q.tensor.device()) {
        gpu::attention(q, &kv.k, &kv.v, bias, heads)
    } else {
        host::attention(q, kv, bias, heads)
    };
    found.unwrap_or_else(|| plain_attention(q, kv, bias, heads))
}

/// What [`attention`] weighs the values with; one row of q a sample.
///
/// # Shapes
/// q `[B, T, C]` → `[B, H, T, L]`
pub fn attention_weights(q: &Columns, kv: &KeysValues, bias: &Bias, heads: &Heads) -> Tensor<4> {
    let scores = if gpu::serves(&q.tensor.device()) {
        gpu::scores(q.values(), kv.k.values(), heads.count, heads.scale, None)
    } else {
        products(q.split(heads.count) * heads.scale, kv.k.split(heads.count))
    };
    let [_, _, length, keys] = scores.dims();
    activation::softmax(scores + bias.rows(length, keys), 3)
}

/// As [`attention`], of plain tensors.
pub fn plain_attention(q: &Columns, kv: &KeysValues, bias: &Bias, heads: &Heads) -> Tensor<3> {
    let q = q.values() * heads.scale;
    let [k, v] = [&kv.k, &kv.v].map(|columns| columns.split(heads.count));
    let [rows, length, width] = q.dims();
    let [samples, _, keys, _] = k.dims();
    let beams = rows / samples;
    // As if the beams of a sample were so many more queries.
    let q = split_heads(q.reshape([samples, beams * length, width]), heads.count);
    let bias = bias.rows(length, keys);
    let [bias_rows, count, _, _] = bias.dims();
    let bias = if beams > 1 && bias_rows == rows {
        bias.reshape([samples, beams, count, keys]).swap_dims(1, 2)
    } else if beams > 1 && length > 1 {
        let bias = bias.unsqueeze_dim::<5>(2).expand([bias_rows, count, beams, length, keys]);
        bias.reshape([bias_rows, count, beams * length, keys])
    } else {
        bias
    };
    let scores = products(q, k) + bias;
    let weights = host::gradients::softmax(&scores).unwrap_or_else(|| activation::softmax(scores, 3));
    let mut context = products(weights, v.swap_dims(2, 3));
    if let Some(scales) = &heads.scales {
        context = context * scales.clone().reshape([1, heads.count, 1, 1]);
    }
    context.swap_dims(1, 2).reshape([rows, length, width])
}

/// scale · q kᵀ + mask, head by head.
///
/// # Shapes
/// q `[1 or B, T, C]`, k `[1 or B, L, C]`, mask `[1 or B, 1, 1 or T, L]` → `[1 or B, H, T, L]`
pub fn scores(q: Tensor<3>, k: Tensor<3>, heads: usize, scale: f64, mask: Option<Tensor<4>>) -> Tensor<4> {
    if gpu::serves(&q.device()) {
        return gpu::scores(q, k, heads, scale, mask);
    }
    let q = q * scale;
    let scores = host::scores(&q, &k, heads)
        .unwrap_or_else(|| split_heads(q, heads).matmul(split_heads(k, heads).swap_dims(2, 3)));
    match mask {
        Some(mask) => scores + mask,
        None => scores,
    }
}

/// a bᵀ, matrix by matrix.
///
/// # Shapes
/// `[B, H, n, k]`, `[B, H, m, k]` → `[B, H, n, m]`
pub fn products(a: Tensor<4>, b: Tensor<4>) -> Tensor<4> {
    if gpu::serves(&a.device()) {
        let ([batch, heads, n, inner], [_, _, m, _]) = (a.dims(), b.dims());
        let [a, b] = [(a, n), (b, m)].map(|(x, rows)| x.reshape([batch * heads, rows, inner]));
        return gpu::scores(a, b, 1, 1.0, None).reshape([batch, heads, n, m]);
    }
    a.matmul(b.swap_dims(2, 3))
}

/// # Shapes
/// `[B, T, C]` → `[B, H, T, D]`
pub fn split_heads(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [batch, length, width] = x.dims();
    x.reshape([batch, length, heads, width / heads]).swap_dims(1, 2)
}

//! What a decoder's self-attentions remember of the tokens decoded so far.

use super::arguments::Slots;
use super::attention::{Bias, Columns, Heads, KeysValues, attention};
use super::embedding::MAX_BINDING_BYTES;
use super::gpu;
use super::linear::Linear;
use super::upload::indices;
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};

/// The projections of a self-attention: one matrix where the model only answers, since they read the same input, unless
/// they are packed in several ways.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // There is one a layer.
pub enum SelfProjections {
    /// Queries, keys, values.
    Joined(Linear),
    Apart(ApartProjections),
}

#[derive(Module, Debug)]
pub struct ApartProjections {
    pub q_proj: Linear,
    pub k_proj: Linear,
    pub v_proj: Linear,
}

impl SelfProjections {
    /// Queries, keys and values.
    pub fn forward(&self, x: Tensor<3>) -> [Columns; 3] {
        match self {
            Self::Joined(linear) => Columns::parts(&linear.forward(x)),
            Self::Apart(ApartProjections { q_proj, k_proj, v_proj }) => {
                [q_proj.forward(x.clone()), k_proj.forward(x.clone()), v_proj.forward(x)].map(Columns::all)
            }
        }
    }
}

/// Keys and values of all layers.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // There is one an answer.
pub enum Past {
    /// A layer each; `None` before the first token.
    Rows(Vec<Option<KeysValues>>),
    Tables(Tables),
}

/// Rows of projections, written once and never moved: beams that change places take only their lists of slots along.
#[derive(Debug)]
pub struct Tables {
    device: Device,
    /// A layer each, `[rows, 3 · C]`; `None` before the first token.
    layers: Vec<Option<Tensor<2>>>,
    /// For each row of the batch the table's row of each of its tokens.
    slots: Vec<Vec<u32>>,
    /// Rows written so far, those of the pass at hand among them.
    used: usize,
    /// Tokens to make room for at first.
    tokens: usize,
    /// Columns of a table.
    width: usize,
    pass: Option<Pass>,
}

/// One pass through the decoder.
#[derive(Debug)]
struct Pass {
    /// Rows of the batch and new tokens of each.
    queries: [usize; 2],
    /// The new tokens' first row.
    first: usize,
    /// `[rows of the batch · keys]`
    slots: Tensor<1, Int>,
}

impl Past {
    /// Of a decoder whose self-attentions project with `projections`, for answers of up to `tokens` tokens.
    pub fn new<'a>(
        projections: impl ExactSizeIterator<Item = &'a SelfProjections>,
        heads: usize,
        tokens: usize,
        device: &Device,
    ) -> Self {
        let layers = projections.len();
        let widths: Option<Vec<usize>> = projections
            .map(|projections| match projections {
                SelfProjections::Joined(linear) => {
                    let [outputs, _] = linear.weight.dims();
                    gpu::remembers(device, linear.weight.dims(), heads, tokens).then_some(outputs)
                }
                SelfProjections::Apart(_) => None,
            })
            .collect();
        let Some(width) = widths.and_then(|widths| widths.into_iter().max()) else {
            return Self::Rows(vec![None; layers]);
        };
        let layers = vec![None; layers];
        let (device, slots) = (device.clone(), Vec::new());
        Self::Tables(Tables { device, layers, slots, used: 0, tokens, width, pass: None })
    }

    /// A pass of `rows` rows begins, of `length` tokens each.
    pub fn begin_pass(&mut self, rows: usize, length: usize) {
        let Self::Tables(tables) = self else { return };
        if tables.room(rows, length) * tables.width * size_of::<f32>() > MAX_BINDING_BYTES {
            *self = Self::Rows(tables.rows());
        } else {
            tables.begin_pass(rows, length);
        }
    }

    /// The self-attention of one layer over all that it remembers and the tokens of this pass.
    ///
    /// # Shapes
    /// x `[N, T, C]` → `[N, T, C]`
    pub fn attend(
        &mut self,
        layer: usize,
        projections: &SelfProjections,
        x: Tensor<3>,
        bias: &Bias,
        heads: &Heads,
    ) -> Tensor<3> {
        match self {
            Self::Rows(layers) => {
                let [q, k, v] = projections.forward(x);
                let new = KeysValues { k, v };
                let all = match layers[layer].take() {
                    Some(past) => past.join(new),
                    None => new,
                };
                attention(&q, layers[layer].insert(all), bias, heads)
            }
            Self::Tables(tables) => {
                let SelfProjections::Joined(linear) = projections else {
                    unreachable!("tables are made for joined projections only")
                };
                tables.attend(layer, linear, x, bias, heads)
            }
        }
    }

    /// Reorders the rows: for each new one the old one.
    pub fn select(&mut self, rows: &[usize]) {
        match self {
            Self::Rows(layers) => {
                let Some(Some(KeysValues { k: Columns { tensor: first, .. }, .. })) = layers.first() else { return };
                let unchanged = first.dims()[0] == rows.len() && rows.iter().enumerate().all(|(new, old)| new == *old);
                if unchanged {
                    return;
                }
                let rows = indices(rows.iter().copied(), &first.device());
                for kv in layers.iter_mut().flatten() {
                    *kv = kv.select(&rows);
                }
            }
            Self::Tables(tables) if tables.used > 0 => {
                tables.slots = rows.iter().map(|row| tables.slots[*row].clone()).collect();
            }
            Self::Tables(_) => {}
        }
    }
}

impl Tables {
    /// Rows that a table has after another pass.
    fn room(&self, rows: usize, length: usize) -> usize {
        let needed = self.used + rows * length;
        match self.layers.first() {
            Some(Some(table)) if needed > table.dims()[0] => needed.max(2 * table.dims()[0]),
            Some(Some(table)) => table.dims()[0],
            _ => needed.max(rows * self.tokens),
        }
    }

    /// What is remembered, in tensors of its own, for more rows than one binding holds.
    fn rows(&mut self) -> Vec<Option<KeysValues>> {
        let (rows, keys) = (self.slots.len(), self.slots.first().map_or(0, Vec::len));
        let slots = indices(self.slots.iter().flatten().map(|slot| *slot as usize), &self.device);
        let rows = |table: Tensor<2>| {
            let [_, width] = table.dims();
            let [_, k, v] = Columns::parts(&table.select(0, slots.clone()).reshape([rows, keys, width]));
            KeysValues { k, v }
        };
        self.layers.iter_mut().map(|table| table.take().map(rows)).collect()
    }

    fn begin_pass(&mut self, rows: usize, length: usize) {
        self.slots.resize(rows, Vec::new());
        let first = self.used;
        for (row, slots) in self.slots.iter_mut().enumerate() {
            slots.extend((first + row * length..first + (row + 1) * length).map(|slot| slot as u32));
        }
        self.used += rows * length;
        let slots = gpu::words(self.slots.concat(), &self.device);
        self.pass = Some(Pass { queries: [rows, length], first, slots });
    }

    fn attend(&mut self, layer: usize, linear: &Linear, x: Tensor<3>, bias: &Bias, heads: &Heads) -> Tensor<3> {
        let pass = self.pass.as_ref().expect("a pass has begun");
        let [rows, length, width] = x.dims();
        let [outputs, _] = linear.weight.dims();
        let table = match self.layers[layer].take() {
            Some(table) if table.dims()[0] >= self.used => table,
            Some(table) => {
                let [full, _] = table.dims();
                let more = Tensor::empty([self.used.max(2 * full) - full, outputs], &self.device);
                Tensor::cat(vec![table, more], 0)
            }
            None => Tensor::empty([self.used.max(rows * self.tokens), outputs], &self.device),
        };
        linear.write_into(x.reshape([rows * length, width]), &table, pass.first);
        let [capacity, _] = table.dims();
        let slots = Slots {
            rows: &pass.slots,
            keys: self.slots.first().map_or(0, Vec::len),
            first_query: pass.first,
            queries: pass.queries,
        };
        let columns = Columns::parts(&table.clone().reshape([1, capacity, outputs]));
        self.layers[layer] = Some(table);
        gpu::attention_in_table(&columns, slots, bias, heads).expect("tables are made for shapes that kernels take")
    }
}

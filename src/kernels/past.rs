//! What a decoder's self-attentions remember of the tokens decoded so far.

use super::arguments::Moment;
use super::attention::{Bias, Columns, Heads, KeysValues, attention};
use super::embedding::MAX_BINDING_BYTES;
use super::gpu;
use super::linear::Linear;
use super::upload::indices;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

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
    /// A layer each, `[rows, 3 · C]`; empty before the first token.
    layers: Vec<Tensor<2>>,
    /// Layers of the decoder.
    count: usize,
    /// For each row of the batch the table's row of each of its tokens.
    slots: Vec<Vec<u32>>,
    /// Rows written so far, those of the pass at hand among them.
    used: usize,
    /// Tokens to make room for at first.
    tokens: usize,
    /// Columns of a table.
    width: usize,
    /// The pass at hand.
    moment: Option<Moment>,
    /// How often something of this was laid elsewhere.
    moves: usize,
}

/// Tokens for which room is made at a time.
const ROOM: usize = 32;

impl Past {
    /// Of a decoder whose self-attentions project with `projections`, for answers of up to `tokens` tokens to sources of
    /// `source` positions.
    pub fn new<'a>(
        projections: impl ExactSizeIterator<Item = &'a SelfProjections>,
        heads: usize,
        [tokens, source]: [usize; 2],
        device: &Device,
    ) -> Self {
        let layers = projections.len();
        let widths: Option<Vec<usize>> = projections
            .map(|projections| match projections {
                SelfProjections::Joined(linear) => {
                    let [outputs, _] = linear.weight.dims();
                    gpu::remembers(device, linear.weight.dims(), heads, tokens.max(source)).then_some(outputs)
                }
                SelfProjections::Apart(_) => None,
            })
            .collect();
        let Some(width) = widths.and_then(|widths| widths.into_iter().max()) else {
            return Self::Rows(vec![None; layers]);
        };
        Self::Tables(Tables {
            device: device.clone(),
            layers: Vec::new(),
            count: layers,
            slots: Vec::new(),
            used: 0,
            tokens,
            width,
            moment: None,
            moves: 0,
        })
    }

    /// A pass begins, of `length` tokens of each of `rows` rows, which see the biases from row `first_bias` on.
    pub fn begin_pass(&mut self, [rows, length]: [usize; 2], ids: &[u32], first_bias: usize) {
        let Self::Tables(tables) = self else { return };
        if tables.most_rows() < tables.used + rows * length {
            *self = Self::Rows(tables.rows());
        } else {
            tables.begin_pass([rows, length], ids, first_bias);
        }
    }

    /// The pass at hand, where launches read what it is about.
    pub fn moment(&self) -> Option<&Moment> {
        match self {
            Self::Rows(_) => None,
            Self::Tables(tables) => tables.moment.as_ref(),
        }
    }

    /// How often something that launches read was laid elsewhere.
    pub fn moves(&self) -> usize {
        match self {
            Self::Rows(_) => 0,
            Self::Tables(tables) => tables.moves,
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
    /// Rows that one binding holds.
    fn most_rows(&self) -> usize {
        MAX_BINDING_BYTES / size_of::<f32>() / self.width
    }

    /// Tokens decoded so far.
    fn keys(&self) -> usize {
        self.slots.first().map_or(0, Vec::len)
    }

    /// Rows of each table.
    fn capacity(&self) -> usize {
        self.layers.first().map_or(0, |table| table.dims()[0])
    }

    /// Makes room for a pass and those behind it: before the first one for an answer of as many rows, later for some tokens of
    /// each.
    fn make_room(&mut self, [rows, length]: [usize; 2]) {
        let (capacity, keys) = (self.capacity(), self.keys());
        let ahead = self.tokens.saturating_sub(keys).min(ROOM - keys % ROOM).max(length);
        let wanted = if capacity == 0 { rows * self.tokens } else { self.used + rows * ahead };
        let wanted = wanted.clamp(self.used + rows * length, self.most_rows());
        if wanted <= capacity {
            return;
        }
        let shape = [wanted.max((2 * capacity).min(self.most_rows())) - capacity, self.width];
        let more = (0..self.count).map(|_| Tensor::empty(shape, &self.device));
        self.layers = if capacity == 0 {
            more.collect()
        } else {
            self.layers.drain(..).zip(more).map(|(table, more)| Tensor::cat(vec![table, more], 0)).collect()
        };
        self.moves += 1;
    }

    /// What is remembered, in tensors of its own, for more rows than one binding holds.
    fn rows(&mut self) -> Vec<Option<KeysValues>> {
        let (rows, keys) = (self.slots.len(), self.keys());
        let slots = indices(self.slots.iter().flatten().map(|slot| *slot as usize), &self.device);
        let rows = |table: Tensor<2>| {
            let [_, width] = table.dims();
            let [_, k, v] = Columns::parts(&table.select(0, slots.clone()).reshape([rows, keys, width]));
            KeysValues { k, v }
        };
        let mut layers: Vec<Option<KeysValues>> = self.layers.drain(..).map(rows).map(Some).collect();
        layers.resize_with(self.count, || None);
        layers
    }

    fn begin_pass(&mut self, [rows, length]: [usize; 2], ids: &[u32], first_bias: usize) {
        self.make_room([rows, length]);
        self.slots.resize(rows, Vec::new());
        let first = self.used;
        for (row, slots) in self.slots.iter_mut().enumerate() {
            slots.extend((first + row * length..first + (row + 1) * length).map(|slot| slot as u32));
        }
        self.used += rows * length;
        let keys = self.keys();
        let mut words: Vec<u32> = [first, keys, first_bias].map(|word| word as u32).to_vec();
        words.extend(ids.iter().chain(self.slots.iter().flatten()));
        words.resize(words.len() + rows * (keys.next_multiple_of(ROOM) - keys), 0);
        let there = self.moment.take().map(|moment| moment.words).filter(|there| there.dims()[0] >= words.len());
        let words = match there {
            Some(there) => {
                gpu::rewrite(&there, words);
                there
            }
            None => {
                self.moves += 1;
                gpu::words(words, &self.device)
            }
        };
        self.moment = Some(Moment { words, queries: [rows, length], keys });
    }

    fn attend(&self, layer: usize, linear: &Linear, x: Tensor<3>, bias: &Bias, heads: &Heads) -> Tensor<3> {
        let moment = self.moment.as_ref().expect("a pass has begun");
        let [rows, length, width] = x.dims();
        let table = &self.layers[layer];
        linear.write_into(x.reshape([rows * length, width]), table, moment);
        let columns = Columns::parts(&table.clone().reshape([1, self.capacity(), self.width]));
        gpu::attention_in_table(&columns, bias, heads).expect("tables are made for shapes that kernels take")
    }
}

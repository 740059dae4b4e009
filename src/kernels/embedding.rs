//! A table of rows: looked up by id, and multiplied with as the tied output projection.

use super::arguments::Moment;
use super::gpu;
use super::linear::Activation;
use super::next_token::NextTokens;
use super::upload::tensor;
use super::weight::Weight;
use burn::module::{Module, ParamId};
use burn::tensor::{Device, Tensor};
use std::sync::Arc;

/// WebGPU's default limit of a storage binding. A table beyond it lies in several tensors of whole rows.
pub const MAX_BINDING_BYTES: usize = 128 << 20;

/// An embedding table `[V, C]`, split by rows where one binding could not hold it.
#[derive(Module, Debug)]
pub struct Table {
    parts: Vec<Weight>,
}

/// Some rows of a [`Table`], packed as they are there.
#[derive(Debug, Clone)]
pub struct Choice {
    weight: Weight,
    /// In ascending order.
    ids: Arc<[u32]>,
}

/// A choice of rows is worth its copy up to one row in so many.
const CHOSEN_SHARE: usize = 4;

impl Table {
    /// `parts` are the table's rows from top to bottom.
    pub fn new(parts: Vec<Weight>) -> Self {
        Self { parts }
    }

    /// Rows of so many bytes that fit one binding.
    pub fn rows_per_part(row_bytes: usize) -> usize {
        (MAX_BINDING_BYTES / row_bytes.max(1)).max(1)
    }

    /// The ids of its parts.
    pub fn ids(&self) -> impl Iterator<Item = ParamId> {
        self.parts.iter().filter_map(Weight::id)
    }

    pub fn device(&self) -> Device {
        self.parts[0].device()
    }

    /// The rows with these ids.
    ///
    /// # Shapes
    /// n ids → `[n, C]`
    pub fn rows(&self, ids: &[u32]) -> Tensor<2> {
        let device = self.device();
        let mut start = 0;
        let mut sum: Option<Tensor<2>> = None;
        for part in &self.parts {
            let [rows, _] = part.dims();
            let local = |id: &u32| (*id as usize).checked_sub(start).filter(|row| *row < rows);
            let numbers: Vec<u32> = ids.iter().map(|id| local(id).unwrap_or(0) as u32).collect();
            let found = part.rows(&numbers);
            let found = if self.parts.len() == 1 {
                found
            } else {
                let here: Vec<f32> = ids.iter().map(|id| f32::from(local(id).is_some())).collect();
                found * tensor(here, [ids.len(), 1], &device)
            };
            sum = Some(match sum {
                Some(sum) => sum + found,
                None => found,
            });
            start += rows;
        }
        sum.expect("a table has at least one part")
    }

    /// The rows of the new tokens of a pass through the decoder.
    ///
    /// # Shapes
    /// → `[new tokens, C]`
    pub fn rows_of_pass(&self, moment: &Moment) -> Tensor<2> {
        let mut start = 0;
        let parts = self.parts.iter().map(|part| {
            let found = gpu::rows_of_pass(part, moment, start);
            start += part.dims()[0];
            found
        });
        parts.reduce(|sum, found| sum + found).expect("a table has at least one part")
    }

    /// The rows with these ids, in ascending order, for products with them alone; `None` where they are so many that
    /// products with all are as fast.
    pub fn choice(&self, ids: &[u32]) -> Option<Choice> {
        let (count, width) =
            self.parts.iter().map(Weight::dims).fold((0, 0), |(sum, _), [rows, width]| (sum + rows, width));
        let few = ids.len() * CHOSEN_SHARE <= count && ids.len() * width * size_of::<f32>() <= MAX_BINDING_BYTES;
        if ids.is_empty() || !few {
            return None;
        }
        let (mut chosen, mut start) = (Vec::new(), 0);
        for part in &self.parts {
            let end = start + part.dims()[0] as u32;
            let within = ids.partition_point(|id| *id < start)..ids.partition_point(|id| *id < end);
            let numbers: Vec<u32> = ids[within].iter().map(|id| id - start).collect();
            chosen.extend((!numbers.is_empty()).then(|| part.take(&numbers)));
            start = end;
        }
        let weight =
            if chosen.len() == 1 { chosen.remove(0) } else { Weight::join(&chosen.iter().collect::<Vec<_>>())? };
        Some(Choice { weight, ids: ids.into() })
    }

    /// The scores of what may come behind `hidden`, `[n, C]`.
    pub fn next_tokens(&self, hidden: Tensor<2>) -> NextTokens {
        match &self.parts[..] {
            [Weight::Split(weight)] => NextTokens::Behind(hidden, weight.clone()),
            _ => NextTokens::Logits(self.project(hidden)),
        }
    }

    /// `x Eᵀ`.
    ///
    /// # Shapes
    /// `[n, C]` → `[n, V]`
    pub fn project(&self, x: Tensor<2>) -> Tensor<2> {
        let mut products: Vec<Tensor<2>> =
            self.parts.iter().map(|part| part.linear(x.clone(), None, Activation::None)).collect();
        if products.len() == 1 { products.remove(0) } else { Tensor::cat(products, 1) }
    }
}

impl Choice {
    /// The scores of what may come behind `hidden`, `[n, C]`, were there no other tokens.
    pub fn next_tokens(&self, hidden: Tensor<2>) -> NextTokens {
        NextTokens::Among(self.project(hidden), self.ids.clone())
    }

    /// # Shapes
    /// `[n, C]` → `[n, ids]`
    pub fn project(&self, x: Tensor<2>) -> Tensor<2> {
        self.weight.linear(x, None, Activation::None)
    }

    /// The column of a token, if it is one of these.
    pub fn column(&self, id: u32) -> Option<u32> {
        column(&self.ids, id)
    }
}

/// The place of a token among those in ascending order.
pub(super) fn column(ids: &[u32], id: u32) -> Option<u32> {
    ids.binary_search(&id).ok().map(|place| place as u32)
}

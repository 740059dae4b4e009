//! Training for rounded weights: passes see the weights as a quantised bundle stores them, so that the model learns to
//! answer with those. Gradients change the weights behind them as if nothing were rounded (the straight-through
//! estimator of Bengio et al., 2013).

use super::parameters::{Entry, ParameterMap, Section};
use crate::config::{Packing, Quantization};
use crate::error::Result;
use crate::weights::{RawTensor, STEM, Storage, Tensors, as_quantized, change_folded, precision_of};
use burn::tensor::Tensor;
use std::ops::Range;

/// The least step of a group whose weights are all the same, so that nothing is divided by zero.
const LEAST_STEP: f32 = 1e-30;

/// How a row of parameters is rounded.
#[derive(Debug, Clone)]
pub struct Rounding {
    packing: Packing,
    /// All stretches of the row in order, with the packing of those that a bundle packs.
    stretches: Vec<(Range<usize>, Option<Quantization>)>,
}

impl Rounding {
    pub fn new(packing: Packing, map: &ParameterMap) -> Self {
        let stretch = |Entry { name, shape, range, .. }: &Entry| {
            let quantization = packing.of(name);
            let packed = precision_of(name, shape, quantization.group_size) == Storage::Packed;
            (range.clone(), packed.then_some(quantization))
        };
        let stretches = map.entries(Section::Parameters).map(stretch).collect();
        Self { packing, stretches }
    }

    /// Weights `[n]` at the nearest of the values that codes can have which span their group's range. A bundle holds
    /// these, but for scales and biases in f16, which make no difference to learning.
    pub fn round(&self, values: &Tensor<1>) -> Tensor<1> {
        let stretch = |(range, quantization): &(Range<usize>, Option<Quantization>)| {
            #[allow(clippy::single_range_in_vec_init)]
            let stretch = values.clone().slice([range.clone()]);
            match quantization {
                Some(quantization) => rounded(stretch, *quantization),
                None => stretch,
            }
        };
        Tensor::cat(self.stretches.iter().map(stretch).collect(), 0)
    }

    /// The trained model's tensors to the last bit as a bundle holds them, which has batch norms folded away.
    ///
    /// # Errors
    /// Those of [`as_quantized`] and [`change_folded`].
    pub fn as_stored(&self, tensors: Tensors<'static>) -> Result<Tensors<'static>> {
        let stored = |name: &str, tensor: &RawTensor<'static>| as_quantized(name, tensor, self.packing.of(name));
        let rounded = change_folded(tensors, stored)?.into_iter().map(|(name, tensor)| {
            let tensor = if name.starts_with(STEM) { tensor } else { stored(&name, &tensor)? };
            Ok((name, tensor))
        });
        rounded.collect()
    }
}

fn rounded(values: Tensor<1>, Quantization { bits, group_size }: Quantization) -> Tensor<1> {
    let [count] = values.dims();
    let groups = values.reshape([count / group_size, group_size]);
    let least = groups.clone().min_dim(1);
    let step = ((groups.clone().max_dim(1) - least.clone()) / Quantization::greatest_code(bits)).clamp_min(LEAST_STEP);
    let codes = ((groups - least.clone()) / step.clone()).round();
    (codes * step + least).reshape([count])
}

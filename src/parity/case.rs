//! One case's tensors, and how they are compared.

use crate::error::{Error, Result};
pub use crate::kernels::floats as read;
use crate::kernels::tensor;
use crate::model::TokenBatch;
use crate::weights::{Dtype, RawTensor, read_shard};
use burn::tensor::{Device, Tensor};
use serde_json::Value;
use std::collections::BTreeMap;

/// Inputs and outputs of one case.
pub struct Case<'a> {
    pub name: &'a str,
    pub entry: &'a Value,
    tensors: BTreeMap<String, RawTensor<'a>>,
    shared: &'a BTreeMap<String, RawTensor<'static>>,
}

impl<'a> Case<'a> {
    pub fn new(
        name: &'a str,
        bytes: &'a [u8],
        entry: &'a Value,
        shared: &'a BTreeMap<String, RawTensor<'static>>,
    ) -> Result<Self> {
        Self::at(&format!("cases/{name}.safetensors"), name, bytes, entry, shared)
    }

    /// A case in a file of another place.
    pub fn at(
        file: &str,
        name: &'a str,
        bytes: &'a [u8],
        entry: &'a Value,
        shared: &'a BTreeMap<String, RawTensor<'static>>,
    ) -> Result<Self> {
        let tensors = read_shard(file, bytes)?.into_iter().collect();
        Ok(Self { name, entry, tensors, shared })
    }

    /// A tensor of the case, or the shared one that the manifest names for it.
    pub fn find(&self, name: &str) -> Option<&RawTensor<'_>> {
        self.tensors.get(name).or_else(|| self.shared.get(self.entry["shared"][name].as_str()?))
    }

    /// The case's own tensors whose names begin with `prefix`.
    pub fn names<'n>(&'n self, prefix: &'n str) -> impl Iterator<Item = &'n str> {
        self.tensors.keys().map(String::as_str).filter(move |name| name.starts_with(prefix))
    }

    pub fn get(&self, name: &str) -> Result<&RawTensor<'_>> {
        self.find(name).ok_or_else(|| Error::tensor(name, format!("to be in case `{}`", self.name), "nothing"))
    }

    pub fn floats(&self, name: &str) -> Result<Vec<f32>> {
        self.get(name)?.to_f32(name)
    }

    pub fn ints(&self, name: &str) -> Result<Vec<i64>> {
        let tensor = self.get(name)?;
        let data = &tensor.data;
        Ok(match tensor.dtype {
            Dtype::I64 => data.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect(),
            Dtype::I32 => data.as_chunks::<4>().0.iter().map(|bytes| i64::from(i32::from_le_bytes(*bytes))).collect(),
            Dtype::U8 | Dtype::Bool => data.iter().map(|byte| i64::from(*byte)).collect(),
            found => return Err(Error::tensor(name, "integers", found)),
        })
    }

    pub fn flags(&self, name: &str) -> Result<Vec<bool>> {
        Ok(self.ints(name)?.into_iter().map(|value| value != 0).collect())
    }

    /// The shape, which must have `D` sides.
    pub fn shape<const D: usize>(&self, name: &str) -> Result<[usize; D]> {
        let shape = &self.get(name)?.shape;
        shape[..].try_into().map_err(|_| Error::tensor(name, format!("{D} sides"), format!("{shape:?}")))
    }

    pub fn tokens(&self, name: &str) -> Result<TokenBatch> {
        let [batch, len] = self.shape(name)?;
        Ok(TokenBatch::new(batch, len, self.ints(name)?.into_iter().map(|id| id as u32).collect()))
    }

    pub fn tensor<const D: usize>(&self, name: &str, device: &Device) -> Result<Tensor<D>> {
        let shape: [usize; D] = self.shape(name)?;
        Ok(tensor(self.floats(name)?, shape, device))
    }

    /// The case's own tensors whose names begin with `prefix`.
    #[cfg(feature = "train")]
    pub fn tensors_below(&self, prefix: &str) -> impl Iterator<Item = (&str, &RawTensor<'_>)> {
        let below = move |(name, _): &(&String, _)| name.starts_with(prefix);
        self.tensors.iter().filter(below).map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// The case's own weights, by parameter name.
    pub fn weights(&self) -> BTreeMap<&str, &RawTensor<'_>> {
        self.tensors.iter().filter_map(|(name, tensor)| Some((name.strip_prefix("w.")?, tensor))).collect()
    }
}

/// Collects the largest difference and fails on the first beyond its tolerance.
#[derive(Debug, Default, Clone, Copy)]
pub struct Differences {
    pub largest: f32,
}

impl Differences {
    /// Compares `found` with `expected`, chunk `i` of `width` values only where `valid(i)`.
    pub fn compare(
        &mut self,
        name: &str,
        [found, expected]: [&[f32]; 2],
        width: usize,
        tolerance: f32,
        valid: impl Fn(usize) -> bool,
    ) -> Result<()> {
        if found.len() != expected.len() {
            return Err(Error::tensor(name, format!("{} values", expected.len()), format!("{}", found.len())));
        }
        for (row, (found, expected)) in found.chunks(width).zip(expected.chunks(width)).enumerate() {
            if !valid(row) {
                continue;
            }
            for (column, (found, expected)) in found.iter().zip(expected).enumerate() {
                let difference = (found - expected).abs();
                // A NaN is beyond every tolerance.
                if difference.is_nan() || difference > tolerance {
                    let expected = format!("{expected} ± {tolerance} at row {row}, column {column}");
                    return Err(Error::tensor(name, expected, found));
                }
                self.largest = self.largest.max(difference);
            }
        }
        Ok(())
    }
}

//! Processes that train one model together: what they add up.

use crate::error::Result;
use burn::tensor::Tensor;
use std::pin::Pin;

/// What becomes of a row of numbers once the other ranks have sent theirs.
pub type Summed<'a> = Pin<Box<dyn Future<Output = Result<Tensor<1>>> + 'a>>;

/// The processes of a run. Sums are the same bits on all of them. [`Workers`](super::Workers) are those of one machine.
pub trait Ranks {
    /// This process's number, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn size(&self) -> usize;

    /// Sums of two numbers over all ranks.
    ///
    /// # Errors
    /// When the others cannot be reached.
    fn sum_pair(&self, values: [f64; 2]) -> Result<[f64; 2]>;

    /// Checks that all ranks have the same number here.
    ///
    /// # Errors
    /// When they do not: their weights have come apart and the run must not go on.
    fn agree(&self, what: &'static str, value: u64) -> Result<()>;

    /// The sum of a row `[n]` over all ranks.
    ///
    /// # Errors
    /// When the others cannot be reached, or the device fails.
    fn sum<'a>(&'a self, values: Tensor<1>) -> Summed<'a>;

    /// For each entry whether it is set on any rank.
    ///
    /// # Errors
    /// When the others cannot be reached.
    fn any(&self, set: Vec<bool>) -> Result<Vec<bool>>;

    /// Ends all ranks, because this one cannot go on and the others would wait for it for ever.
    fn abort(&self);
}

/// One process alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Ranks for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn sum_pair(&self, values: [f64; 2]) -> Result<[f64; 2]> {
        Ok(values)
    }

    fn agree(&self, _what: &'static str, _value: u64) -> Result<()> {
        Ok(())
    }

    fn sum<'a>(&'a self, values: Tensor<1>) -> Summed<'a> {
        Box::pin(std::future::ready(Ok(values)))
    }

    fn any(&self, set: Vec<bool>) -> Result<Vec<bool>> {
        Ok(set)
    }

    /// There are no others: the error that it is called for is enough.
    fn abort(&self) {}
}

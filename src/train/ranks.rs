//! Processes that train one model together: what they add up.

use super::parameters::Gradient;
use crate::error::Result;

/// The processes of a run. Sums are the same bits on all of them.
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

    /// The sum of the gradients of all ranks. An entry counts as reached if it was on any.
    ///
    /// # Errors
    /// When the others cannot be reached, or the device fails.
    fn sum<'a>(&'a self, gradient: Gradient) -> std::pin::Pin<Box<dyn Future<Output = Result<Gradient>> + 'a>>;
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

    fn sum<'a>(&'a self, gradient: Gradient) -> std::pin::Pin<Box<dyn Future<Output = Result<Gradient>> + 'a>> {
        Box::pin(std::future::ready(Ok(gradient)))
    }
}

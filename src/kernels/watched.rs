//! A matrix that notes what it is multiplied with, for who wants to change its values where that shows least.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use std::sync::{Arc, Mutex, PoisonError};

/// A plain matrix `[out, in]` and what it was multiplied with.
#[derive(Module, Debug)]
pub struct WatchedWeight {
    pub weight: Param<Tensor<2>>,
    #[module(skip)]
    pub seen: Seen,
}

/// Whether there are watched weights. Where there are none, the compiler leaves out what they take.
pub const WATCHES: bool = cfg!(feature = "train");

/// The sum of `xᵀ x` over all inputs `x` of a matrix, `[in, in]`. Clones are of the same sum.
#[derive(Debug, Clone, Default)]
pub struct Seen(Arc<Mutex<Option<Tensor<2>>>>);

impl Seen {
    /// Adds inputs.
    ///
    /// # Shapes
    /// `[n, in]`
    pub fn add(&self, x: Tensor<2>) {
        let products = x.clone().transpose().matmul(x);
        let mut sum = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *sum = Some(match sum.take() {
            Some(sum) => sum + products,
            None => products,
        });
    }

    /// The sum; `None` where there were no inputs.
    pub fn sum(&self) -> Option<Tensor<2>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

//! The matrix of a linear layer, a convolution or a table: plain, or packed as its bundle stores it.

use super::arguments::{Ending, Finish};
use super::gpu;
use super::host;
use super::linear::Activation;
use super::packed::PackedWeight;
use super::split::SplitWeight;
use super::upload::indices;
use super::watched::{WATCHES, WatchedWeight};
use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor};

/// A matrix `[out, in]`, as checkpoints store it.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // There are a few hundred of them.
pub enum Weight {
    Plain(Param<Tensor<2>>),
    Packed(PackedWeight),
    /// In f32, for the few greatest of its products.
    Split(SplitWeight),
    /// Plain, and what it is multiplied with is noted.
    Watched(WatchedWeight),
}

/// Rows of a packed matrix that are unpacked at one time where no kernel reads them packed: few enough to stay in a
/// processor's cache.
const ROWS_AT_A_TIME: usize = 512;

impl Weight {
    pub fn dims(&self) -> [usize; 2] {
        match self {
            Self::Plain(weight) | Self::Watched(WatchedWeight { weight, .. }) => weight.val().dims(),
            Self::Packed(weight) => [weight.rows, weight.columns],
            Self::Split(weight) => [weight.rows, weight.columns],
        }
    }

    pub fn device(&self) -> Device {
        match self {
            Self::Plain(weight) | Self::Watched(WatchedWeight { weight, .. }) => weight.val().device(),
            Self::Packed(weight) => weight.device(),
            Self::Split(weight) => weight.device(),
        }
    }

    /// The parameter's id; only a plain weight is one that could be trained.
    pub fn id(&self) -> Option<ParamId> {
        match self {
            Self::Plain(weight) => Some(weight.id),
            Self::Packed(_) | Self::Split(_) | Self::Watched(_) => None,
        }
    }

    /// The matrix in f32, for operations that have no kernel for packed ones.
    pub fn unpacked(&self) -> Tensor<2> {
        match self {
            Self::Plain(weight) | Self::Watched(WatchedWeight { weight, .. }) => weight.val(),
            Self::Packed(weight) => weight.unpacked(),
            Self::Split(weight) => weight.unpacked(),
        }
    }

    /// The rows with these numbers.
    ///
    /// # Shapes
    /// n numbers → `[n, in]`
    pub fn rows(&self, numbers: &[u32]) -> Tensor<2> {
        match self {
            Self::Plain(weight) | Self::Watched(WatchedWeight { weight, .. }) => {
                let weight = weight.val();
                if let (Some(&first), Some(&last)) = (numbers.first(), numbers.last())
                    && numbers.iter().copied().eq(first..=last)
                {
                    // Where they lie: a GPU has nothing to do.
                    let [_, width] = weight.dims();
                    return weight.slice([first as usize..last as usize + 1, 0..width]);
                }
                let device = weight.device();
                weight.select(0, indices(numbers.iter().map(|row| *row as usize), &device))
            }
            Self::Packed(weight) => weight.rows(numbers),
            Self::Split(weight) => weight.rows(numbers),
        }
    }

    /// The rows with these numbers as a matrix of their own, which stays packed.
    pub fn take(&self, numbers: &[u32]) -> Self {
        match self {
            Self::Packed(weight) => Self::Packed(weight.take(numbers)),
            Self::Plain(_) | Self::Split(_) | Self::Watched(_) => Self::Plain(Param::from_tensor(self.rows(numbers))),
        }
    }

    /// `activation(x Wᵀ + bias)`.
    ///
    /// # Shapes
    /// `[n, in]` → `[n, out]`
    pub fn linear(&self, x: Tensor<2>, bias: Option<Tensor<1>>, activation: Activation) -> Tensor<2> {
        if WATCHES && let Self::Watched(weight) = self {
            weight.seen.add(x.clone());
        }
        if gpu::serves(&x.device()) {
            return gpu::linear(x, self, Finish { bias, activation });
        }
        let ending = Ending { bias: bias.as_ref(), residual: None, activation };
        if let Some(y) = host::Matrix::of(self).and_then(|matrix| host::linear(&x, &matrix, ending)) {
            return y;
        }
        let y = self.product(x);
        activation.apply(match bias {
            Some(bias) => y + bias.unsqueeze(),
            None => y,
        })
    }

    /// `x Wᵀ`, of plain operations.
    ///
    /// # Shapes
    /// `[n, in]` → `[n, out]`
    pub fn product(&self, x: Tensor<2>) -> Tensor<2> {
        let product = |x: Tensor<2>, weight: Tensor<2>| x.matmul(weight.transpose());
        match self {
            Self::Plain(weight) | Self::Watched(WatchedWeight { weight, .. }) => product(x, weight.val()),
            Self::Split(weight) => product(x, weight.unpacked()),
            Self::Packed(weight) => {
                let blocks = (0..weight.rows).step_by(ROWS_AT_A_TIME).map(|start| {
                    let rows: Vec<u32> =
                        (start..(start + ROWS_AT_A_TIME).min(weight.rows)).map(|row| row as u32).collect();
                    product(x.clone(), weight.rows(&rows))
                });
                Tensor::cat(blocks.collect(), 1)
            }
        }
    }

    /// Matrices that read the same input, one below the other; `None` where they are packed in several ways.
    pub fn join(parts: &[&Weight]) -> Option<Weight> {
        let packed: Vec<&PackedWeight> = parts
            .iter()
            .filter_map(|part| match part {
                Self::Packed(weight) => Some(weight),
                Self::Plain(_) | Self::Split(_) | Self::Watched(_) => None,
            })
            .collect();
        if packed.is_empty() {
            let parts = parts.iter().map(|part| part.unpacked()).collect();
            return Some(Self::Plain(Param::from_tensor(Tensor::cat(parts, 0))));
        }
        let joined = (packed.len() == parts.len()).then(|| PackedWeight::join(&packed));
        joined.flatten().map(Self::Packed)
    }
}

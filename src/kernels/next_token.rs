//! From logits to log-probabilities, under temperature and constraints.

use super::attention::MASKED;
use super::host;
use burn::tensor::{Device, Tensor, TensorData, activation};

/// How the next token is scored.
#[derive(Debug, Clone)]
pub struct TokenScoring {
    pub temperature: f64,
    /// Added to the logits, `[1, V]`: 0 where a token is allowed.
    pub constraint: Option<Tensor<2>>,
    /// The constraint acts on the log-probabilities instead.
    pub constrain_after: bool,
}

impl TokenScoring {
    /// # Shapes
    /// logits `[n, V]` → log-probabilities `[n, V]`; what the constraint forbids is below -1e20
    pub fn scores(&self, logits: Tensor<2>) -> Tensor<2> {
        let logits = if self.temperature == 1.0 { logits } else { logits / self.temperature };
        match &self.constraint {
            None => log_softmax(logits),
            Some(constraint) if self.constrain_after => log_softmax(logits) + constraint.clone(),
            Some(constraint) => log_softmax(logits + constraint.clone()),
        }
    }
}

fn log_softmax(logits: Tensor<2>) -> Tensor<2> {
    host::log_softmax(&logits).unwrap_or_else(|| activation::log_softmax(logits, 1))
}

/// The constraint that leaves ids below `specials` and those of `range`.
pub fn allowed_range(vocabulary: usize, specials: u32, range: (u32, u32), device: &Device) -> Tensor<2> {
    let allowed = |id: u32| id < specials || (range.0..range.1).contains(&id);
    let values: Vec<f32> = (0..vocabulary as u32).map(|id| if allowed(id) { 0.0 } else { MASKED }).collect();
    Tensor::from_data(TensorData::new(values, [1, vocabulary]), device)
}

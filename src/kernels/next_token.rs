//! From logits to log-probabilities, under temperature and constraints.

use super::arguments::Found;
use super::attention::MASKED;
use super::embedding::column;
use super::gpu;
use super::host;
use super::linear::Activation;
use super::readback::floats;
use super::split::SplitWeight;
use super::top_k::{Best, padded, top_entries};
use super::upload::tensor;
use super::weight::Weight;
use crate::error::Result;
use burn::tensor::{Device, Tensor, activation};
use std::sync::Arc;

/// How the next token is scored.
#[derive(Debug, Clone)]
pub struct TokenScoring {
    pub temperature: f64,
    /// Added to the logits, `[1, V]`: 0 where a token is allowed.
    pub constraint: Option<Tensor<2>>,
    /// The constraint acts on the log-probabilities instead.
    pub constrain_after: bool,
}

/// What a step chooses from.
#[derive(Debug, Clone)]
pub enum NextTokens {
    /// `[n, V]`
    Logits(Tensor<2>),
    /// Hidden states, `[n, C]`, and the output projection, most of which need not be read.
    Behind(Tensor<2>, SplitWeight),
    /// Those of some tokens, `[n, ids]`, and their ids in ascending order. There are no others to choose from.
    Among(Tensor<2>, Arc<[u32]>),
}

impl NextTokens {
    /// Launches what finds the `k` best, on a device that has kernels for it.
    pub fn found(&self, scoring: &TokenScoring, k: usize) -> Option<Found> {
        match self {
            Self::Logits(logits) => scoring.found(logits, k, &[]),
            Self::Among(logits, _) => scoring.free().found(logits, k, &[]),
            Self::Behind(..) => None,
        }
    }

    /// The best of what [`found`](Self::found) has launched, as [`best`](Self::best) gives them.
    ///
    /// # Errors
    /// The device's own, when the values cannot be read back.
    pub async fn read(&self, found: &Found) -> Result<Vec<Best>> {
        let (mut best, _) = found.read(&[]).await?;
        if let Self::Among(_, ids) = self {
            name(&mut best, ids);
        }
        Ok(best)
    }

    /// [`TokenScoring::best`] of the logits.
    ///
    /// # Errors
    /// The device's own, when the values cannot be read back.
    pub async fn best(
        &self,
        scoring: &TokenScoring,
        k: usize,
        probes: &[Vec<u32>],
    ) -> Result<(Vec<Best>, Vec<Vec<f32>>)> {
        let logits = match self {
            Self::Logits(logits) => logits.clone(),
            Self::Among(logits, ids) => return among(logits, ids, scoring, k, probes).await,
            Self::Behind(hidden, weight) => {
                let warmed = scoring.warmed(hidden.clone());
                let free = scoring.constraint.is_none();
                if let Some(found) = free.then(|| host::best_products(&warmed, weight, k, probes)).flatten() {
                    return Ok(found);
                }
                Weight::Split(weight.clone()).linear(hidden.clone(), None, Activation::None)
            }
        };
        scoring.best(logits, k, probes).await
    }
}

impl Found {
    /// The best entries of each row, and those that `probes` names.
    async fn read(&self, probes: &[Vec<u32>]) -> Result<(Vec<Best>, Vec<Vec<f32>>)> {
        let Self { values, kept, wanted } = self;
        let [_, width] = values.dims();
        let probed = width - 2 * kept;
        let found = floats(values.clone()).await?;
        let rows = found.chunks(width);
        let entries = |row: &[f32]| {
            let (values, ids) = row[probed..].split_at(*kept);
            ids.iter().zip(values).take(*wanted).map(|(id, value)| (*id as u32, *value)).collect()
        };
        let of_row = |(columns, row): (&Vec<u32>, &[f32])| row[..columns.len()].to_vec();
        Ok((rows.clone().map(entries).collect(), probes.iter().zip(rows).map(of_row).collect()))
    }
}

/// [`NextTokens::best`] of logits of some tokens, which are what a constraint leaves. What `probes` names besides has the
/// score of what is forbidden.
async fn among(
    logits: &Tensor<2>,
    ids: &[u32],
    scoring: &TokenScoring,
    k: usize,
    probes: &[Vec<u32>],
) -> Result<(Vec<Best>, Vec<Vec<f32>>)> {
    let columns: Vec<Vec<u32>> =
        probes.iter().map(|row| row.iter().map(|id| column(ids, *id).unwrap_or(0)).collect()).collect();
    let (mut best, mut probed) = scoring.free().best(logits.clone(), k, &columns).await?;
    name(&mut best, ids);
    let named = probes.iter().flatten().zip(probed.iter_mut().flatten());
    named.filter(|(id, _)| column(ids, **id).is_none()).for_each(|(_, score)| *score = MASKED);
    Ok((best, probed))
}

/// Columns become the ids that they stand for.
fn name(best: &mut [Best], ids: &[u32]) {
    for row in best {
        // A kernel's list that logits which are no numbers left empty names no column.
        row.retain(|(entry, _)| (*entry as usize) < ids.len());
        row.iter_mut().for_each(|(entry, _)| *entry = ids[*entry as usize]);
    }
}

impl TokenScoring {
    /// Of any token.
    fn free(&self) -> Self {
        Self { constraint: None, ..self.clone() }
    }

    /// Launches the kernels that find the `k` best entries of each row and those that `probes` names.
    fn found(&self, logits: &Tensor<2>, k: usize, probes: &[Vec<u32>]) -> Option<Found> {
        if !gpu::serves(&logits.device()) {
            return None;
        }
        let [_, columns] = logits.dims();
        let widest = probes.iter().map(Vec::len).max().unwrap_or(0);
        let named: Vec<u32> = probes.iter().flat_map(|row| padded(row, widest)).collect();
        gpu::best(logits.clone(), self, k.min(columns), &named, widest)
    }

    /// The `k` best log-probabilities of every row, best first, and of each row those that `probes` names. This is a
    /// decoding step's one readback.
    ///
    /// # Shapes
    /// `[n, V]`, 0 or n lists of columns → n lists of `min(k, V)` entries, lists of values as long as those of columns
    ///
    /// # Errors
    /// The device's own, when the values cannot be read back.
    pub async fn best(&self, logits: Tensor<2>, k: usize, probes: &[Vec<u32>]) -> Result<(Vec<Best>, Vec<Vec<f32>>)> {
        if let Some(found) = self.found(&logits, k, probes) {
            return found.read(probes).await;
        }
        let [_, columns] = logits.dims();
        top_entries(self.scores(logits), k.min(columns), probes).await
    }

    /// Logits, or the states they are products of, at the temperature.
    fn warmed(&self, x: Tensor<2>) -> Tensor<2> {
        if self.temperature == 1.0 { x } else { x / self.temperature }
    }

    /// # Shapes
    /// logits `[n, V]` → log-probabilities `[n, V]`; what the constraint forbids is below -1e20
    pub fn scores(&self, logits: Tensor<2>) -> Tensor<2> {
        let logits = self.warmed(logits);
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

/// The constraint that leaves these ids, as [`TokenScoring`] takes it.
pub fn allowed_alone(vocabulary: usize, ids: &[u32], device: &Device) -> Tensor<2> {
    let mut values = vec![MASKED; vocabulary];
    ids.iter().for_each(|id| values[*id as usize] = 0.0);
    tensor(values, [1, vocabulary], device)
}

/// Ids below `specials` and those of `range`, in ascending order.
pub fn allowed_range(vocabulary: usize, specials: u32, range: (u32, u32)) -> Vec<u32> {
    (0..vocabulary as u32).filter(|id| *id < specials || (range.0..range.1).contains(id)).collect()
}

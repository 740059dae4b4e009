//! What decoding remembers between steps. An argument of the forward, never a field of the model.

use crate::kernels::{KeysValues, Past};
use burn::tensor::{Device, Tensor};

/// Keys, values and position biases of an answer in progress.
#[derive(Debug)]
pub struct DecoderCache {
    /// The decoder's own keys and values.
    pub(super) past: Past,
    /// A layer each: the encoder's keys and values, shared by the beams of a sample.
    pub(super) cross: Vec<KeysValues>,
    /// The encoder's position embeddings, `[1 or B, L, C]`.
    pub(super) encoder_positions: Tensor<3>,
    /// `[B, 1, 1, L]`
    pub(super) key_mask: Option<Tensor<4>>,
    /// Which samples are rasters of image codes; B flags.
    pub(super) code_masks: Vec<bool>,
    /// Tokens decoded so far.
    pub(super) len: usize,
    pub(super) max_len: usize,
    pub(super) biases: Option<BiasBlock>,
    /// How often the biases or the encoder's keys and values were made anew.
    pub(super) renewals: usize,
    /// A layer each, for who wants to see where the decoder looks: its cross-attention, `[B, H, T, L]`.
    pub(super) watched: Option<Vec<Tensor<4>>>,
}

/// Biases of a block of consecutive target positions: made once, sliced step by step.
#[derive(Debug, Clone)]
pub(super) struct BiasBlock {
    pub start: usize,
    pub end: usize,
    /// A layer each, `[1 or N, H, end - start, end]`.
    pub own: Vec<Tensor<4>>,
    /// `[1 or B, H, end - start, L]`
    pub cross: Tensor<4>,
    /// Beams for which `own` was made, where it differs by row.
    pub rows: usize,
}

impl DecoderCache {
    /// Tokens decoded so far, BOS counted.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing has been decoded yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Which of `rows` rows are rasters of image codes.
    pub(super) fn row_masks(&self, rows: usize) -> Vec<bool> {
        let beams = rows / self.code_masks.len();
        self.code_masks.iter().flat_map(|mask| std::iter::repeat_n(*mask, beams)).collect()
    }

    /// Reorders the decoder's rows on the device: beams change places, finished samples leave.
    ///
    /// `rows` names for each new row the old one, `samples` the same for samples; `None` keeps them all.
    pub fn select(&mut self, rows: &[usize], samples: Option<&[usize]>) {
        if self.is_empty() {
            return;
        }
        self.past.select(rows);
        if let Some(samples) = samples {
            let device = self.encoder_positions.device();
            self.select_samples(samples, &device);
        }
    }

    fn select_samples(&mut self, samples: &[usize], device: &Device) {
        let picked = crate::kernels::indices(samples.iter().copied(), device);
        for kv in &mut self.cross {
            *kv = kv.select(&picked);
        }
        if self.encoder_positions.dims()[0] > 1 {
            self.encoder_positions = self.encoder_positions.clone().select(0, picked.clone());
        }
        self.key_mask = self.key_mask.take().map(|mask| mask.select(0, picked.clone()));
        self.code_masks = samples.iter().map(|sample| self.code_masks[*sample]).collect();
        // Rows of the biases may differ by sample, and the block is cheap to make again.
        self.biases = None;
        self.renewals += 1;
    }
}

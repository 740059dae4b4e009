//! Rows of one task as draws, one sample each.

use super::Rows;
use crate::error::Result;
use crate::train::data::{EpochFiles, item_random};
use crate::train::{Draw, Draws};
use crate::vocab::Vocab;

/// Fine-tuning for one task.
pub struct FineTuning<'a> {
    rows: Rows,
    files: EpochFiles,
    vocab: &'a Vocab,
    side: u32,
    seed: u64,
}

impl<'a> FineTuning<'a> {
    /// Images become squares of `side` pixels; the order follows from `seed`.
    pub fn new(rows: Rows, files: EpochFiles, vocab: &'a Vocab, side: u32, seed: u64) -> Self {
        Self { rows, files, vocab, side, seed }
    }
}

impl Draws for FineTuning<'_> {
    fn len(&self) -> Option<u64> {
        Some(self.files.len())
    }

    fn draw(&self, epoch: u64, index: u64) -> Result<Draw> {
        let record = self.files.drawn(self.seed, epoch, index)?;
        let mut random = item_random(self.seed, epoch, index);
        let sample = self.rows.sample(&record, self.vocab, self.side, &mut random)?;
        Ok(Draw { main: vec![sample], extra: Vec::new() })
    }
}

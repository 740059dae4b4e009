//! Rows of one task as draws, one sample each.

use super::Rows;
use crate::error::Result;
use crate::generate::Trie;
use crate::train::data::{EpochFiles, item_random};
use crate::train::{Draw, Draws, SelfCritic};
use crate::vocab::Vocab;
use std::sync::Arc;

/// Fine-tuning for one task.
pub struct FineTuning {
    rows: Rows,
    files: EpochFiles,
    vocab: Arc<Vocab>,
    side: u32,
    seed: u64,
    /// The only answers there are.
    answers: Option<Arc<Trie>>,
    critic: Option<SelfCritic>,
}

impl FineTuning {
    /// Images become squares of `side` pixels; the order follows from `seed`. With a `critic` the model learns from its
    /// own answers instead of the rows'.
    ///
    /// # Errors
    /// Those of [`Rows::candidates`].
    pub fn new(
        rows: Rows,
        files: EpochFiles,
        vocab: Arc<Vocab>,
        side: u32,
        seed: u64,
        critic: Option<SelfCritic>,
    ) -> Result<Self> {
        let candidates = rows.candidates(&vocab)?;
        let answers = candidates.map(|answers| Arc::new(Trie::new(&answers, vocab.layout().eos)));
        Ok(Self { rows, files, vocab, side, seed, answers, critic })
    }
}

impl Draws for FineTuning {
    fn len(&self) -> Option<u64> {
        Some(self.files.len())
    }

    fn draw(&self, epoch: u64, index: u64) -> Result<Draw> {
        let record = self.files.drawn(self.seed, epoch, index)?;
        let mut random = item_random(self.seed, epoch, index);
        if self.critic.is_some() {
            let rewarded = self.rows.rewarded(&record, &self.vocab, self.side, &mut random)?;
            return Ok(Draw { rewarded: vec![rewarded], ..Draw::default() });
        }
        let mut sample = self.rows.sample(&record, &self.vocab, self.side, &mut random)?;
        if self.answers.as_ref().is_some_and(|answers| !answers.contains(&sample.target)) {
            let answer = self.vocab.decode(&sample.target);
            return Err(record.fail(format!("`{}` is not among the answers", answer.trim())));
        }
        sample.answers = self.answers.clone();
        Ok(Draw { main: vec![sample], ..Draw::default() })
    }

    fn place(&self, epoch: u64, index: u64) -> Option<String> {
        self.files.drawn(self.seed, epoch, index).ok().map(|record| record.place)
    }

    fn critic(&self) -> Option<&SelfCritic> {
        self.critic.as_ref()
    }
}

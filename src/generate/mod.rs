//! Searching for an answer, over any model that can take a [`Step`].

mod beam;
mod candidates;
mod ngram;
mod rules;
mod sample;
mod trie;

use crate::error::Result;

pub use beam::{SpecialIds, Start, beam_search};
pub use candidates::score_candidates;
pub use sample::{Dice, Draw, sample};
pub use trie::Trie;

/// A candidate for the next token and its log-probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    pub token: u32,
    pub score: f32,
}

/// What a search asks of the model at each step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRequest {
    /// The newest token of every row.
    pub tokens: Vec<u32>,
    /// For each row the row of the previous step that it continues. Empty at the first step.
    pub rows: Vec<usize>,
    /// The samples of the previous step that go on; `None` means all.
    pub samples: Option<Vec<usize>>,
    /// Candidates wanted for each row, best first; 0 where only the probes matter.
    pub count: usize,
    /// For each row the tokens whose log-probabilities are wanted in any case. Empty for none.
    pub probes: Vec<Vec<u32>>,
}

/// The model's answer for one row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RowScores {
    pub candidates: Vec<Candidate>,
    /// In the order in which they were asked for.
    pub probes: Vec<f32>,
}

/// A model in the middle of decoding. Temperature and vocabulary constraints are its business, since they act on
/// the logits.
#[allow(async_fn_in_trait)] // Everything runs on one thread.
pub trait Step {
    /// Decodes one token a row and scores the next.
    async fn step(&mut self, request: StepRequest) -> Result<Vec<RowScores>>;

    /// The `count` best candidates of each row of the step just taken, for who finds that it needs more of them.
    async fn best(&mut self, count: usize) -> Result<Vec<Vec<Candidate>>>;

    /// Decodes `tokens`, as many to each row, and gives for each row the log-probabilities of its `allowed` tokens
    /// after the last one, as if there were no others. `rows` as in [`StepRequest`].
    async fn choose(&mut self, tokens: &[u32], rows: &[usize], allowed: &[Vec<u32>]) -> Result<Vec<Vec<f32>>>;
}

/// One finished answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Hypothesis {
    /// Without BOS, with the final EOS.
    pub tokens: Vec<u32>,
    /// Length-normalised where the options say so.
    pub score: f32,
    /// Log-probability of each token.
    pub token_scores: Vec<f32>,
}

/// Where a search stands after a step.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// Steps taken, from 1.
    pub step: usize,
    /// The best unfinished hypothesis of the first sample, without BOS.
    pub tokens: &'a [u32],
}

//! What the next token of a row may be (reference §9.2, steps 1 to 4).

use super::beam::SpecialIds;
use super::ngram::repeated;
use super::{Candidate, RowScores, StepRequest, Trie};
use crate::config::Decoding;

/// Device scores below this are masked entries, whose exact value means nothing.
pub(super) const IMPOSSIBLE: f32 = -1e20;
/// Ids 0..4 are BOS, PAD, EOS and UNK, which neither a raster of codes nor a box ever holds.
pub(super) const SPECIALS: u32 = 4;
/// Requests are rounded up to whole steps of this, so that the device meets few different sizes.
const COUNT_STEP: usize = 8;

pub(super) struct Rules<'a> {
    pub ids: &'a SpecialIds,
    pub options: &'a Decoding,
    pub max_len: usize,
    pub trie: Option<&'a Trie>,
    pub prefix_width: usize,
}

/// What a row's next token may be.
pub(super) struct RowRule {
    /// The only possible tokens.
    pub only: Option<Vec<u32>>,
    /// There is one, of the prefix, whatever constraints say of it.
    forced: bool,
    /// Scores are normalised over the possible tokens.
    normalized: bool,
    banned: Vec<u32>,
}

impl Rules<'_> {
    /// The rule for what follows `tokens`, BOS first, at step `t` of an answer that begins with `prefix`.
    pub fn rule(&self, t: usize, prefix: &[u32], tokens: &[u32]) -> RowRule {
        let SpecialIds { pad, eos, .. } = *self.ids;
        let in_prefix = t < self.prefix_width && t < self.max_len;
        let prefix_len = prefix.iter().filter(|token| **token != pad).count();
        // The trie speaks of what follows the prefix.
        let trie = self.trie.filter(|_| t >= prefix_len);
        let trie = trie.map(|trie| trie.next(tokens.get(1 + prefix_len..).unwrap_or_default()));
        if let Some(token) = prefix.get(t).filter(|token| in_prefix && **token != pad) {
            return RowRule { only: Some(vec![*token]), forced: true, normalized: false, banned: Vec::new() };
        }
        let normalized = trie.is_some() && !self.options.zero_shot;
        let only = trie.or_else(|| (t == self.max_len).then(|| vec![eos]));
        let mut banned = vec![pad];
        if !in_prefix && t < self.options.min_len && t < self.max_len {
            banned.push(eos);
        }
        if (self.options.gen_code || self.options.gen_box) && t < self.max_len {
            banned.extend(0..SPECIALS);
        }
        // An EOS among them is that of a prompt.
        banned.extend(repeated(tokens, self.options.no_repeat_ngram_size).into_iter().filter(|token| *token != eos));
        if t == self.max_len {
            banned.extend(only.iter().flatten().copied().filter(|token| *token != eos));
        }
        RowRule { only, forced: false, normalized, banned }
    }

    /// The token that ends an answer at step `t`. A prompt that is the whole instruction ends in an EOS of its own, which is
    /// not the answer's.
    pub fn end(&self, t: usize, prefix: &[u32]) -> Option<u32> {
        Some(self.ids.eos).filter(|eos| prefix.get(t) != Some(eos))
    }

    /// Asks for enough to leave `wanted` candidates a row, whatever is banned. `rows` and `samples` as in
    /// [`StepRequest`].
    pub fn request(
        &self,
        tokens: Vec<u32>,
        rules: &[RowRule],
        wanted: usize,
        (rows, samples): (Vec<usize>, Option<Vec<usize>>),
    ) -> StepRequest {
        let free = rules.iter().filter(|rule| rule.only.is_none());
        // One more than the bans for the unknown token, whose penalty may push it down.
        let count = free.map(|rule| wanted + rule.banned.len() + 1).max().unwrap_or(0);
        let bound = rules.iter().any(|rule| rule.only.is_some());
        let probe = |rule: &RowRule| rule.only.clone().unwrap_or_default();
        StepRequest {
            tokens,
            rows,
            samples,
            count: count.next_multiple_of(COUNT_STEP),
            probes: if bound { rules.iter().map(probe).collect() } else { Vec::new() },
        }
    }

    /// What a rule leaves of a row's scores, in no order.
    pub fn possible(&self, rule: &RowRule, scores: &RowScores) -> Vec<Candidate> {
        let mut possible = match &rule.only {
            Some(only) => {
                let sum = if rule.normalized { log_sum_exp(&scores.probes) } else { 0.0 };
                let pairs = only.iter().zip(&scores.probes);
                // What the model's constraint masks has no score of its own.
                let score = |score: f32| if rule.forced && score < IMPOSSIBLE { 0.0 } else { score - sum };
                pairs.map(|(token, probe)| Candidate { token: *token, score: score(*probe) }).collect()
            }
            None => scores.candidates.clone(),
        };
        possible.retain(|Candidate { token, score }| {
            !rule.banned.contains(token) && *score >= IMPOSSIBLE && !score.is_nan()
        });
        for candidate in possible.iter_mut().filter(|candidate| candidate.token == self.ids.unk) {
            candidate.score -= self.options.unk_penalty as f32;
        }
        possible
    }
}

/// From log-probabilities over the whole vocabulary to the share of all of these.
fn log_sum_exp(scores: &[f32]) -> f32 {
    let greatest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    greatest + scores.iter().map(|score| (score - greatest).exp()).sum::<f32>().ln()
}

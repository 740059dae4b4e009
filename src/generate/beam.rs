//! Beam search with the semantics of the original generator (reference §9.2, appendix B).

use super::rules::{RowRule, Rules, SPECIALS};
use super::{Candidate, Hypothesis, Progress, RowScores, Step, Trie};
use crate::config::{Decoding, OfaConfig};
use crate::error::Result;

/// Searches for the best answers of a batch.
///
/// `max_len` is the longest answer in tokens, EOS not counted. `report` is called after each step; its error ends the
/// search. Returns each sample's hypotheses, best first, at most `num_beams` of them.
///
/// # Errors
/// Those of the model's steps and of `report`.
pub async fn beam_search<S: Step>(
    step: &mut S,
    ids: &SpecialIds,
    options: &Decoding,
    max_len: usize,
    Start { prefixes, trie }: Start<'_>,
    report: &mut impl AsyncFnMut(Progress<'_>) -> Result<()>,
) -> Result<Vec<Vec<Hypothesis>>> {
    let prefix_width = prefixes.iter().map(Vec::len).max().unwrap_or(0);
    let search = Search(Rules { ids, options, max_len, trie, prefix_width });
    let mut finished: Vec<Vec<Hypothesis>> = vec![Vec::new(); prefixes.len()];
    let mut sentences: Vec<Sentence> =
        prefixes.iter().enumerate().map(|(index, prefix)| Sentence::new(index, prefix, ids.bos)).collect();
    let mut selection = (Vec::new(), None);
    for t in 0..=max_len {
        let rules: Vec<RowRule> = sentences
            .iter()
            .flat_map(|sentence| sentence.beams.iter().map(|beam| search.0.rule(t, &sentence.prefix, &beam.tokens)))
            .collect();
        let beams = sentences.iter().flat_map(|sentence| &sentence.beams);
        let tokens = beams.map(|beam| *beam.tokens.last().unwrap_or(&ids.bos)).collect();
        let scores = step.step(search.0.request(tokens, &rules, 2 * options.num_beams, selection)).await?;
        let mut rows = scores.into_iter().zip(&rules);

        let (mut parents, mut kept_samples) = (Vec::new(), Vec::new());
        let (mut row, count) = (0, sentences.len());
        let mut survivors = Vec::with_capacity(count);
        for (sample, mut sentence) in sentences.into_iter().enumerate() {
            let width = sentence.beams.len();
            let candidates = search.candidates(t, &sentence, rows.by_ref().take(width));
            let origins = search.advance(t, &mut sentence, &candidates);
            match origins {
                None => {
                    sentence.done.sort_by(|a, b| b.score.total_cmp(&a.score));
                    finished[sentence.index] = sentence.done;
                }
                Some(origins) => {
                    parents.extend(origins.into_iter().map(|beam| row + beam));
                    kept_samples.push(sample);
                    survivors.push(sentence);
                }
            }
            row += width;
        }
        sentences = survivors;
        if let Some(first) = sentences.first() {
            report(Progress { step: t + 1, tokens: &first.beams[0].tokens[1..] }).await?;
        } else {
            break;
        }
        selection = (parents, (kept_samples.len() < count).then_some(kept_samples));
    }
    Ok(finished)
}

/// What the answers of a batch must look like.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// For each sample the tokens, BOS not among them, with which its answer must begin; empty for none.
    pub prefixes: &'a [Vec<u32>],
    /// What may follow them; `None` for anything.
    pub trie: Option<&'a Trie>,
}

/// The ids that steer a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpecialIds {
    pub bos: u32,
    pub pad: u32,
    pub eos: u32,
    pub unk: u32,
}

impl SpecialIds {
    pub fn new(config: &OfaConfig) -> Self {
        Self { bos: config.bos_token_id, pad: config.pad_token_id, eos: config.eos_token_id, unk: SPECIALS - 1 }
    }
}

struct Search<'a>(Rules<'a>);

struct Sentence {
    /// Its place in the batch.
    index: usize,
    prefix: Vec<u32>,
    beams: Vec<Beam>,
    /// Output slots that hold a beam only because nothing better was left.
    ignored: Vec<bool>,
    done: Vec<Hypothesis>,
}

/// A sequence in progress.
#[derive(Clone)]
pub(super) struct Beam {
    /// BOS first.
    pub tokens: Vec<u32>,
    /// Cumulative log-probability after each token behind BOS.
    cumulative: Vec<f32>,
}

/// A continuation of one of a sentence's beams.
struct Continuation {
    beam: usize,
    token: u32,
    /// Cumulative.
    score: f32,
}

impl Sentence {
    fn new(index: usize, prefix: &[u32], bos: u32) -> Self {
        // All beams are alike before the first token, so one stands for all.
        Self { index, prefix: prefix.to_vec(), beams: vec![Beam::new(bos)], ignored: Vec::new(), done: Vec::new() }
    }
}

impl Beam {
    pub fn new(bos: u32) -> Self {
        Self { tokens: vec![bos], cumulative: Vec::new() }
    }

    pub fn score(&self) -> f32 {
        self.cumulative.last().copied().unwrap_or(0.0)
    }

    pub fn continued(&self, token: u32, score: f32) -> Self {
        let mut beam = self.clone();
        beam.tokens.push(token);
        beam.cumulative.push(score);
        beam
    }

    /// The answer that ends with this sequence's last token.
    pub fn finished(&self, options: &Decoding) -> Hypothesis {
        let mut before = 0.0;
        let token_scores =
            self.cumulative.iter().map(|cumulative| cumulative - std::mem::replace(&mut before, *cumulative));
        let length = (self.cumulative.len() as f32).powf(options.length_penalty as f32);
        Hypothesis {
            score: if options.normalize_scores { self.score() / length } else { self.score() },
            token_scores: token_scores.collect(),
            tokens: self.tokens[1..].to_vec(),
        }
    }
}

impl Search<'_> {
    /// The 2K best continuations of a sentence, best first.
    fn candidates<'r>(
        &self,
        t: usize,
        sentence: &Sentence,
        rows: impl Iterator<Item = (RowScores, &'r RowRule)>,
    ) -> Vec<Continuation> {
        let wanted = 2 * self.0.options.num_beams;
        let mut all = Vec::new();
        for (beam, (scores, rule)) in rows.enumerate() {
            let base = sentence.beams[beam].score();
            for Candidate { token, score } in self.0.possible(rule, &scores) {
                all.push(Continuation { beam, token, score: if t == 0 { score } else { base + score } });
            }
        }
        all.sort_by(|a, b| b.score.total_cmp(&a.score));
        all.truncate(wanted);
        // Where fewer are possible, the rest of the list is impossible ones.
        all.resize_with(wanted, || Continuation { beam: 0, token: self.0.ids.pad, score: f32::NEG_INFINITY });
        all
    }

    /// Finalises what ends here and keeps the best K others. Returns the beams that those continue, or `None` when
    /// the sentence is finished.
    fn advance(&self, t: usize, sentence: &mut Sentence, candidates: &[Continuation]) -> Option<Vec<usize>> {
        let k = self.0.options.num_beams;
        let end = self.0.end(t, &sentence.prefix);
        let ends = |candidate: &Continuation| Some(candidate.token) == end && candidate.score > f32::NEG_INFINITY;
        let ignored = |slot: usize| slot < k && sentence.ignored.get(slot).copied().unwrap_or(false);
        for (slot, candidate) in candidates.iter().enumerate().take(k) {
            if ends(candidate) && !ignored(slot) && sentence.done.len() < k {
                let whole = sentence.beams[candidate.beam].continued(candidate.token, candidate.score);
                sentence.done.push(whole.finished(self.0.options));
            }
        }
        if sentence.done.len() == k || t == self.0.max_len {
            return None;
        }
        let (skipped, alive): (Vec<_>, Vec<_>) =
            candidates.iter().enumerate().partition(|(slot, candidate)| ends(candidate) || ignored(*slot));
        let fresh = alive.len().min(k);
        let next: Vec<&Continuation> =
            alive.into_iter().chain(skipped).map(|(_, candidate)| candidate).take(k).collect();
        sentence.ignored = (0..k).map(|slot| slot >= fresh).collect();
        sentence.beams = next
            .iter()
            .map(|candidate| sentence.beams[candidate.beam].continued(candidate.token, candidate.score))
            .collect();
        Some(next.iter().map(|candidate| candidate.beam).collect())
    }
}

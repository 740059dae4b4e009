//! Beam search with the semantics of the original generator (reference §9.2, appendix B).

use super::ngram::repeated;
use super::{Candidate, Hypothesis, Progress, RowScores, Step, StepRequest, Trie};
use crate::config::{Decoding, OfaConfig};
use crate::error::Result;

/// Device scores below this are masked entries, whose exact value means nothing.
const IMPOSSIBLE: f32 = -1e20;
/// Ids 0..4 are BOS, PAD, EOS and UNK, which neither a raster of codes nor a box ever holds.
const SPECIALS: u32 = 4;
/// Requests are rounded up to whole steps of this, so that the device meets few different sizes.
const COUNT_STEP: usize = 8;

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
    let search = Search { ids, options, max_len, trie, prefix_width: prefixes.iter().map(Vec::len).max().unwrap_or(0) };
    let mut finished: Vec<Vec<Hypothesis>> = vec![Vec::new(); prefixes.len()];
    let mut sentences: Vec<Sentence> =
        prefixes.iter().enumerate().map(|(index, prefix)| Sentence::new(index, prefix, ids.bos)).collect();
    let mut selection = (Vec::new(), None);
    for t in 0..=max_len {
        let rules: Vec<RowRule> = sentences
            .iter()
            .flat_map(|sentence| sentence.beams.iter().map(|beam| search.rule(t, sentence, beam)))
            .collect();
        let scores = step.step(search.request(&sentences, &rules, selection)).await?;
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

struct Search<'a> {
    ids: &'a SpecialIds,
    options: &'a Decoding,
    max_len: usize,
    trie: Option<&'a Trie>,
    prefix_width: usize,
}

struct Sentence {
    /// Its place in the batch.
    index: usize,
    prefix: Vec<u32>,
    beams: Vec<Beam>,
    /// Output slots that hold a beam only because nothing better was left.
    ignored: Vec<bool>,
    done: Vec<Hypothesis>,
}

#[derive(Clone)]
struct Beam {
    /// BOS first.
    tokens: Vec<u32>,
    /// Cumulative log-probability after each token behind BOS.
    cumulative: Vec<f32>,
}

/// What a row's next token may be.
struct RowRule {
    /// The only possible tokens.
    only: Option<Vec<u32>>,
    /// Scores are normalised over the possible tokens.
    normalized: bool,
    banned: Vec<u32>,
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
        let beam = Beam { tokens: vec![bos], cumulative: Vec::new() };
        // All beams are alike before the first token, so one stands for all.
        Self { index, prefix: prefix.to_vec(), beams: vec![beam], ignored: Vec::new(), done: Vec::new() }
    }
}

impl Beam {
    fn score(&self) -> f32 {
        self.cumulative.last().copied().unwrap_or(0.0)
    }

    fn continued(&self, token: u32, score: f32) -> Self {
        let mut beam = self.clone();
        beam.tokens.push(token);
        beam.cumulative.push(score);
        beam
    }
}

impl Search<'_> {
    fn rule(&self, t: usize, sentence: &Sentence, beam: &Beam) -> RowRule {
        let SpecialIds { pad, eos, .. } = *self.ids;
        let in_prefix = t < self.prefix_width && t < self.max_len;
        let prefix_len = sentence.prefix.iter().filter(|token| **token != pad).count();
        // The trie speaks of what follows the prefix.
        let trie = self.trie.filter(|_| t >= prefix_len).map(|trie| trie.next(&beam.tokens[1 + prefix_len..]));
        let prefix = sentence.prefix.get(t).copied().filter(|token| in_prefix && *token != pad);
        let normalized = trie.is_some() && !self.options.zero_shot;
        let only = trie.or_else(|| prefix.map(|token| vec![token])).or_else(|| (t == self.max_len).then(|| vec![eos]));
        let mut banned = vec![pad];
        if !in_prefix && t < self.options.min_len && t < self.max_len {
            banned.push(eos);
        }
        if (self.options.gen_code || self.options.gen_box) && t < self.max_len {
            banned.extend(0..SPECIALS);
        }
        banned.extend(repeated(&beam.tokens, self.options.no_repeat_ngram_size));
        if t == self.max_len {
            banned.extend(only.iter().flatten().copied().filter(|token| *token != eos));
        }
        RowRule { only, normalized, banned }
    }

    fn request(
        &self,
        sentences: &[Sentence],
        rules: &[RowRule],
        (rows, samples): (Vec<usize>, Option<Vec<usize>>),
    ) -> StepRequest {
        let beams = sentences.iter().flat_map(|sentence| &sentence.beams);
        let tokens = beams.map(|beam| *beam.tokens.last().unwrap_or(&self.ids.bos)).collect();
        let free = rules.iter().filter(|rule| rule.only.is_none());
        // One more than the bans for the unknown token, whose penalty may push it down.
        let count = free.map(|rule| 2 * self.options.num_beams + rule.banned.len() + 1).max().unwrap_or(0);
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

    /// The 2K best continuations of a sentence, best first.
    fn candidates<'r>(
        &self,
        t: usize,
        sentence: &Sentence,
        rows: impl Iterator<Item = (RowScores, &'r RowRule)>,
    ) -> Vec<Continuation> {
        let wanted = 2 * self.options.num_beams;
        let mut all = Vec::new();
        for (beam, (scores, rule)) in rows.enumerate() {
            let possible = match &rule.only {
                Some(only) => {
                    let sum = if rule.normalized { log_sum_exp(&scores.probes) } else { 0.0 };
                    let pairs = only.iter().zip(&scores.probes);
                    pairs.map(|(token, score)| Candidate { token: *token, score: score - sum }).collect()
                }
                None => scores.candidates,
            };
            let base = sentence.beams[beam].score();
            for Candidate { token, mut score } in possible {
                if rule.banned.contains(&token) || score < IMPOSSIBLE || score.is_nan() {
                    continue;
                }
                if token == self.ids.unk {
                    score -= self.options.unk_penalty as f32;
                }
                all.push(Continuation { beam, token, score: if t == 0 { score } else { base + score } });
            }
        }
        all.sort_by(|a, b| b.score.total_cmp(&a.score));
        all.truncate(wanted);
        // Where fewer are possible, the rest of the list is impossible ones.
        all.resize_with(wanted, || Continuation { beam: 0, token: self.ids.pad, score: f32::NEG_INFINITY });
        all
    }

    /// Finalises what ends here and keeps the best K others. Returns the beams that those continue, or `None` when
    /// the sentence is finished.
    fn advance(&self, t: usize, sentence: &mut Sentence, candidates: &[Continuation]) -> Option<Vec<usize>> {
        let k = self.options.num_beams;
        let ends = |candidate: &Continuation| candidate.token == self.ids.eos && candidate.score > f32::NEG_INFINITY;
        let ignored = |slot: usize| slot < k && sentence.ignored.get(slot).copied().unwrap_or(false);
        for (slot, candidate) in candidates.iter().enumerate().take(k) {
            if ends(candidate) && !ignored(slot) && sentence.done.len() < k {
                sentence.done.push(self.finish(t, &sentence.beams[candidate.beam], candidate));
            }
        }
        if sentence.done.len() == k || t == self.max_len {
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

    fn finish(&self, t: usize, beam: &Beam, end: &Continuation) -> Hypothesis {
        let whole = beam.continued(end.token, end.score);
        let mut before = 0.0;
        let token_scores =
            whole.cumulative.iter().map(|cumulative| cumulative - std::mem::replace(&mut before, *cumulative));
        let length = ((t + 1) as f32).powf(self.options.length_penalty as f32);
        Hypothesis {
            score: if self.options.normalize_scores { end.score / length } else { end.score },
            token_scores: token_scores.collect(),
            tokens: whole.tokens[1..].to_vec(),
        }
    }
}

/// From log-probabilities over the whole vocabulary to the share of all of these.
fn log_sum_exp(scores: &[f32]) -> f32 {
    let greatest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    greatest + scores.iter().map(|score| (score - greatest).exp()).sum::<f32>().ln()
}

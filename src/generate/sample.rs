//! Sampling (reference §9.6): K sequences, each of which draws its next token from the likeliest ones.

use super::beam::{Beam, SpecialIds, Start};
use super::rules::{IMPOSSIBLE, RowRule, Rules};
use super::{Candidate, Hypothesis, Progress, RowScores, Step};
use crate::config::{Decoding, Sampling};
use crate::error::{Error, Result};

/// Candidates asked for where probabilities decide how many are needed, and how many times more if too few came.
const NUCLEUS: usize = 64;
const ENLARGEMENT: usize = 4;

/// One draw to be made.
#[derive(Debug, Clone, Copy)]
pub struct Draw<'a> {
    /// The sample of the batch.
    pub sample: usize,
    /// Which of its K sequences.
    pub slot: usize,
    /// Tokens behind BOS so far.
    pub step: usize,
    /// What may be drawn, the likeliest first. The probabilities are the model's: they need not add up to 1.
    pub kept: &'a [Candidate],
}

/// Draws `num_beams` answers to each sample of a batch.
///
/// Scores are the model's log-probabilities, as in beam search. `pick` says which of the kept candidates is drawn, see
/// [`Dice`]; the other arguments are those of [`beam_search`](super::beam_search). Returns each sample's answers, best
/// first.
///
/// # Errors
/// Those of the model's steps, of `pick` and of `report`.
pub async fn sample<S: Step>(
    step: &mut S,
    ids: &SpecialIds,
    options: &Decoding,
    max_len: usize,
    Start { prefixes, trie }: Start<'_>,
    pick: &mut impl FnMut(Draw<'_>) -> Result<usize>,
    report: &mut impl AsyncFnMut(Progress<'_>) -> Result<()>,
) -> Result<Vec<Vec<Hypothesis>>> {
    let prefix_width = prefixes.iter().map(Vec::len).max().unwrap_or(0);
    let rules = Rules { ids, options, max_len, trie, prefix_width };
    let sampling = options.sampling.unwrap_or_default();
    let mut wanted = sampling.top_k.unwrap_or(NUCLEUS);
    let mut finished: Vec<Vec<Hypothesis>> = vec![Vec::new(); prefixes.len()];
    let mut sentences: Vec<Sentence> = (0..prefixes.len()).map(|index| Sentence::new(index, ids.bos)).collect();
    let mut selection = (Vec::new(), None);
    for t in 0..=max_len {
        let rows = || sentences.iter().flat_map(|one| one.rows.iter().map(|row| (row, prefixes[one.index].as_slice())));
        let bound: Vec<RowRule> = rows().map(|(row, prefix)| rules.rule(t, prefix, &row.tokens)).collect();
        let tokens = rows().map(|(row, _)| *row.tokens.last().unwrap_or(&ids.bos)).collect();
        let request = rules.request(tokens, &bound, wanted, selection);
        let mut count = request.count;
        let mut scores = step.step(request).await?;
        let kept = loop {
            let choices = scores.iter().zip(&bound).map(|(scores, rule)| {
                let complete = rule.only.is_some() || is_whole(scores, count);
                keep(rules.possible(rule, scores), &sampling, complete)
            });
            if let Some(kept) = choices.collect::<Option<Vec<_>>>() {
                break kept;
            }
            // The next steps are likely to need as many.
            (count, wanted) = (count * ENLARGEMENT, wanted * ENLARGEMENT);
            for (row, candidates) in scores.iter_mut().zip(step.best(count).await?) {
                row.candidates = candidates;
            }
        };

        let (mut parents, mut kept_samples) = (Vec::new(), Vec::new());
        let (mut row, samples) = (0, sentences.len());
        let mut survivors = Vec::with_capacity(samples);
        for (sample, mut sentence) in sentences.into_iter().enumerate() {
            let width = sentence.rows.len();
            let end = rules.end(t, &prefixes[sentence.index]);
            let origins = sentence.advance(t, options, end, &kept[row..row + width], pick)?;
            if t == max_len || sentence.rows.iter().all(|row| row.ended) {
                sentence.done.sort_by(|a, b| b.score.total_cmp(&a.score));
                finished[sentence.index] = sentence.done;
            } else {
                parents.extend(origins.into_iter().map(|origin| row + origin));
                kept_samples.push(sample);
                survivors.push(sentence);
            }
            row += width;
        }
        sentences = survivors;
        let going = sentences.first().and_then(|first| first.rows.iter().find(|row| !row.ended));
        let Some(going) = going else { break };
        report(Progress { step: t + 1, tokens: &going.tokens[1..] }).await?;
        selection = (parents, (kept_samples.len() < samples).then_some(kept_samples));
    }
    Ok(finished)
}

struct Sentence {
    /// Its place in the batch.
    index: usize,
    rows: Vec<Row>,
    done: Vec<Hypothesis>,
}

/// One sequence. It keeps its place in the batch after its end, until all of its sentence have ended.
#[derive(Clone)]
struct Row {
    beam: Beam,
    ended: bool,
}

impl std::ops::Deref for Row {
    type Target = Beam;

    fn deref(&self) -> &Beam {
        &self.beam
    }
}

impl Sentence {
    /// All sequences are alike before the first token, so one stands for all.
    fn new(index: usize, bos: u32) -> Self {
        Self { index, rows: vec![Row { beam: Beam::new(bos), ended: false }], done: Vec::new() }
    }

    /// Draws a token for each sequence, which ends with `end`. Returns the rows that they continue.
    fn advance(
        &mut self,
        t: usize,
        options: &Decoding,
        end: Option<u32>,
        kept: &[Vec<Candidate>],
        pick: &mut impl FnMut(Draw<'_>) -> Result<usize>,
    ) -> Result<Vec<usize>> {
        let origins: Vec<usize> = (0..options.num_beams).map(|slot| if t == 0 { 0 } else { slot }).collect();
        let mut rows = Vec::with_capacity(origins.len());
        for (slot, origin) in origins.iter().enumerate() {
            let mut row = self.rows[*origin].clone();
            // Where nothing is possible, the sequence ends without an answer.
            row.ended |= kept[*origin].is_empty();
            if !row.ended {
                let choices = kept[*origin].as_slice();
                let index = pick(Draw { sample: self.index, slot, step: t, kept: choices })?;
                let drawn = choices
                    .get(index)
                    .ok_or_else(|| Error::option("draw", format!("below {}", choices.len()), index))?;
                row.beam = row.beam.continued(drawn.token, row.beam.score() + drawn.score);
                if Some(drawn.token) == end {
                    self.done.push(row.beam.finished(options));
                    row.ended = true;
                }
            }
            rows.push(row);
        }
        self.rows = rows;
        Ok(origins)
    }
}

/// Whether a row's candidates are all that there are.
fn is_whole(scores: &RowScores, count: usize) -> bool {
    scores.candidates.len() < count || scores.candidates.last().is_some_and(|last| last.score < IMPOSSIBLE)
}

/// The candidates from which one is drawn, or `None` if there must be more of them than these.
fn keep(mut candidates: Vec<Candidate>, sampling: &Sampling, complete: bool) -> Option<Vec<Candidate>> {
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut enough = complete;
    if let Some(k) = sampling.top_k {
        enough |= candidates.len() >= k;
        candidates.truncate(k);
    }
    if let Some(p) = sampling.top_p {
        // The smallest set whose probabilities reach p.
        let mut sum = 0.0;
        let reached = candidates.iter().position(|candidate| {
            sum += f64::from(candidate.score).exp();
            sum >= p
        });
        if let Some(last) = reached {
            enough = true;
            candidates.truncate(last + 1);
        }
    }
    enough.then_some(candidates)
}

/// Draws in proportion to the probabilities: the same on every device for the same seed and the same scores.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The index of the candidate drawn; 0 if there are none.
    pub fn pick(&mut self, kept: &[Candidate]) -> usize {
        let probability = |candidate: &Candidate| f64::from(candidate.score).exp();
        let mut left = self.unit() * kept.iter().map(probability).sum::<f64>();
        let passed = kept.iter().position(|candidate| {
            left -= probability(candidate);
            left < 0.0
        });
        // Rounding may leave a little behind the last one.
        passed.unwrap_or(kept.len().saturating_sub(1))
    }

    /// From 0 to below 1, by SplitMix64.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^= bits >> 31;
        (bits >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(probabilities: &[f64]) -> Vec<Candidate> {
        let candidate = |(token, p): (usize, &f64)| Candidate { token: token as u32, score: p.ln() as f32 };
        probabilities.iter().enumerate().map(candidate).collect()
    }

    #[test]
    fn the_smallest_set_that_reaches_the_probability_is_kept() {
        let all = candidates(&[0.5, 0.3, 0.1, 0.05]);
        let kept = |top_k, top_p, complete| {
            let sampling = Sampling { top_k, top_p, seed: 0 };
            keep(all.clone(), &sampling, complete).map(|kept| kept.len())
        };
        assert_eq!(kept(Some(2), None, false), Some(2));
        assert_eq!(kept(None, Some(0.6), false), Some(2));
        assert_eq!(kept(Some(1), Some(0.6), false), Some(1));
        assert_eq!(kept(None, Some(0.99), false), None, "more candidates are needed");
        assert_eq!(kept(None, Some(0.99), true), Some(4), "there are no more");
        assert_eq!(kept(None, None, true), Some(4));
    }

    #[test]
    fn dice_fall_as_often_as_the_probabilities_say() {
        /// Three deviations of 10,000 throws are 0.015.
        const NEAR: f64 = 0.015;
        let kept = candidates(&[0.6, 0.2]);
        let throws = |seed| {
            let mut dice = Dice::new(seed);
            (0..10_000).map(|_| dice.pick(&kept)).collect::<Vec<_>>()
        };
        let share = throws(7).iter().filter(|index| **index == 0).count() as f64 / 10_000.0;
        assert!((share - 0.75).abs() < NEAR, "{share}");
        assert_eq!(throws(7), throws(7));
        assert_ne!(throws(7), throws(8));
    }
}

//! Text noise: whole words, in spans, become `<mask>` (reference §6.1, after BART).

use crate::vocab::Vocab;

/// The share of words that is masked.
const RATIO: f32 = 0.3;
/// The mean number of words a span covers.
const MEAN_SPAN: f64 = 3.0;
/// Lengths are listed up to the first that is rarer than this.
const RAREST: f64 = 1e-7;
/// A name that the original's vocabulary is filled up with; such an id counts as a word of its own.
const FILLER: &[u8] = b"madeupword";

/// Where noise comes from. Recorded draws of the original make its noise again.
pub trait Chance {
    /// Lengths of `count` spans, each from 0 up.
    fn spans(&mut self, count: usize) -> Vec<usize>;

    /// The numbers below `count` in random order.
    fn permutation(&mut self, count: usize) -> Vec<usize>;
}

impl Chance for fastrand::Rng {
    fn spans(&mut self, count: usize) -> Vec<usize> {
        let shares = span_shares();
        let total: f64 = shares.iter().sum();
        let mut one = || {
            let mut rest = self.f64() * total;
            let passed = |share: &&f64| {
                rest -= **share;
                rest >= 0.0
            };
            shares.iter().take_while(passed).count().min(shares.len() - 1)
        };
        (0..count).map(|_| one()).collect()
    }

    fn permutation(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        self.shuffle(&mut order);
        order
    }
}

/// Poisson probabilities of the lengths 0, 1, 2 …
pub fn span_shares() -> Vec<f64> {
    let mut shares = vec![(-MEAN_SPAN).exp()];
    while shares[shares.len() - 1] >= RAREST {
        shares.push(shares[shares.len() - 1] * MEAN_SPAN / shares.len() as f64);
    }
    shares
}

/// Which ids begin a word.
#[derive(Debug, Clone)]
pub struct WordStarts {
    starts: Vec<bool>,
    mask: u32,
}

impl WordStarts {
    /// Specials and pieces that begin with a space do; `<mask>`, codes and bins do not.
    pub fn new(vocab: &Vocab) -> Self {
        let layout = vocab.layout();
        let specials = [layout.bos, layout.pad, layout.eos, layout.unk];
        let begins = |id: u32| {
            let piece = vocab.piece(id).unwrap_or_default();
            specials.contains(&id) || piece.starts_with(b" ") || piece.starts_with(FILLER)
        };
        Self { starts: (0..layout.mask).map(begins).collect(), mask: layout.mask }
    }

    /// Whether an id begins a word.
    pub fn begins(&self, id: u32) -> bool {
        self.starts.get(id as usize).copied().unwrap_or(false)
    }

    /// Ids that begin a word.
    pub fn count(&self) -> usize {
        self.starts.iter().filter(|start| **start).count()
    }

    /// A text with noise. `ids` stand between BOS and EOS, which are never touched.
    pub fn noised(&self, ids: &[u32], chance: &mut dyn Chance) -> Vec<u32> {
        let last = ids.len().saturating_sub(1);
        let begins = |at: usize| at > 0 && at < last && self.begins(ids[at]);
        let starts: Vec<usize> = (0..ids.len()).filter(|at| begins(*at)).collect();
        // In single precision, as in the original: it decides whether 0.3 of 170 words are 51 or 52.
        let budget = (starts.len() as f32 * RATIO).ceil() as usize;
        if budget == 0 {
            return ids.to_vec();
        }
        let spans = spans(budget, chance);
        let insertions = spans.iter().filter(|span| **span == 0).count();
        let spans: Vec<usize> = spans.into_iter().filter(|span| *span > 0).collect();
        let masked = if spans.is_empty() { ids.to_vec() } else { self.mask_spans(ids, &starts, &spans, chance) };
        if insertions == 0 { masked } else { self.with_insertions(&masked, insertions, chance) }
    }

    /// Each span starts at a word drawn; its first token becomes `<mask>` and the rest of its words go.
    fn mask_spans(&self, ids: &[u32], starts: &[usize], spans: &[usize], chance: &mut dyn Chance) -> Vec<u32> {
        let last = ids.len() - 1;
        let order = chance.permutation(starts.len());
        let chosen = order.into_iter().filter_map(|at| starts.get(at).copied());
        let mut kept: Vec<Option<u32>> = ids.iter().copied().map(Some).collect();
        let mut masks = Vec::with_capacity(spans.len());
        for (start, words) in chosen.zip(spans) {
            masks.push(start);
            let mut words = *words;
            for at in start + 1..last {
                words -= usize::from(self.begins(ids[at]));
                if words == 0 {
                    break;
                }
                kept[at] = None;
            }
        }
        // A span that swallows another's mask deletes it, as in the original, so masks go in only where tokens stay.
        for at in masks {
            kept[at] = kept[at].map(|_| self.mask);
        }
        kept.into_iter().flatten().collect()
    }

    /// Masks between the tokens, anywhere but before BOS and after EOS.
    fn with_insertions(&self, ids: &[u32], insertions: usize, chance: &mut dyn Chance) -> Vec<u32> {
        // The original passes a share on and multiplies it again, which at times rounds up to one more.
        let len = ids.len() as f64;
        let count = (len * (insertions as f64 / len)).ceil() as usize;
        let order = chance.permutation(ids.len() + count - 2);
        let mut slots = vec![false; ids.len() + count];
        for at in order.into_iter().take(count) {
            if let Some(slot) = slots.get_mut(at + 1) {
                *slot = true;
            }
        }
        let mut rest = ids.iter().copied();
        slots.into_iter().filter_map(|inserted| if inserted { Some(self.mask) } else { rest.next() }).collect()
    }
}

/// Lengths of spans that cover exactly `budget` words.
fn spans(budget: usize, chance: &mut dyn Chance) -> Vec<usize> {
    let mut spans: Vec<usize> = Vec::new();
    while spans.iter().sum::<usize>() < budget {
        spans.extend(chance.spans(budget));
    }
    let mut covered = 0;
    let mut cut = Vec::new();
    for span in spans {
        let span = span.min(budget - covered);
        covered += span;
        cut.push(span);
        if covered == budget {
            break;
        }
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How far a thousand thousand draws may lie from the mean of three words.
    const MEAN_TOLERANCE: f64 = 0.01;

    #[test]
    fn spans_are_three_words_on_average_and_cover_the_budget() {
        let mut random = fastrand::Rng::with_seed(7);
        let drawn = random.spans(1_000_000);
        assert!((drawn.iter().sum::<usize>() as f64 / drawn.len() as f64 - MEAN_SPAN).abs() < MEAN_TOLERANCE);
        assert_eq!(span_shares().len(), 18);
        for budget in 1..40 {
            assert_eq!(spans(budget, &mut random).iter().sum::<usize>(), budget);
        }
    }
}

//! Samples of like length, padded to rectangles.

use super::images::Images;
use crate::config::OfaConfig;
use crate::model::TokenBatch;
use crate::train::loss::{TargetToken, target_tokens};
use crate::train::sample::{Referred, Sample, Shown};

/// Samples padded to the same lengths.
#[derive(Debug, Clone)]
pub struct Rectangle {
    /// Which samples of the batch, B of them.
    pub samples: Vec<usize>,
    /// `[B, S]`
    pub source: TokenBatch,
    /// What the decoder reads, `[B, T]`.
    pub previous: TokenBatch,
    /// What the model is judged by; `sample` counts within the rectangle.
    pub tokens: Vec<TargetToken>,
    pub codes: Vec<bool>,
    /// For each sample the patches that its instruction refers to, where they are known.
    pub referred: Vec<Option<Referred>>,
    pub looks: Vec<Look>,
}

/// A position of the decoder that speaks of something, and for each of the patches kept whether it shows that.
#[derive(Debug, Clone)]
pub struct Look {
    pub row: usize,
    pub position: usize,
    pub shown: Vec<bool>,
}

impl Rectangle {
    pub fn new(samples: &[Sample], chosen: Vec<usize>, images: Option<&Images>, config: &OfaConfig) -> Self {
        let (bos, eos, pad) = (config.bos_token_id, config.eos_token_id, config.pad_token_id);
        let padded = |row: &dyn Fn(&Sample) -> Vec<u32>| {
            let rows: Vec<Vec<u32>> = chosen.iter().map(|sample| row(&samples[*sample])).collect();
            TokenBatch::padded(&rows, pad)
        };
        let source = padded(&|sample| sample.source.clone());
        let previous = padded(&|sample| sample.previous(bos));
        let target = padded(&|sample| sample.judged(eos, pad));
        let codes = chosen.iter().map(|sample| samples[*sample].codes).collect();
        let referred = chosen.iter().map(|sample| samples[*sample].referred.clone()).collect();
        let looks = images.map_or_else(Vec::new, |images| looks(samples, &chosen, images));
        Self { samples: chosen, source, previous, tokens: target_tokens(&target, pad), codes, referred, looks }
    }
}

/// Where the answers of the chosen samples should be looked for. Without parts of which no patch was kept.
fn looks(samples: &[Sample], chosen: &[usize], images: &Images) -> Vec<Look> {
    let mut looks = Vec::new();
    for (row, &sample) in chosen.iter().enumerate() {
        let Sample { shown, prefix, .. } = &samples[sample];
        for Shown { part, patches } in shown {
            let shows = |place: usize| patches.contains(&images.patch(sample, place));
            let shown: Vec<bool> = (0..images.kept()).map(shows).collect();
            if shown.contains(&true) {
                let look = |at: usize| Look { row, position: prefix.len() + at, shown: shown.clone() };
                looks.extend(part.clone().map(look));
            }
        }
    }
    looks
}

/// Cuts samples, each of so many positions in the encoder and in the decoder, into rectangles of the least cost: by
/// length, then where the padding that is saved pays for another rectangle.
pub fn cut(sizes: &[[usize; 2]], rectangle_cost: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|sample| [sizes[*sample][1], sizes[*sample][0]]);
    // For each number of samples from the front, the least cost and where the last rectangle then begins.
    let mut best = vec![(0, 0)];
    for end in 1..=order.len() {
        let mut longest = [0, 0];
        let mut least = (usize::MAX, 0);
        for start in (0..end).rev() {
            longest = std::array::from_fn(|side| longest[side].max(sizes[order[start]][side]));
            let cost = best[start].0 + (end - start) * (longest[0] + longest[1]) + rectangle_cost;
            least = least.min((cost, start));
        }
        best.push(least);
    }
    let mut rectangles = Vec::new();
    let mut end = order.len();
    while end > 0 {
        let start = best[end].1;
        rectangles.push(order[start..end].to_vec());
        end = start;
    }
    rectangles
}

#[cfg(test)]
mod tests {
    use super::super::RECTANGLE_COSTS;
    use super::*;

    #[test]
    fn samples_of_like_length_lie_together_and_few_rectangles_are_cut() {
        let short_and_long: Vec<[usize; 2]> =
            (0..40).map(|sample| [20, if sample % 2 == 0 { 2 } else { 30 }]).collect();
        let rectangles = cut(&short_and_long, RECTANGLE_COSTS[0]);
        assert_eq!(rectangles.len(), 2);
        assert!(rectangles.iter().all(|samples| samples.iter().all(|sample| sample % 2 == samples[0] % 2)));
        let alike: Vec<[usize; 2]> = (0..40).map(|sample| [20 + sample % 2, 4]).collect();
        assert_eq!(cut(&alike, RECTANGLE_COSTS[0]).len(), 1, "a position of padding each is cheaper than another pass");
        assert_eq!(cut(&short_and_long, RECTANGLE_COSTS[1]).len(), 1, "on a GPU padding is cheap");
        assert_eq!(cut(&[], RECTANGLE_COSTS[0]), Vec::<Vec<usize>>::new());
    }
}

//! CIDEr-D: how much a caption resembles what several people wrote, by n-grams weighted by how telling they are.

use super::words::{Counts, mean, ngrams};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// N-grams of up to this many words.
const ORDERS: usize = 4;
/// The deviation of the penalty for another length.
const SIGMA: f64 = 6.0;
/// The scale on which the field reports it.
const SCALE: f64 = 10.0;

/// In how many images' references an n-gram occurs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DocumentFrequencies {
    /// Images counted.
    pub images: usize,
    /// By n-gram, its words with a space between.
    pub counts: BTreeMap<String, usize>,
}

impl DocumentFrequencies {
    /// Those of a corpus: for each image its references, words with spaces between.
    pub fn of<'a>(corpus: impl IntoIterator<Item = &'a [String]>) -> Self {
        let mut all = Self::default();
        for references in corpus {
            all.images += 1;
            let seen: BTreeSet<String> =
                references.iter().flat_map(|text| orders(text)).flat_map(Counts::into_keys).collect();
            for ngram in seen {
                *all.counts.entry(ngram).or_default() += 1;
            }
        }
        all
    }

    /// Reads `{"images": N, "counts": {"a dog": n, …}}`.
    ///
    /// # Errors
    /// [`Error::File`] if it is something else, or counts no image or an n-gram in more than there are.
    pub fn read(path: &Path) -> Result<Self> {
        let failed = |error: &dyn std::fmt::Display| Error::file(path.display(), error);
        let bytes = std::fs::read(path).map_err(|error| failed(&error))?;
        let read: Self = serde_json::from_slice(&bytes).map_err(|error| failed(&error))?;
        if read.images == 0 {
            return Err(failed(&"`images`: expected at least 1, found 0"));
        }
        if let Some((ngram, count)) = read.counts.iter().find(|(_, count)| **count > read.images) {
            let images = read.images;
            return Err(failed(&format!("`counts`: `{ngram}`: expected at most {images}, the images, found {count}")));
        }
        Ok(read)
    }

    /// The logarithm of the inverse frequency.
    fn weight(&self, ngram: &str) -> f64 {
        let count = self.counts.get(ngram).copied().unwrap_or(0).max(1);
        (self.images as f64).ln() - (count as f64).ln()
    }
}

/// CIDEr-D of one caption, from 0 to 10. Texts are words with spaces between; no reference gives 0.
pub fn cider_d(caption: &str, references: &[String], frequencies: &DocumentFrequencies) -> f64 {
    let caption = Weighted::new(caption, frequencies);
    SCALE * mean(references.iter().map(|reference| caption.similarity(&Weighted::new(reference, frequencies))))
}

/// The rewards of self-critical training (reference §8.4): how much better each of an image's hypotheses is than the
/// mean of its others. Captions and references are cleaned alike and end in a word of their own, so that stopping is
/// judged as well.
pub fn self_critical_rewards(
    hypotheses: &[String],
    references: &[String],
    frequencies: &DocumentFrequencies,
) -> Vec<f64> {
    advantages(&ended_scores(hypotheses, references, frequencies))
}

/// CIDEr-D of each of an image's hypotheses as self-critical training has it.
pub fn ended_scores(hypotheses: &[String], references: &[String], frequencies: &DocumentFrequencies) -> Vec<f64> {
    let references: Vec<String> = references.iter().map(|text| ended(text)).collect();
    hypotheses.iter().map(|text| cider_d(&ended(text), &references, frequencies)).collect()
}

/// How much larger each score is than the mean of the others.
pub fn advantages(scores: &[f64]) -> Vec<f64> {
    let total: f64 = scores.iter().sum();
    let others = scores.len().saturating_sub(1).max(1) as f64;
    scores.iter().map(|score| score - (total - score) / others).collect()
}

/// A caption as self-critical training scores it.
pub fn ended(caption: &str) -> String {
    format!("{} <eos>", crate::vocab::clean::caption_output(caption))
}

fn orders(text: &str) -> [Counts; ORDERS] {
    let words: Vec<&str> = text.split_whitespace().collect();
    std::array::from_fn(|order| ngrams(&words, order + 1))
}

/// A text's n-grams by order, weighted, and their norms.
struct Weighted {
    vectors: [BTreeMap<String, f64>; ORDERS],
    norms: [f64; ORDERS],
    length: f64,
}

impl Weighted {
    fn new(text: &str, frequencies: &DocumentFrequencies) -> Self {
        let counts = orders(text);
        // The original counts bigrams, so a single word has no length.
        let length = counts[1].values().sum::<usize>() as f64;
        let weighted = |(ngram, count): (String, usize)| {
            let weight = count as f64 * frequencies.weight(&ngram);
            (ngram, weight)
        };
        let vectors = counts.map(|counts| counts.into_iter().map(weighted).collect::<BTreeMap<_, _>>());
        let norms =
            std::array::from_fn(|order| vectors[order].values().map(|weight| weight * weight).sum::<f64>().sqrt());
        Self { vectors, norms, length }
    }

    /// The cosine of each order, where repeating an n-gram more often than the reference gains nothing, from 0 to 1.
    fn similarity(&self, reference: &Self) -> f64 {
        let penalty = (-(self.length - reference.length).powi(2) / (2.0 * SIGMA * SIGMA)).exp();
        let cosine = |order: usize| {
            let dot: f64 = self.vectors[order]
                .iter()
                .filter_map(|(ngram, weight)| {
                    let other = reference.vectors[order].get(ngram)?;
                    Some(weight.min(*other) * other)
                })
                .sum();
            let norms = self.norms[order] * reference.norms[order];
            if norms == 0.0 { 0.0 } else { dot / norms }
        };
        penalty * mean((0..ORDERS).map(cosine))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| text.to_string()).collect()
    }

    #[test]
    fn the_reference_itself_scores_ten_and_other_words_nothing() {
        let corpus = [texts(&["a red circle on green"]), texts(&["two blue squares there"])];
        let frequencies = DocumentFrequencies::of(corpus.iter().map(Vec::as_slice));
        assert!((cider_d("a red circle on green", &corpus[0], &frequencies) - SCALE).abs() < 1e-12);
        assert_eq!(cider_d("two blue squares there", &corpus[0], &frequencies), 0.0);
        assert_eq!(cider_d("", &corpus[0], &frequencies), 0.0);
        assert_eq!(cider_d("a red circle", &[], &frequencies), 0.0);
    }

    #[test]
    fn frequencies_count_an_image_once() {
        let corpus = [texts(&["a dog", "a dog runs"]), texts(&["a cat"])];
        let frequencies = DocumentFrequencies::of(corpus.iter().map(Vec::as_slice));
        assert_eq!(frequencies.images, 2);
        assert_eq!((frequencies.counts["a"], frequencies.counts["a dog"], frequencies.counts["cat"]), (2, 1, 1));
    }

    #[test]
    fn rewards_of_an_image_sum_to_nothing_and_prefer_the_better() {
        let corpus = [texts(&["a red circle <eos>"]), texts(&["a blue square <eos>"])];
        let frequencies = DocumentFrequencies::of(corpus.iter().map(Vec::as_slice));
        let hypotheses = texts(&["a red circle.", "a red square"]);
        let rewards =
            self_critical_rewards(&hypotheses, &texts(&["A red circle".to_lowercase().as_str()]), &frequencies);
        assert!(rewards[0] > 0.0 && (rewards[0] + rewards[1]).abs() < 1e-12, "{rewards:?}");
        assert!(self_critical_rewards(&[], &corpus[0], &frequencies).is_empty());
    }
}

//! BLEU over a corpus, as the captioning tools compute it.

use super::words::ngrams;

/// N-grams of up to this many words.
pub const ORDERS: usize = 4;
/// Keep precisions of nothing finite, as small as the tools have them.
const TINY: f64 = 1e-15;
const SMALL: f64 = 1e-9;

/// BLEU-1 to BLEU-4 of captions in words, each with its references, from 0 to 1.
pub fn bleu<'a>(corpus: impl IntoIterator<Item = (&'a [String], &'a [Vec<String>])>) -> [f64; ORDERS] {
    let (mut matched, mut written) = ([0usize; ORDERS], [0usize; ORDERS]);
    let (mut length, mut expected) = (0usize, 0usize);
    for (caption, references) in corpus {
        length += caption.len();
        // The closest of the references' lengths, the shorter of two.
        expected += references
            .iter()
            .map(Vec::len)
            .min_by_key(|reference| (reference.abs_diff(caption.len()), *reference))
            .unwrap_or(0);
        for order in 0..ORDERS {
            let of_references: Vec<_> = references.iter().map(|words| ngrams(words, order + 1)).collect();
            for (ngram, count) in ngrams(caption, order + 1) {
                let most = of_references.iter().filter_map(|counts| counts.get(&ngram)).max().copied().unwrap_or(0);
                matched[order] += count.min(most);
                written[order] += count;
            }
        }
    }
    if length == 0 {
        return [0.0; ORDERS];
    }
    let ratio = (length as f64 + TINY) / (expected as f64 + SMALL);
    let brevity = if ratio < 1.0 { (1.0 - 1.0 / ratio).exp() } else { 1.0 };
    let mut product = 1.0;
    std::array::from_fn(|order| {
        product *= (matched[order] as f64 + TINY) / (written[order] as f64 + SMALL);
        product.powf(1.0 / (order + 1) as f64) * brevity
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tools' additions to keep divisions finite.
    const TOLERANCE: f64 = 1e-8;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn hand_computed() {
        // 5 words against a closest reference of 6: unigrams 4/5, bigrams 2/4, trigrams 1/3, none of four.
        let caption = words("the cat sat on it");
        let references = [words("the cat sat by the mat"), words("on")];
        let found = bleu([(caption.as_slice(), references.as_slice())]);
        let brevity = (1.0f64 - 6.0 / 5.0).exp();
        let expected = [0.8, (0.8f64 * 0.5).sqrt(), (0.8f64 * 0.5 / 3.0).cbrt()];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected * brevity).abs() < TOLERANCE, "{found} {expected}");
        }
        assert!(found[3] < 1e-3);
    }

    #[test]
    fn perfect_and_empty() {
        let caption = words("a b c d e");
        let perfect = bleu([(caption.as_slice(), [caption.clone()].as_slice())]);
        assert!(perfect.iter().all(|score| (score - 1.0).abs() < TOLERANCE), "{perfect:?}");
        assert_eq!(bleu([]), [0.0; ORDERS]);
        assert_eq!(bleu([([].as_slice(), [caption].as_slice())]), [0.0; ORDERS]);
    }
}

//! ROUGE: what of the references' words a text recalls, and how much else it says.

use super::stem::stem;
use super::words::{common_subsequence, ngrams};

/// How much more the captioning tools' ROUGE-L weighs recall than precision.
const BETA: f64 = 1.2;
/// Words up to this long are compared as they are.
const UNSTEMMED: usize = 3;

/// F1 of unigrams, of bigrams and of the longest common subsequence, each from 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rouge {
    pub one: f64,
    pub two: f64,
    pub l: f64,
}

/// ROUGE of a summary: of several references the best counts, by each measure. Words are stemmed.
pub fn rouge(summary: &str, references: &[String]) -> Rouge {
    let found = summary_words(summary);
    references.iter().fold(Rouge::default(), |best, reference| {
        let expected = summary_words(reference);
        let overlap = |n: usize| {
            let (found, expected) = (ngrams(&found, n), ngrams(&expected, n));
            let common: usize =
                found.iter().filter_map(|(ngram, count)| Some((*count).min(*expected.get(ngram)?))).sum();
            f1(common, found.values().sum(), expected.values().sum())
        };
        let l = f1(common_subsequence(&found, &expected), found.len(), expected.len());
        Rouge { one: best.one.max(overlap(1)), two: best.two.max(overlap(2)), l: best.l.max(l) }
    })
}

/// ROUGE-L of a caption in words, as the captioning tools compute it, from 0 to 1.
pub fn rouge_l(caption: &[String], references: &[Vec<String>]) -> f64 {
    let (mut precision, mut recall) = (0.0f64, 0.0f64);
    for reference in references {
        let common = common_subsequence(caption, reference) as f64;
        precision = precision.max(common / caption.len().max(1) as f64);
        recall = recall.max(common / reference.len().max(1) as f64);
    }
    if precision == 0.0 || recall == 0.0 {
        return 0.0;
    }
    (1.0 + BETA * BETA) * precision * recall / (recall + BETA * BETA * precision)
}

/// Runs of ASCII letters and digits, lower case, stemmed.
fn summary_words(text: &str) -> Vec<String> {
    let text = text.to_lowercase();
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| if word.len() > UNSTEMMED { stem(word) } else { word.to_owned() }).collect()
}

fn f1(common: usize, found: usize, expected: usize) -> f64 {
    if common == 0 { 0.0 } else { 2.0 * common as f64 / (found + expected) as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of sums of a few quotients.
    const TOLERANCE: f64 = 1e-12;

    #[test]
    fn hand_computed() {
        // 4 of 5 and of 6 words in common, 2 of 4 and of 5 pairs, and four words in the same order.
        let Rouge { one, two, l } = rouge("the cats sat on mats", &["the cat sat by the mat".into()]);
        assert!((one - 8.0 / 11.0).abs() < TOLERANCE && (two - 4.0 / 9.0).abs() < TOLERANCE, "{one} {two}");
        assert!((l - 8.0 / 11.0).abs() < TOLERANCE, "{l}");
    }

    #[test]
    fn perfect_zero_and_empty() {
        let perfect = rouge("Police kill # gunmen", &["nothing".into(), "police kill gunmen".into()]);
        assert_eq!(perfect, Rouge { one: 1.0, two: 1.0, l: 1.0 });
        assert_eq!(rouge("a b", &["c d".into()]), Rouge::default());
        assert_eq!(rouge("", &["c d".into()]), Rouge::default());
        assert_eq!(rouge("a", &[]), Rouge::default());
        assert_eq!(rouge_l(&[], &[]), 0.0);
        assert_eq!(rouge_l(&["a".into()], &[vec!["a".into()]]), 1.0);
    }
}

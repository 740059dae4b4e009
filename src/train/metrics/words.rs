//! Texts as words, words as n-grams.

use std::collections::BTreeMap;

/// Counts of n-grams, an n-gram being its words with a space between. Sorted, so that sums over them are repeatable.
pub type Counts = BTreeMap<String, usize>;

/// Endings that the captioning tools count as words of their own.
const CLITICS: [&str; 7] = ["n't", "'s", "'re", "'ve", "'ll", "'m", "'d"];

/// A caption as the captioning metrics compare it: lower case, words and clitics apart, no punctuation. The original
/// runs the Penn Treebank's tokenizer; this agrees with it on plain English captions.
pub fn caption_words(text: &str) -> Vec<String> {
    let text = text.to_lowercase().replace(['\u{2018}', '\u{2019}'], "'");
    let mut words = Vec::new();
    for chunk in text.split_whitespace() {
        let chunk = chunk.trim_matches(|c: char| c.is_ascii_punctuation() && !"$%&#".contains(c));
        for word in chunk.split(|c: char| ",;:!?\"()[]{}".contains(c) && !chunk.contains(|c: char| c.is_ascii_digit()))
        {
            let clitic = CLITICS.iter().find(|clitic| word.len() > clitic.len() && word.ends_with(**clitic));
            let (stem, ending) = word.split_at(word.len() - clitic.map_or(0, |clitic| clitic.len()));
            words.extend([stem, ending].into_iter().filter(|part| !part.is_empty()).map(str::to_owned));
        }
    }
    words
}

/// The n-grams of `n` words.
pub fn ngrams<S: AsRef<str>>(words: &[S], n: usize) -> Counts {
    let mut counts = Counts::new();
    for window in words.windows(n) {
        let words: Vec<&str> = window.iter().map(AsRef::as_ref).collect();
        *counts.entry(words.join(" ")).or_default() += 1;
    }
    counts
}

/// The length of the longest common subsequence.
pub fn common_subsequence<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    // One row of the table: `row[j]` for the words of `a` so far and the first j of `b`.
    let mut row = vec![0; b.len() + 1];
    for x in a {
        let mut diagonal = 0;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if x == y { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    row[b.len()]
}

/// The mean, 0 of nothing.
pub fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, count) = values.into_iter().fold((0.0, 0usize), |(sum, count), value| (sum + value, count + 1));
    if count == 0 { 0.0 } else { sum / count as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captions_lose_case_and_punctuation_but_not_their_clitics() {
        let words = caption_words("A man's T-shirt, \"blue\"; he doesn't run (fast).");
        assert_eq!(words, ["a", "man", "'s", "t-shirt", "blue", "he", "does", "n't", "run", "fast"]);
        assert_eq!(caption_words("red,green 1,000 - ..."), ["red", "green", "1,000"]);
        assert!(caption_words("").is_empty());
    }

    #[test]
    fn the_common_subsequence_keeps_the_order() {
        assert_eq!(common_subsequence(b"abcde", b"xaced"), 3);
        assert_eq!(common_subsequence::<u8>(b"", b"a"), 0);
    }
}

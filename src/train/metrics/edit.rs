//! Read texts against written ones: the edit distance.

/// A text without its spaces, as the original compares texts that were read.
pub fn without_spaces(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// One minus the edit distance over the longer length: 1 for the same text, 0 if no character is in place.
pub fn similarity(found: &str, expected: &str) -> f64 {
    let (found, expected): (Vec<char>, Vec<char>) = (found.chars().collect(), expected.chars().collect());
    let longest = found.len().max(expected.len());
    if longest == 0 { 1.0 } else { 1.0 - distance(&found, &expected) as f64 / longest as f64 }
}

/// Characters to insert, remove or replace.
fn distance(found: &[char], expected: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=expected.len()).collect();
    for (i, a) in found.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in expected.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[expected.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_computed() {
        assert!((similarity("kitten", "sitting") - (1.0 - 3.0 / 7.0)).abs() < 1e-12);
        assert_eq!((similarity("ab", "ab"), similarity("ab", "cd"), similarity("", "")), (1.0, 0.0, 1.0));
        assert_eq!((similarity("", "ab"), similarity("äb", "ab")), (0.0, 0.5));
        assert_eq!(without_spaces(" a b\tc "), "abc");
    }
}

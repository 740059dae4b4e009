//! No n-gram twice.

/// Tokens that would complete an n-gram which `tokens` already holds.
pub fn repeated(tokens: &[u32], size: usize) -> Vec<u32> {
    if size == 0 || tokens.len() < size {
        return Vec::new();
    }
    let tail = &tokens[tokens.len() + 1 - size..];
    tokens.windows(size).filter(|gram| gram[..size - 1] == *tail).map(|gram| gram[size - 1]).collect()
}

#[cfg(test)]
mod tests {
    use super::repeated;

    #[test]
    fn completions_of_seen_ngrams_are_named() {
        assert_eq!(repeated(&[0, 5, 6, 7, 5, 6], 3), [7]);
        assert_eq!(repeated(&[0, 5, 5], 2), [5]);
        assert_eq!(repeated(&[0, 5, 6], 3), [0u32; 0]);
        assert_eq!(repeated(&[4, 4], 1), [4, 4]);
        assert!(repeated(&[0, 1], 0).is_empty());
    }
}

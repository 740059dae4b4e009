//! The answers that are allowed, as a tree of their tokens.

use std::collections::BTreeMap;

/// A closed set of answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trie {
    eos: u32,
    root: Node,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Node {
    children: BTreeMap<u32, Node>,
}

impl Trie {
    /// An answer is its tokens without EOS, which is added.
    pub fn new(answers: &[Vec<u32>], eos: u32) -> Self {
        let mut root = Node::default();
        for answer in answers {
            let mut node = &mut root;
            for token in answer.iter().chain([&eos]) {
                node = node.children.entry(*token).or_default();
            }
        }
        Self { eos, root }
    }

    /// Whether a sequence is one of the answers.
    pub fn contains(&self, answer: &[u32]) -> bool {
        let mut node = Some(&self.root);
        for token in answer.iter().chain([&self.eos]) {
            node = node.and_then(|node| node.children.get(token));
        }
        node.is_some()
    }

    /// The tokens that may follow `tokens`; after something that begins no answer only EOS may.
    pub fn next(&self, tokens: &[u32]) -> Vec<u32> {
        let mut node = &self.root;
        for token in tokens {
            match node.children.get(token) {
                Some(child) => node = child,
                None => return vec![self.eos],
            }
        }
        if node.children.is_empty() { vec![self.eos] } else { node.children.keys().copied().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::Trie;

    #[test]
    fn answers_branch_and_end() {
        let trie = Trie::new(&[vec![5], vec![5, 6], vec![7, 8]], 2);
        assert_eq!(trie.next(&[]), [5, 7]);
        assert!(trie.contains(&[5]) && trie.contains(&[7, 8]) && !trie.contains(&[7]) && !trie.contains(&[5, 6, 2]));
        assert_eq!(trie.next(&[5]), [2, 6]);
        assert_eq!(trie.next(&[7]), [8]);
        assert_eq!(trie.next(&[7, 8]), [2]);
        assert_eq!(trie.next(&[9]), [2]);
        assert_eq!(Trie::new(&[], 2).next(&[]), [2]);
    }
}

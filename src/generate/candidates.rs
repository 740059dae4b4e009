//! Scoring a closed set of answers exactly (reference §9.4): one walk down their trie, all nodes of a depth at once,
//! so that thousands of answers cost as many steps as the longest has tokens.

use super::{Progress, Step};
use crate::error::Result;
use std::collections::BTreeMap;

/// The log-probability of each of `answers` after `prompt` (BOS first), every step normalised over the tokens that
/// some answer allows there. An answer is its tokens without EOS, which is added. `report` is called after each step, with no
/// tokens, since all answers are looked at together; its error ends the walk.
///
/// # Errors
/// Those of the model's steps and of `report`.
pub async fn score_candidates<S: Step>(
    step: &mut S,
    prompt: &[u32],
    answers: &[Vec<u32>],
    eos: u32,
    report: &mut impl AsyncFnMut(Progress<'_>) -> Result<()>,
) -> Result<Vec<f32>> {
    let answers: Vec<Vec<u32>> = answers.iter().map(|answer| answer.iter().copied().chain([eos]).collect()).collect();
    let mut scores = vec![0.0f32; answers.len()];
    // Each level's nodes: the answers that pass through, all with the same tokens up to `depth`.
    let mut nodes: Vec<Vec<usize>> = vec![(0..answers.len()).collect()];
    let (mut tokens, mut rows) = (prompt.to_vec(), Vec::new());
    for depth in 0.. {
        let children: Vec<BTreeMap<u32, Vec<usize>>> = nodes.iter().map(|node| branch(node, &answers, depth)).collect();
        let allowed: Vec<Vec<u32>> = children.iter().map(|children| children.keys().copied().collect()).collect();
        if allowed.iter().all(|tokens| *tokens == [eos]) {
            // Whatever is certain has a log-probability of 0. Answers of one token need a single step (reference §9.5).
            break;
        }
        let chosen = step.choose(&tokens, &rows, &allowed).await?;
        report(Progress { step: depth + 1, tokens: &[] }).await?;
        let mut next = Vec::new();
        (tokens, rows) = (Vec::new(), Vec::new());
        for (row, (children, chosen)) in children.into_iter().zip(chosen).enumerate() {
            for ((token, passing), score) in children.into_iter().zip(chosen) {
                passing.iter().for_each(|answer| scores[*answer] += score);
                let unfinished: Vec<usize> =
                    passing.into_iter().filter(|answer| answers[*answer].len() > depth + 1).collect();
                if !unfinished.is_empty() {
                    tokens.push(token);
                    rows.push(row);
                    next.push(unfinished);
                }
            }
        }
        if next.is_empty() {
            break;
        }
        nodes = next;
    }
    Ok(scores)
}

/// The answers of one node by their next token.
fn branch(node: &[usize], answers: &[Vec<u32>], depth: usize) -> BTreeMap<u32, Vec<usize>> {
    let mut children: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for answer in node {
        children.entry(answers[*answer][depth]).or_default().push(*answer);
    }
    children
}

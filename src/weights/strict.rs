//! Comparing what a file holds with what the model asks for, and saying everything that is wrong at once.

use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// Problems spelled out in an error; the rest are counted.
const SHOWN: usize = 10;

/// Every missing, unused or wrongly shaped key, as one sentence each. `expected` and `found` are names and shapes.
pub fn compare_keys(expected: &[(String, Vec<usize>)], found: &[(String, Vec<usize>)]) -> Vec<String> {
    let mut left: BTreeMap<&str, &[usize]> =
        found.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())).collect();
    let mut problems = Vec::new();
    for (name, shape) in expected {
        match left.remove(name.as_str()) {
            None => problems.push(format!("missing `{name}` {shape:?}")),
            Some(other) if other != shape.as_slice() => {
                problems.push(format!("`{name}` should be {shape:?} and is {other:?}"));
            }
            Some(_) => {}
        }
    }
    problems.extend(left.into_iter().map(|(name, shape)| format!("unused `{name}` {shape:?}")));
    problems
}

/// One error for all problems of `path`, or none: the first ten and how many more there are.
///
/// # Errors
/// [`Error::File`] when there is a problem.
pub fn refuse(path: impl std::fmt::Display, problems: &[String]) -> Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    let mut reason = problems[..problems.len().min(SHOWN)].join("; ");
    if problems.len() > SHOWN {
        reason.push_str(&format!("; and {} more problems", problems.len() - SHOWN));
    }
    Err(Error::file(path, reason))
}
